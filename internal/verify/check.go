package verify

import (
	"cmp"
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
	Elsewhere      []Resource          // known to lie in another store, which was not read
	LeftOut        func(Resource) bool // the scope was narrowed so that it has no directory of the resource; nil: it was not
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
			reasons = addReason(reasons, Reason{Fault: f, Resource: Resource{Group: e.Group.Group, Name: e.Resource}, Objects: e.Objects})
		}
	}
	reasons = append(reasons, es.kmsDoubts(ev.Entries)...)
	reasons = append(reasons, es.inferredNames(ev.Entries)...)
	reasons = append(reasons, es.unheard()...)
	reasons = append(reasons, es.uncovered(ev.Entries)...)
	reasons = append(reasons, unauthenticated(ev.Entries)...)
	reasons = append(reasons, es.closed(ev.Entries)...)
	reasons = append(reasons, es.nothingFound(ev)...)
	reasons = append(reasons, es.elsewhere(ev)...)
	if ev.Shortfall != nil {
		reasons = append(reasons, Reason{Whole: true, Fault: Fault{Code: NotRead, Severity: Warning, Message: ev.Shortfall.Error()}})
	}
	verdict := NotJudged
	if len(es) > 0 {
		verdict = Complete
	}
	for _, r := range reasons {
		verdict = verdict.Worse(r.Severity.Verdict())
	}
	if len(es) == 0 && verdict == Incomplete {
		panic("verify: a fault that needs an expectation was found without one")
	}
	return verdict, reasons
}

// addReason adds up what is the same of objects that differ in something else.
func addReason(reasons []Reason, r Reason) []Reason {
	for i := range reasons {
		if reasons[i].Fault == r.Fault && reasons[i].Resource == r.Resource {
			reasons[i].Objects += r.Objects
			return reasons
		}
	}
	return append(reasons, r)
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

// kmsDoubts are those that an expectation of KMS without a key ID leaves open. Several key IDs among all that is judged by
// one expectation, or one equal to it, may be a rotation that is not finished; and KMS v1 does not show its KEK at all,
// so that neither a rotation inside the plugin nor the move to v2 can be told to be complete.
func (es Expectations) kmsDoubts(entries []etcdscan.Entry) []Reason {
	keyIDs := make(map[string]map[string]bool) // per key of the expectation
	judged := func(e etcdscan.Entry) (want Expectation, ok bool) {
		want, ok = es.For(Resource{Group: e.Group.Group, Name: e.Resource})
		v := want.Value
		return want, ok && !want.Configured.superseded(e.AtRest) && e.Resource != "" && v.Provider == string(atrest.KMS) && v.KeyID == "" && v.Matches(e.AtRest)
	}
	for _, e := range entries {
		if expectation, ok := judged(e); ok && e.AtRest.Version != atrest.V1 {
			want := expectation.Value
			if keyIDs[want.Key] == nil {
				keyIDs[want.Key] = make(map[string]bool)
			}
			keyIDs[want.Key][e.AtRest.Key+":"+e.AtRest.KeyID] = true
		}
	}
	doubts := make(map[Fault]map[Resource]int64)
	doubt := func(e etcdscan.Entry, want Value, message string) {
		f := Fault{Code: UnknownKeyID, Severity: Warning, Expected: want.String(), Message: message}
		if doubts[f] == nil {
			doubts[f] = make(map[Resource]int64)
		}
		doubts[f][Resource{Group: e.Group.Group, Name: e.Resource}] += e.Objects
	}
	for _, e := range entries {
		expectation, ok := judged(e)
		want := expectation.Value
		switch {
		case !ok:
		case e.AtRest.Version == atrest.V1:
			doubt(e, want, "KMS v1 does not show which KEK encrypted a value: a rotation inside the plugin cannot be seen")
		case expectation.Configured.KeyIDUnknown != "":
			doubt(e, want, "which key the KMS plugin encrypts with now is not known: "+expectation.Configured.KeyIDUnknown)
		case len(keyIDs[want.Key]) > 1:
			doubt(e, want, fmt.Sprintf("%d key IDs are stored and the expectation names none", len(keyIDs[want.Key])))
		}
	}
	var reasons []Reason
	for f, byResource := range doubts {
		for r, objects := range byResource {
			reasons = append(reasons, Reason{Resource: r, Objects: objects, Whole: true, Fault: f})
		}
	}
	slices.SortFunc(reasons, compareReasons)
	return reasons
}

// inferredNames says where an expected key name was chosen for values that could carry a longer one. Chance explains that
// many of them; a single value that really lies under a longer name looks the same.
func (es Expectations) inferredNames(entries []etcdscan.Entry) []Reason {
	objects := make(map[Resource]int64)
	for _, e := range entries {
		r := Resource{Group: e.Group.Group, Name: e.Resource}
		if want, ok := es.For(r); ok && e.Resource != "" && want.Value.Key != "" && e.Shortened > 0 && !e.Ambiguous && want.Value.Matches(e.AtRest) {
			objects[r] += e.Shortened
		}
	}
	var reasons []Reason
	for r, n := range objects {
		reasons = append(reasons, Reason{Resource: r, Objects: n, Whole: true, Fault: Fault{Code: AmbiguousKey, Severity: Info,
			Message: "the key name could end at another colon; it was chosen by what the other values have"}})
	}
	slices.SortFunc(reasons, compareReasons)
	return reasons
}

func compareReasons(a, b Reason) int {
	return cmp.Or(strings.Compare(a.Resource.String(), b.Resource.String()), strings.Compare(a.Message, b.Message))
}

// nothingFound keeps an expectation from being met by an empty scan: the resource may live elsewhere or under another
// name.
func (es Expectations) nothingFound(ev Evidence) []Reason {
	var reasons []Reason
	for _, want := range es {
		seen := slices.ContainsFunc(ev.Entries, func(e etcdscan.Entry) bool {
			return e.Resource != "" && want.Resource.Covers(Resource{Group: e.Group.Group, Name: e.Resource})
		})
		if seen || want.unasked() || want.Configured.nobodyAsked(want, ev.LeftOut) || (!want.Resource.Wildcard() && ev.ConfirmedEmpty != nil && ev.ConfirmedEmpty(want.Resource)) {
			continue
		}
		reasons = append(reasons, Reason{Resource: want.Resource, Whole: true, Fault: Fault{Code: NothingFound, Severity: Warning, Expected: want.Value.String(),
			Message: "no key of this resource was found, and nobody confirms that there is none"}})
	}
	return reasons
}
