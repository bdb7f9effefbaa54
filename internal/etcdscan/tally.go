package etcdscan

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
)

// maxGroups bounds the memory of a Tally. A real cluster has hundreds of groups; more than this many can only come
// from values written by something that is no apiserver, and they are then no longer told apart.
const maxGroups = 20_000

const tooManyForms = "more distinct forms than svmctl tells apart"

// Group is everything that objects counted together have in common. It is comparable.
type Group struct {
	Root, Group, Resource string
	AtRest                atrest.Encryption
	Stored                stored.Type
	Opened                Opened
	Authenticated         bool // the cipher itself vouches for the value
	Twin                  int  // which of several keys of that name opened it, from 0
	Twins                 int  // how many keys bear that name, where a configuration tells
	Fault                 Fault
	Obstacle              Obstacle // of CannotOpen
	Already               bool     // the obstacle is none that a candidate brings: it is there now
	Unserved              bool     // no API serves keys of this kind by design
	Beside                string   // the resource in whose directory these keys lie without being objects of it
	Note                  string
}

// Entry is one Group of a Tally with its sums. Before Resolve its key name is the longest one possible.
type Entry struct {
	Group
	Ambiguous bool // the end of the key name cannot be told
	Objects   int64
	Bytes     int64 // of values
	Shortened int64 // objects that could have a longer key name than the one that was chosen

	longest string // the key name as long as it can be
	ends    []int  // where it may end before
}

// Candidates lists the groups that this entry may be, by where its key name may end.
func (e *Entry) Candidates() []Group {
	if len(e.ends) == 0 {
		return []Group{e.Group}
	}
	var groups []Group
	for _, end := range append(e.ends[:len(e.ends):len(e.ends)], len(e.longest)) {
		g := e.Group
		g.AtRest.Key = e.longest[:end]
		groups = append(groups, g)
	}
	return groups
}

// Tally counts records by Group. The zero value is empty; it is not safe for concurrent use.
type Tally struct {
	Census  atrest.Census
	entries map[tallyKey]*Entry
	recent  [2]recentEntry // neighbours are mostly of the same kinds, and comparing costs less than hashing
	objects int64
	bytes   int64
}

type tallyKey struct {
	Group
	ends string
}

// Add counts r and returns the entry it went to, which stays the same for all records of its kind.
func (t *Tally) Add(r *Record) *Entry {
	t.objects++
	t.bytes += r.Size
	k := tallyKey{Group: groupOf(r)}
	for _, end := range r.Ends {
		k.ends += string(rune(end))
	}
	e := t.entry(k, r.Ends)
	e.Objects++
	e.Bytes += r.Size
	return e
}

// recentEntry is an entry that was added to just now.
type recentEntry struct {
	key   tallyKey
	entry *Entry
}

func (t *Tally) entry(k tallyKey, ends []int) *Entry {
	for i := range t.recent {
		if t.recent[i].entry != nil && t.recent[i].key == k {
			return t.recent[i].entry
		}
	}
	e := t.entries[k]
	if e == nil {
		e = t.enter(k, ends)
	}
	t.recent[0], t.recent[1] = recentEntry{k, e}, t.recent[0]
	return e
}

func groupOf(r *Record) Group {
	return Group{
		Root: r.Object.Root, Group: r.Object.Group, Resource: r.Object.Resource,
		AtRest: r.AtRest, Stored: r.Stored, Opened: r.Opened, Authenticated: r.Authenticated, Twin: r.Twin, Twins: r.Twins, Fault: r.Fault, Obstacle: r.Obstacle, Already: r.Already,
		Unserved: r.Object.Internal(), Beside: r.Object.Beside, Note: r.Note,
	}
}

// Inspect reads a single key, outside of any scan, and opens it if it has an opener. Its key name stays as open as the value
// alone leaves it; the group has the shortest, which holds no ciphertext.
func Inspect(ctx context.Context, root string, kv *KeyValue, opener Opener) Entry {
	c := classify(ctx, root, kv, opener, true)
	c.clear()
	r := c.Record
	e := Entry{Group: groupOf(&r), Ambiguous: len(r.Ends) > 0, Objects: 1, Bytes: r.Size, longest: r.AtRest.Key, ends: r.Ends}
	if e.Ambiguous {
		e.AtRest.Key = e.longest[:e.ends[0]]
	}
	return e
}

