package verify

import (
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
)

// Judge lists what is the matter with every object of a group. All of it follows from the group: an object has the
// faults of its group and no others. What no API serves by design is never judged.
func (es Expectations) Judge(g etcdscan.Group) []Fault {
	if g.Unserved {
		return nil
	}
	faults := byteFaults(g)
	if g.Resource == "" {
		return append(faults, es.unknownKey(g)...)
	}
	resource := Resource{Group: g.Group, Name: g.Resource}
	if es.orphaned(resource) {
		faults = append(faults, Fault{Code: OrphanedResource, Severity: Warning, Found: g.Stored.APIVersion,
			Message: "no API serves this resource: nothing can read its objects or write them again"})
	}
	e, ok := es.ForGroup(g)
	if !ok {
		return faults
	}
	switch {
	case g.Fault == etcdscan.WrongPlace:
		faults[0].Severity = Error
	case g.Fault == etcdscan.CannotOpen:
		faults[0].Expected = e.Value.String()
		if !g.Obstacle.Unknown() {
			faults[0].Severity = Error
		}
	}
	return e.Configured.asCandidate(append(faults, e.judge(g)...), g)
}

// ForGroup is the expectation of the objects of a group: that of their resource, where it is meant for their storage root.
func (es Expectations) ForGroup(g etcdscan.Group) (Expectation, bool) {
	e, ok := es.For(Resource{Group: g.Group, Name: g.Resource})
	if ok && !e.Configured.governs(g.Root) {
		e.Value, e.Configured = Value{}, Configured{}
		ok = e.Version != "" || e.Declared.Asked
	}
	return e, ok
}

// byteFaults are those that hold whatever anybody expects.
func byteFaults(g etcdscan.Group) []Fault {
	f := Fault{Severity: Warning, Found: Describe(g.AtRest)}
	switch g.Fault {
	case etcdscan.NoFault:
		return nil
	case etcdscan.Empty:
		f.Code, f.Found, f.Message = Empty, "", "the key has no value"
	case etcdscan.UnknownTransformer:
		f.Code, f.Message = UnknownTransformer, "the value has the reserved prefix k8s:enc: and a provider that svmctl does not know"
	case etcdscan.CannotOpen:
		f.Code, f.Message = CannotOpen, "an apiserver with this file cannot read it: "+string(g.Obstacle)
	case etcdscan.WrongPlace:
		f.Code, f.Message = WrongPlace, "the object's own name and namespace are not those of the key it lies under"
	default:
		f.Code, f.Message = Undecodable, "no apiserver could have written this value: "+g.Note
	}
	return []Fault{f}
}

// unknownKey doubts a key that names no object where one was expected: in the directory of a judged resource, which a LIST
// reads as a whole, or anywhere when everything was expected.
func (es Expectations) unknownKey(g etcdscan.Group) []Fault {
	beside, err := ParseResource(g.Beside)
	if err != nil {
		beside = Resource{}
	}
	e, judged := es.For(beside)
	judged = judged && !e.Configured.Uncovered
	if !judged && !(g.Beside == "" && es.exhaustive()) || g.Fault != etcdscan.NoFault {
		return nil
	}
	message := "the key belongs to no resource that svmctl knows: " + g.Note
	if g.Beside != "" {
		message = "the key lies among the " + g.Beside + " and names none of them: " + g.Note
	}
	return []Fault{{Code: UnknownKey, Severity: Warning, Found: Describe(g.AtRest), Message: message}}
}

func (e Expectation) judge(g etcdscan.Group) []Fault {
	var faults []Fault
	if e.Value != (Value{}) && readable(g) {
		f, ok := e.Value.judge(g.AtRest)
		if named := e.Value.Key != ""; named && (ok || f.Code == UnknownKeyID) {
			if twin, is := e.Configured.judgeTwin(f, g); !is {
				f, ok = twin, false
			}
		}
		if !ok {
			faults = append(faults, f)
		}
	}
	if g.Fault == etcdscan.NoFault {
		faults = append(faults, e.judgeVersion(g)...)
	}
	return faults
}

// Matches tells whether values, of whatever resource, are under the key that is expected.
func (e Expectation) Matches(g etcdscan.Group) bool {
	if g.Fault != etcdscan.NoFault || !e.Value.Matches(g.AtRest) {
		return false
	}
	_, ok := e.Configured.judgeTwin(Fault{}, g)
	return ok
}

// readable tells whether the prefix of the values says anything: garbage without one is not plaintext of an object.
func readable(g etcdscan.Group) bool {
	if g.AtRest.Provider == atrest.Unknown || g.AtRest.Version == atrest.V2 && g.AtRest.KeyID == "" {
		return false
	}
	return g.AtRest.Provider != atrest.Identity || g.Stored != (stored.Type{})
}

// judge compares how a value is encrypted with what was expected; ok means that it agrees as far as it can be seen.
func (v Value) judge(found atrest.Encryption) (f Fault, ok bool) {
	f = Fault{Severity: Error, Expected: v.String(), Found: Describe(found)}
	identity := found.Provider == atrest.Identity
	switch {
	case v.Provider == string(atrest.Identity):
		f.Code, f.Message = EncryptedUnexpectedly, "encrypted where plaintext is expected"
		return f, identity
	case identity:
		f.Code, f.Message = Plaintext, "stored in plaintext"
		return f, false
	case v.Provider == Encrypted:
		return f, true
	}
	f.Code, f.Message = StaleKey, "encrypted under another key than expected"
	if v.Provider != string(found.Provider) || (v.Key != "" && v.Key != found.Key) {
		return f, false
	}
	if v.KeyID != "" && found.Version == "v1" {
		f.Code, f.Severity = UnknownKeyID, Warning
		f.Message = "KMS v1 does not show which KEK encrypted a value"
		return f, false
	}
	return f, v.KeyID == "" || v.KeyID == found.KeyID
}

// Matches tells whether a value is encrypted as expected.
func (v Value) Matches(found atrest.Encryption) bool {
	_, ok := v.judge(found)
	return ok
}
