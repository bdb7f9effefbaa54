package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
)

// Evidence is what a verdict is given on.
type Evidence struct {
	Entries        []etcdscan.Entry
	Shortfall      error               // the scan is not whole
	ConfirmedEmpty func(Resource) bool // the API itself says that there are no objects; nil when it was not asked
}

// Reason is one thing that keeps a verdict from Complete, or that a reader of it must know (Info), for all the objects it
// concerns.
type Reason struct {
	Fault
	Resource Resource // the zero value: no resource in particular
	Objects  int64    // 0 when it is not about objects that were seen
	Whole    bool     // it follows from the scan as a whole: no single object has this fault
}

// Check judges all that was seen. Without any expectation there is no verdict, unless bytes were found that no
// apiserver could have written, or not everything could be read.
func (es Expectations) Check(ev Evidence) (Verdict, []Reason) {
	var reasons []Reason
	for _, e := range ev.Entries {
		for _, f := range es.EntryFaults(e) {
			reasons = append(reasons, Reason{Fault: f, Resource: Resource{Group: e.Group.Group, Name: e.Resource}, Objects: e.Objects})
		}
	}
	reasons = append(reasons, es.manyKeyIDs(ev.Entries)...)
	reasons = append(reasons, es.unseenKEKs(ev.Entries)...)
	reasons = append(reasons, es.nothingFound(ev)...)
	if ev.Shortfall != nil {
		reasons = append(reasons, Reason{Whole: true, Fault: Fault{Code: NotRead, Severity: Warning, Message: ev.Shortfall.Error()}})
	}
	verdict := NotJudged
	if len(es) > 0 {
		verdict = Complete
	}
	for _, r := range reasons {
		verdict = verdict.Worse(r.Severity.verdict())
	}
	if len(es) == 0 && verdict == Incomplete {
		panic("verify: a fault that needs an expectation was found without one")
	}
	return verdict, reasons
}

// EntryFaults are the faults of all objects of an entry. Where the end of the key name cannot be told and the possible
// names are not judged alike, that itself is the fault.
func (es Expectations) EntryFaults(e etcdscan.Entry) []Fault {
	faults := es.Judge(e.Group)
	if !e.Ambiguous || !es.judgedApart(e.Candidates()) {
		return faults
	}
	f := Fault{Code: AmbiguousKey, Severity: Warning, Found: Describe(e.AtRest),
		Message: "where the key name ends cannot be told: what follows its colon may be ciphertext"}
	if want, ok := es.For(Resource{Group: e.Group.Group, Name: e.Resource}); ok {
		f.Expected = want.Value.String()
	}
	return append(slices.DeleteFunc(faults, func(f Fault) bool { return f.Code == StaleKey }), f)
}

// Suspect tells whether an entry may still turn out to have a fault once its key name is resolved.
func (es Expectations) Suspect(e *etcdscan.Entry) bool {
	return slices.ContainsFunc(e.Candidates(), func(g etcdscan.Group) bool { return len(es.Judge(g)) > 0 })
}

// Stale tells whether an entry has a fault that mendable names, wherever its key name may end.
func (es Expectations) Stale(e *etcdscan.Entry, mendable func(Code) bool) bool {
	for _, g := range e.Candidates() {
		if !slices.ContainsFunc(es.Judge(g), func(f Fault) bool { return mendable(f.Code) }) {
			return false
		}
	}
	return true
}

func (es Expectations) judgedApart(candidates []etcdscan.Group) bool {
	codes := func(g etcdscan.Group) []Code {
		var cs []Code
		for _, f := range es.Judge(g) {
			cs = append(cs, f.Code)
		}
		return cs
	}
	first := codes(candidates[0])
	return slices.ContainsFunc(candidates[1:], func(g etcdscan.Group) bool { return !slices.Equal(codes(g), first) })
}

// manyKeyIDs doubts a KMS expectation that names no key ID while objects of one resource carry several: a rotation
// inside the plugin may be unfinished.
func (es Expectations) manyKeyIDs(entries []etcdscan.Entry) []Reason {
	type provider struct {
		Resource
		name string
	}
	ids := make(map[provider]map[string]int64)
	for _, e := range entries {
		r := Resource{Group: e.Group.Group, Name: e.Resource}
		want, ok := es.For(r)
		if e.AtRest.Provider != atrest.KMS || e.AtRest.Version == "v1" || e.Resource == "" || !ok ||
			want.Value.Provider != string(atrest.KMS) || want.Value.KeyID != "" {
			continue
		}
		p := provider{r, e.AtRest.Key}
		if ids[p] == nil {
			ids[p] = make(map[string]int64)
		}
		ids[p][e.AtRest.KeyID] += e.Objects
	}
	var reasons []Reason
	for p, byID := range ids {
		if len(byID) < 2 {
			continue
		}
		var objects int64
		for _, n := range byID {
			objects += n
		}
		reasons = append(reasons, Reason{Resource: p.Resource, Objects: objects, Whole: true, Fault: Fault{Code: UnknownKeyID, Severity: Warning,
			Found: string(atrest.KMS) + ":" + p.name, Message: fmt.Sprintf("%d key IDs are stored and the expectation names none", len(byID))}})
	}
	slices.SortFunc(reasons, func(a, b Reason) int { return strings.Compare(a.Resource.String(), b.Resource.String()) })
	return reasons
}

// unseenKEKs says what a KMS expectation without a key ID cannot mean: a rotation inside a KMS v1 plugin leaves no trace.
func (es Expectations) unseenKEKs(entries []etcdscan.Entry) []Reason {
	var reasons []Reason
	for _, e := range entries {
		r := Resource{Group: e.Group.Group, Name: e.Resource}
		want, ok := es.For(r)
		if ok && e.Resource != "" && want.Value.Provider == string(atrest.KMS) && want.Value.KeyID == "" &&
			e.AtRest.Version == atrest.V1 && want.Value.Matches(e.AtRest) {
			reasons = append(reasons, Reason{Resource: r, Objects: e.Objects, Whole: true, Fault: Fault{Code: UnknownKeyID, Severity: Info,
				Found: Describe(e.AtRest), Message: "KMS v1 does not show which KEK encrypted a value: a rotation inside the plugin cannot be seen"}})
		}
	}
	return reasons
}

// nothingFound keeps an expectation from being met by an empty scan: the resource may live elsewhere or under another
// name.
func (es Expectations) nothingFound(ev Evidence) []Reason {
	var reasons []Reason
	for _, want := range es {
		seen := slices.ContainsFunc(ev.Entries, func(e etcdscan.Entry) bool {
			if want.Resource == AnyResource {
				return e.Resource != ""
			}
			return Resource{Group: e.Group.Group, Name: e.Resource} == want.Resource
		})
		if seen || (want.Resource != AnyResource && ev.ConfirmedEmpty != nil && ev.ConfirmedEmpty(want.Resource)) {
			continue
		}
		reasons = append(reasons, Reason{Resource: want.Resource, Whole: true, Fault: Fault{Code: NothingFound, Severity: Warning, Expected: want.Value.String(),
			Message: "no key of this resource was found, and nobody confirms that there is none"}})
	}
	return reasons
}
