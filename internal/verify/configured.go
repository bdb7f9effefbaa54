package verify

import (
	"slices"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
)

// Configured is what an EncryptionConfiguration says of an expected value. The zero value: nobody was asked, or it says no more
// than the value.
type Configured struct {
	// Asked: the EncryptionConfiguration was asked for the value, and nobody else.
	Asked bool
	// Writes: the value is the key that the file writes the resource with, whoever named it. Of several keys of that name Twin is the
	// one, and Version is that of its transformer.
	Writes  bool
	Twin    int
	Version string
	// Uncovered: no rule covers the resource, which is therefore written in plaintext.
	Uncovered bool
	// Candidate: the EncryptionConfiguration is not in force. What it could not read is wrong with it, and what it would write
	// otherwise is not wrong.
	Candidate bool
	// Roots are the storage roots of the apiserver that has the EncryptionConfiguration; none: all of them.
	Roots []string
	// KeyIDUnknown is why the value names no key ID although its KMS plugin has one; empty if that is not so.
	KeyIDUnknown string
}

// WithConfigured adds what an EncryptionConfiguration expects. A value that somebody named stays, and so does one that is named
// for a whole group or everything: it outweighs all that the file says of it but which of several keys of that name is meant.
func (es Expectations) WithConfigured(configured Expectations) Expectations {
	all := slices.Clone(es)
	for i := range all {
		all[i] = all[i].Meant(configured)
	}
	for _, c := range configured {
		named, ok := es.For(c.Resource)
		if ok && named.Value != (Value{}) {
			if meant := named.Meant(configured); meant.Configured.Writes {
				e := all.add(c.Resource)
				e.Value, e.From, e.Configured = meant.Value, meant.From, meant.Configured
			}
			continue
		}
		e := all.add(c.Resource)
		e.Value, e.From, e.Configured = c.Value, c.From, c.Configured
	}
	return all
}

// Meant tells of a value that somebody named whether it is the key that the EncryptionConfiguration writes with.
func (e Expectation) Meant(configured Expectations) Expectation {
	c, ok := configured.For(e.Resource)
	if ok && e.Value.Key != "" && e.Value.Provider == c.Value.Provider && e.Value.Key == c.Value.Key && (e.Value.KeyID == "" || e.Value.KeyID == c.Value.KeyID) {
		e.Configured = Configured{Writes: true, Twin: c.Configured.Twin, Version: c.Configured.Version}
	}
	return e
}

// governs tells whether the EncryptionConfiguration is that of the apiserver whose objects lie under a root.
func (c Configured) governs(root string) bool {
	return len(c.Roots) == 0 || slices.Contains(c.Roots, root)
}

// nobodyAsked tells whether an expectation follows from a wildcard of the file, or from a rule for a resource that a narrowed scope
// leaves out: that there is nothing is no doubt.
func (c Configured) nobodyAsked(e Expectation, leftOut func(Resource) bool) bool {
	return c.Asked && e.Version == "" && (e.Resource.Wildcard() || leftOut != nil && leftOut(e.Resource))
}

// elsewhere doubts what is judged and lies in a store that was not read.
func (es Expectations) elsewhere(ev Evidence) []Reason {
	var reasons []Reason
	for _, r := range ev.Elsewhere {
		want, ok := es.For(r)
		if !ok || want.Configured.Uncovered || want.Configured.Asked && ev.LeftOut != nil && ev.LeftOut(r) {
			continue
		}
		reasons = append(reasons, Reason{Resource: r, Whole: true, Fault: Fault{Code: NotRead, Severity: Warning, Expected: want.Value.String(),
			Message: "its objects live in another etcd (--etcd-servers-overrides), which was not read"}})
	}
	return reasons
}

// asCandidate words the faults of objects as what a candidate would do to them.
func (c Configured) asCandidate(faults []Fault, g etcdscan.Group) []Fault {
	if !c.Candidate {
		return faults
	}
	if slices.ContainsFunc(faults, func(f Fault) bool { return f.Code == CannotOpen }) {
		// What cannot be read is not written either.
		faults = slices.DeleteFunc(faults, func(f Fault) bool { return f.Code != CannotOpen })
	}
	if g.AtRest.Provider != atrest.Identity && g.Fault == etcdscan.NoFault && g.Opened == etcdscan.NotTried {
		faults = append(faults, Fault{Code: CandidateCannotRead, Severity: Warning, Found: Describe(g.AtRest),
			Message: "whether an apiserver with the candidate could read it was not tried"})
	}
	for i := range faults {
		f := &faults[i]
		switch f.Code {
		case CannotOpen:
			f.Code, f.Message = CandidateCannotRead, "an apiserver with the candidate could not read it: "+string(g.Obstacle)
			if g.Already {
				f.Severity, f.Message = Warning, f.Message+"; nor could one with the present file, if that is the one in force"
			}
		case StaleKey, Plaintext, EncryptedUnexpectedly:
			f.Code, f.Severity, f.Message = CandidateRewrites, Info, "an apiserver with the candidate writes it otherwise with its next write"
		}
	}
	return faults
}

