package evidence

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
)

// passes checks the claims that pass against what the rest of the bundle says.
func (c *checking) passes(check *Checked) {
	s := c.doc.Scan
	var ids []string
	for _, claim := range s.Claims {
		ids = append(ids, claim.ID)
		if (claim.Result == Pass) != (len(claim.Why) == 0) {
			check.wrong(ScanFile, "%s is %s, and says otherwise why", claim.ID, claim.Result)
		}
		if against := c.against(claim.ID); claim.Result == Pass && against != (Problem{}) {
			check.wrong(against.File, "%s passes, and %s", claim.ID, against.Message)
		}
	}
	if !slices.Equal(ids, ClaimIDs) {
		check.wrong(ScanFile, "it does not make the claims %v", ClaimIDs)
	}
}

// against is what the rest of the bundle has against a claim that passes; the zero value: nothing.
func (c *checking) against(claim string) Problem {
	s, servers := c.doc.Scan, c.doc.APIServers
	later := s.AsOf.Later
	if later == nil {
		later = new(Later)
	}
	in := func(file, message string) Problem { return Problem{file, message} }
	switch claim {
	case "SVM-E1":
		if !s.nothingMissing(among(s.Scope.Resources)) || later.Plaintext+later.Unknown > 0 || s.amiss(func(p Population) bool { return p.State == StatePlaintext }) {
			return in(ScanFile, "objects are in plaintext, not understood or missing")
		}
	case "SVM-E2":
		if !s.nothingMissing(among(s.Scope.Resources)) || later.Plaintext+later.OtherKey+later.Unknown > 0 || s.amiss(s.otherwise) {
			return in(ScanFile, "objects are not under the expected key, not understood or missing")
		}
	case "SVM-E3":
		if !s.nothingMissing(among(nil)) || later.Unknown > 0 {
			return in(ScanFile, "objects are not understood, or missing")
		}
		asked, answer := c.canRemove()
		switch v, err := verify.ParseValue(asked); {
		case asked == "" && (later.OtherKey > 0 || slices.ContainsFunc(s.Population, s.underNoneExpected)):
			return in(ScanFile, "objects are under other keys")
		case asked == "":
		case answer != "yes":
			return in(KeysFile, "the key is needed, or nobody knows")
		case err == nil && encrypts(v) && slices.ContainsFunc(s.Population, func(p Population) bool { return v.Matches(p.atRest()) }):
			return in(ScanFile, "objects are under the key")
		}
	case "SVM-E4":
		if servers == nil || servers.Agree == nil || !*servers.Agree || !servers.Counted || servers.Answered < servers.Known || servers.loadedOther() {
			return in(APIServersFile, "the apiservers do not agree")
		}
	case "SVM-E5":
		if servers == nil || servers.Agree == nil || !*servers.Agree || !servers.Counted || servers.Answered < servers.Known || servers.loadedOther() || later.Plaintext+later.OtherKey+later.Unknown > 0 {
			return in(APIServersFile, "not every apiserver was asked, or something was written otherwise")
		}
	case "SVM-E6":
		if m := c.doc.Migration; m == nil || m.After == nil || m.After.Verdict != verify.Complete {
			return in(MigrationFile, "no migration is Complete")
		}
		if slices.ContainsFunc(s.expectations(), func(e verify.Expectation) bool { return encrypts(e.Value) }) && s.amiss(s.otherwise) {
			return in(ScanFile, "objects are not under the expected key")
		}
	case "SVM-E7":
		if s.Audit.History == nil || !s.nothingMissing(among(s.Scope.Resources)) || later.Plaintext+later.OtherKey+later.Unknown > 0 || s.olderOtherwise() {
			return in(ScanFile, "no history was read, or older revisions are not under the expected key")
		}
	case "SVM-E8":
		var residue struct {
			Files           []struct{ Problem string }
			Steps, Warnings []any
		}
		text, ok := c.doc.Residue.(json.RawMessage)
		if !ok || json.Unmarshal(text, &residue) != nil {
			return in(ScanFile, "nobody looked for residue")
		}
		told := !slices.ContainsFunc(residue.Files, func(f struct{ Problem string }) bool { return f.Problem != "" })
		if len(residue.Files) == 0 || len(residue.Steps)+len(residue.Warnings) > 0 || !told {
			return in(ResidueFile, "something is left behind, or not everything was looked through")
		}
	}
	return Problem{}
}

