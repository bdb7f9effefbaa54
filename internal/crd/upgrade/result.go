package upgrade

import (
	"fmt"
	"maps"
	"regexp"
)

// Verdict is the answer for one definition. The zero value means that nothing was checked.
type Verdict int

const (
	NotChecked Verdict = iota
	Clean              // accepted, every object was looked at, and none would lose anything
	Unknown            // accepted, nothing was found lost, and not every object could be looked at
	Loses              // accepted, and then objects are unreadable or lose fields
	Rejected           // the apiserver would not accept it
)

func (v Verdict) String() string {
	switch v {
	case NotChecked:
		return ""
	case Clean:
		return "Clean"
	case Unknown:
		return "Unknown"
	case Loses:
		return "Loses"
	case Rejected:
		return "Rejected"
	}
	panic(fmt.Sprintf("upgrade: unknown verdict %d", int(v)))
}

const (
	maxLost     = 64 // distinct paths
	maxVersions = 64 // distinct versions that are counted by name
)

// Result is what was found out about one definition.
type Result struct {
	Name     string
	New      bool // the cluster has no definition of that name
	Compared bool // Problems are those of Compare
	Problems []Problem
	Counted  bool // every object in etcd was given to Add or AddUnknown

	Objects    map[string]int // objects per version that they are stored at; "" where that could not be told, or is one too many
	Unreadable map[string]int // of those: objects that the new definition makes unreadable, by the same names
	Already    map[string]int // of those: objects that are unreadable under either definition
	Lost       map[string]int // path → objects; indices of lists are [*]; at most 64 paths
	Losers     int            // objects that lose fields
	Omitted    int            // paths, object by object, that are not in Lost
	Converted  int            // objects that a webhook converts under the new definition; what that drops is not in Lost
	Unknown    int            // objects that could not be looked at, e.g. ciphertext, or were not understood
}

// Add counts what became of one object.
func (r *Result) Add(o Outcome) {
	if !o.Examined {
		r.AddUnknown(1)
		return
	}
	version := o.Version
	if _, named := r.Objects[version]; !named && len(r.Objects) >= maxVersions {
		version = ""
	}
	count(&r.Objects, version)
	switch {
	case o.Already:
		count(&r.Already, version)
		return
	case o.Unreadable:
		count(&r.Unreadable, version)
		return
	}
	if o.Converted {
		r.Converted++
	}
	if len(o.Lost) > 0 || o.Omitted > 0 {
		r.Losers++
	}
	r.Omitted += o.Omitted
	paths := make(map[string]bool, len(o.Lost))
	for _, path := range o.Lost {
		paths[index.ReplaceAllString(path, "[*]")] = true
	}
	for path := range paths {
		if _, named := r.Lost[path]; !named && len(r.Lost) >= maxLost {
			r.Omitted++
			continue
		}
		count(&r.Lost, path)
	}
}

// AddUnknown counts objects that could not be looked at.
func (r *Result) AddUnknown(n int) { r.Unknown += n }

// Refused are the problems for which the apiserver would not accept the definition.
func (r *Result) Refused() []Problem {
	var refused []Problem
	for _, p := range r.Problems {
		if p.Code == Refused {
			refused = append(refused, p)
		}
	}
	return refused
}

// Total is the number of objects, whether they could be looked at or not.
func (r *Result) Total() int { return sum(r.Objects) + r.Unknown }

// Verdict is the worst of what was found out. Objects that nobody can read even now make it Unknown: the new definition does not
// harm them, and what they hold was not judged.
func (r *Result) Verdict() Verdict {
	switch {
	case !r.Compared:
		return NotChecked
	case len(r.Refused()) > 0:
		return Rejected
	case sum(r.Unreadable) > 0 || r.Losers > 0:
		return Loses
	case !r.Counted || r.Unknown > 0 || sum(r.Already) > 0:
		return Unknown
	}
	return Clean
}

// index matches that of a list; a key of a map is quoted in a path.
var index = regexp.MustCompile(`\[[0-9]+\]`)

func count(m *map[string]int, name string) {
	if *m == nil {
		*m = make(map[string]int)
	}
	(*m)[name]++
}

func sum(m map[string]int) int {
	n := 0
	for v := range maps.Values(m) {
		n += v
	}
	return n
}