// NeedsKeyID tells whether a resource is expected under the key of a KMS provider that is not known.
func (es Expectations) NeedsKeyID(provider string) bool {
	return slices.ContainsFunc(es, func(e Expectation) bool {
		return e.Configured.KeyIDUnknown != "" && e.Value.Provider == string(atrest.KMS) && e.Value.Key == provider
	})
}

// unheard doubts a candidate of which a KMS plugin that is to encrypt does not answer: an apiserver would not load it.
func (es Expectations) unheard() []Reason {
	var reasons []Reason
	for _, e := range es {
		if e.Configured.Candidate && e.Configured.KeyIDUnknown != "" {
			reasons = append(reasons, Reason{Resource: e.Resource, Whole: true, Fault: Fault{Code: UnknownKeyID, Severity: Warning, Expected: e.Value.String(),
				Message: "which key the candidate's KMS plugin would encrypt with is not known: " + e.Configured.KeyIDUnknown}})
		}
	}
	return reasons
}

// superseded tells whether a value is of a KMS version that the file writes no more.
func (c Configured) superseded(found atrest.Encryption) bool {
	return c.Writes && c.Version == atrest.V2 && found.Provider == atrest.KMS && found.Version == atrest.V1
}

// judgeTwin tells whether a value under the expected name is under the key that is meant, where several bear the name.
func (c Configured) judgeTwin(f Fault, g etcdscan.Group) (Fault, bool) {
	opened := g.Opened == etcdscan.Verified
	switch {
	case c.superseded(g.AtRest):
		f.Code, f.Severity, f.Message = StaleKey, Error, "encrypted by KMS v1, and the file writes with KMS v2"
	case g.Twins < 2 || g.AtRest.Provider == atrest.Identity, opened && c.Writes && g.Twin == c.Twin:
		return f, true
	case opened && c.Writes:
		f.Code, f.Severity, f.Message = StaleKey, Error, "encrypted under another key of that name than the one that writes"
	case opened:
		f.Code, f.Severity, f.Message = AmbiguousKey, Warning, "several keys of the file bear this name, none of them is the one that writes, and which is meant nobody said"
	default:
		f.Code, f.Severity, f.Message = AmbiguousKey, Warning, "several keys of the file bear this name, and the value was not opened"
	}
	return f, false
}

// Sensitive tells whether the resource holds credentials.
func (r Resource) Sensitive() bool { return slices.Contains(sensitive, r) }

// sensitive are resources that hold credentials: what the Kubernetes and OpenShift documentation has encrypted first.
var sensitive = []Resource{
	{Name: "secrets"}, {Name: "configmaps"},
	{Group: "route.openshift.io", Name: "routes"},
	{Group: "oauth.openshift.io", Name: "oauthaccesstokens"}, {Group: "oauth.openshift.io", Name: "oauthauthorizetokens"},
}

// uncovered points out what the EncryptionConfiguration leaves in plaintext although it may hold credentials.
func (es Expectations) uncovered(entries []etcdscan.Entry) []Reason {
	objects := make(map[Resource]int64)
	for _, e := range entries {
		r := Resource{Group: e.Group.Group, Name: e.Resource}
		if want, ok := es.For(r); ok && want.Configured.Uncovered && r.Sensitive() && e.AtRest.Provider == atrest.Identity {
			objects[r] += e.Objects
		}
	}
	var reasons []Reason
	for r, n := range objects {
		reasons = append(reasons, Reason{Resource: r, Objects: n, Whole: true, Fault: Fault{Code: Uncovered, Severity: Info, Found: string(atrest.Identity),
			Message: "the EncryptionConfiguration does not cover this resource, which may hold credentials"}})
	}
	slices.SortFunc(reasons, compareReasons)
	return reasons
}

// closed says how many values are believed to be under the key that they name, although there is a file to open them with.
func (es Expectations) closed(entries []etcdscan.Entry) []Reason {
	if !slices.ContainsFunc(es, func(e Expectation) bool { return e.Configured.Asked }) {
		return nil
	}
	var n int64
	for _, e := range entries {
		if e.AtRest.Provider != atrest.Identity && e.Fault == etcdscan.NoFault && e.Opened == etcdscan.NotTried && !e.Unserved {
			n += e.Objects
		}
	}
	if n == 0 {
		return nil
	}
	return []Reason{{Objects: n, Whole: true, Fault: Fault{Code: NotOpened, Severity: Info, Message: "encrypted values were not opened: which key they are under is what they say themselves"}}}
}

// unauthenticated states the limit of what opening proves where the cipher vouches for nothing.
func unauthenticated(entries []etcdscan.Entry) []Reason {
	var n int64
	for _, e := range entries {
		if e.AtRest.Provider != atrest.Identity && e.Opened == etcdscan.Verified && !e.Authenticated {
			n += e.Objects
		}
	}
	if n == 0 {
		return nil
	}
	return []Reason{{Objects: n, Whole: true, Fault: Fault{Code: Unauthenticated, Severity: Info,
		Message: "opened by AES-CBC, which does not vouch for a value: that it is the object's is seen, that its data was not altered is not"}}}
}