// canRemove is the key that keys.json answers for, and the answer; empty where it was asked about none.
func (c *checking) canRemove() (key, answer string) {
	if c.doc.Keys == nil {
		return "", ""
	}
	var report struct {
		CanRemove *struct{ Key, Answer string } `json:"canRemove"`
	}
	text, err := json.Marshal(c.doc.Keys)
	if err != nil || json.Unmarshal(text, &report) != nil || report.CanRemove == nil {
		return "", ""
	}
	return report.CanRemove.Key, report.CanRemove.Answer
}

// nothingMissing tells whether all of some resources was read.
func (s *Scan) nothingMissing(relevant func(resource string) bool) bool {
	if !s.Completeness.Whole || slices.ContainsFunc(s.Scope.Overrides, relevant) {
		return false
	}
	if s.Audit.Source.Type == "snapshot" {
		return s.Audit.Source.Integrity == "valid"
	}
	api := s.Completeness.API
	return api != nil && api.Revision == s.AsOf.Revision && len(api.Resources) > 0 && len(api.differing(relevant)) == 0
}

// amiss tells whether something is wrong with, or not understood of, what is expected to be encrypted, or whether there is nothing.
func (s *Scan) amiss(wrong func(Population) bool) bool {
	approved := func(p Population) bool {
		return slices.ContainsFunc(s.Exceptions, func(x ExceptionUse) bool { return x.ID == p.Exception && !x.Expired })
	}
	none := true
	for _, p := range s.Population {
		switch {
		case !p.Expected:
			continue
		case p.State == StateUnknown, p.State == StateError, wrong(p) && !approved(p):
			return true
		}
		none = false
	}
	return none
}

// expectations are those of the audit. Key IDs in them are hashes.
func (s *Scan) expectations() verify.Expectations {
	var values []string
	for _, e := range s.Audit.Expectations {
		if e.Value != "" {
			values = append(values, e.Resource+"="+e.Value)
		}
	}
	es, _ := verify.ParseExpectations(values, nil) // nothing passes where there are none
	return es
}

// atRest is how objects are encrypted, with the hash of the key ID in its place.
func (p Population) atRest() atrest.Encryption {
	return atrest.Encryption{Provider: atrest.Provider(p.Provider), Version: p.Version, Key: p.Key, KeyID: p.KeyIDHash}
}

// otherwise tells whether objects are not under the key that is expected of their resource.
func (s *Scan) otherwise(p Population) bool {
	r, err := verify.ParseResource(p.Resource)
	want, ok := s.expectations().For(r)
	return err != nil || !ok || want.Value.Key == "" || !want.Value.Matches(p.atRest())
}

// underNoneExpected tells whether objects are under a key that is expected of nothing.
func (s *Scan) underNoneExpected(p Population) bool {
	return p.Provider != string(atrest.Identity) && !slices.ContainsFunc(s.expectations(), func(e verify.Expectation) bool {
		return encrypts(e.Value) && e.Value.Key != "" && e.Value.Matches(p.atRest())
	})
}

// olderOtherwise tells whether older revisions are not under the key that is expected of their resource.
func (s *Scan) olderOtherwise() bool {
	es := s.expectations()
	return len(es) == 0 || slices.ContainsFunc(s.Audit.History.Groups, func(g audit.OldGroup) bool {
		want, ok := es.For(verify.Resource{Group: g.Group, Name: g.Resource})
		return ok && g.Resource != "" && encrypts(want.Value) && !want.Value.Matches(g.AtRest)
	})
}

// loadedOther tells whether an apiserver has not loaded what the others have.
func (a *APIServers) loadedOther() bool {
	return len(a.Servers) == 0 || slices.ContainsFunc(a.Servers, func(s APIServer) bool {
		return s.Answered && (s.EncryptionConfig == "" || s.EncryptionConfig != cmp.Or(a.Expected, a.Servers[0].EncryptionConfig))
	})
}
