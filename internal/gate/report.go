package gate

import (
	"maps"
	"time"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/crd/upgrade"
)

// Report is what would become of a cluster that was given other CustomResourceDefinitions, in the form that docs/json.md
// promises.
type Report struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Tool       audit.Tool   `json:"tool"`
	Verdict    string       `json:"verdict"` // the worst of CRDs
	Source     audit.Source `json:"source"`
	Scope      audit.Scope  `json:"scope"`
	CRDs       []Row        `json:"crds"`    // in the order of the files
	Skipped    int          `json:"skipped"` // objects of other kinds in the files
	StartedAt  time.Time    `json:"startedAt"`
	FinishedAt time.Time    `json:"finishedAt"`
}

// Row is one CustomResourceDefinition of the files.
type Row struct {
	Name       string         `json:"name"`
	Verdict    string         `json:"verdict"` // Clean, Unknown, Loses or Rejected
	New        bool           `json:"new"`     // the cluster has none of that name
	Problems   []Problem      `json:"problems"`
	Objects    int            `json:"objects"`    // in etcd
	Stored     map[string]int `json:"stored"`     // of those that could be looked at: by the version they are stored at
	Unreadable map[string]int `json:"unreadable"` // of those: the new definition makes them unreadable
	Already    map[string]int `json:"already"`    // of those: nobody can read them even now
	Losing     int            `json:"losing"`     // objects that lose fields with their next write
	Lost       map[string]int `json:"lost"`       // field → objects that lose it; indices of lists are [*]
	Omitted    int            `json:"omitted"`    // of lost: fields, object by object, that are too many to be named
	Converted  int            `json:"converted"`  // objects that a webhook converts; what that drops cannot be seen
	Unknown    int            `json:"unknown"`    // objects that could not be looked at: encrypted, damaged or misplaced
	Doubts     []string       `json:"doubts"`     // what else keeps the verdict from Clean
}

// Problem is one thing that is the matter with a definition itself.
type Problem struct {
	Code    upgrade.Code `json:"code"`
	Field   string       `json:"field"`
	Message string       `json:"message"`
}

// Result is the worst verdict of all definitions.
func (r *Report) Result() upgrade.Verdict {
	worst := upgrade.NotChecked
	for _, row := range r.CRDs {
		for v := worst + 1; v <= upgrade.Rejected; v++ {
			if row.Verdict == v.String() {
				worst = v
				break
			}
		}
	}
	return worst
}

// add appends the row of one subject.
func (r *Report) add(s *subject) {
	res := &s.result
	row := Row{
		Name: s.next.Name, New: res.New, Problems: []Problem{}, Objects: res.Total(), Stored: filled(res.Objects),
		Unreadable: filled(res.Unreadable), Already: filled(res.Already), Losing: res.Losers, Lost: filled(res.Lost),
		Omitted: res.Omitted, Converted: res.Converted, Unknown: res.Unknown, Doubts: append([]string{}, s.doubts...),
	}
	for _, p := range res.Problems {
		row.Problems = append(row.Problems, Problem{Code: p.Code, Field: p.Field, Message: p.Message})
	}
	row.Verdict = s.verdict().String()
	r.CRDs = append(r.CRDs, row)
}

// filled is never null in JSON.
func filled(m map[string]int) map[string]int {
	if m == nil {
		return map[string]int{}
	}
	return maps.Clone(m)
}