func (t *Tally) enter(k tallyKey, ends []int) *Entry {
	if t.entries == nil {
		t.entries = make(map[tallyKey]*Entry)
	}
	if len(t.entries) >= maxGroups {
		k = tallyKey{Group: Group{
			Root: k.Root, AtRest: atrest.Encryption{Provider: atrest.Unknown}, Opened: NotTried, Fault: Undecodable, Note: tooManyForms,
		}}
		ends = nil
		if e := t.entries[k]; e != nil {
			return e
		}
	}
	e := &Entry{Group: k.Group, longest: k.AtRest.Key, ends: slices.Clone(ends)}
	t.entries[k] = e
	return e
}

// Resolve decides where ambiguous key names end, in place: entries returned by Add tell their final group from here
// on. No Add may follow.
func (t *Tally) Resolve() {
	for _, e := range t.entries {
		if len(e.ends) > 0 {
			e.AtRest, e.Ambiguous = t.Census.Resolve(e.AtRest, e.ends)
		}
	}
}

// Objects is the number of keys counted, and Bytes the size of their values.
func (t *Tally) Objects() int64 { return t.objects }
func (t *Tally) Bytes() int64   { return t.bytes }

// Entries are the sums per group in a fixed order, those that resolved to one group added up. Where the end of a key
// name cannot be told, values with different candidates stay apart.
func (t *Tally) Entries() []Entry {
	merged := make(map[tallyKey]*Entry, len(t.entries))
	for k, e := range t.entries {
		k.Group = e.Group
		if e.Ambiguous {
			k.ends += e.longest
		} else {
			k.ends = ""
		}
		m := merged[k]
		if m == nil {
			m = new(Entry)
			*m = *e
			m.Objects, m.Bytes = 0, 0
			merged[k] = m
		}
		m.Objects += e.Objects
		m.Bytes += e.Bytes
		if e.longest != e.AtRest.Key {
			m.Shortened += e.Objects
		}
	}
	out := make([]Entry, 0, len(merged))
	for _, e := range merged {
		out = append(out, *e)
	}
	slices.SortFunc(out, compareEntries)
	return out
}

func compareEntries(a, b Entry) int {
	return cmp.Or(
		strings.Compare(a.Root, b.Root),
		boolCompare(a.Resource == "", b.Resource == ""), // keys that are no API object come last
		strings.Compare(a.Group.Group, b.Group.Group),
		strings.Compare(a.Resource, b.Resource),
		strings.Compare(string(a.AtRest.Provider), string(b.AtRest.Provider)),
		strings.Compare(a.AtRest.Version, b.AtRest.Version),
		strings.Compare(a.AtRest.Key, b.AtRest.Key),
		strings.Compare(a.AtRest.KeyID, b.AtRest.KeyID),
		strings.Compare(a.Stored.APIVersion, b.Stored.APIVersion),
		strings.Compare(a.Stored.Kind, b.Stored.Kind),
		strings.Compare(string(a.Stored.Encoding), string(b.Stored.Encoding)),
		strings.Compare(string(a.Opened), string(b.Opened)),
		boolCompare(a.Authenticated, b.Authenticated),
		strings.Compare(a.Note, b.Note),
		strings.Compare(a.Beside, b.Beside),
		strings.Compare(string(a.Fault), string(b.Fault)),
		strings.Compare(string(a.Obstacle), string(b.Obstacle)),
		cmp.Compare(a.Twin, b.Twin),
		cmp.Compare(a.Twins, b.Twins),
		boolCompare(a.Already, b.Already),
		boolCompare(a.AtRest.KeyInferred, b.AtRest.KeyInferred),
		boolCompare(a.Ambiguous, b.Ambiguous),
	)
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
