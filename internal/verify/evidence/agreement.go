package evidence

import (
	"slices"

	"github.com/svmctl/svmctl/internal/verify"
)

// agreement checks that the numbers of a bundle add up, and that no claim passes against them.
func (c *checking) agreement() {
	check := c.begin("numbers")
	s := c.doc.Scan
	if s.Audit == nil {
		check.wrong(ScanFile, "it holds no AuditReport")
		return
	}
	var objects, expectedPlain int64
	excepted := make(map[string]int64)
	expired := make(map[string]bool)
	for _, x := range s.Exceptions {
		expired[x.ID] = x.Expired
	}
	for _, p := range s.Population {
		objects += p.Objects
		if p.Exception != "" {
			excepted[p.Exception] += p.Objects
		}
		if p.Expected && p.State == StatePlaintext && (p.Exception == "" || expired[p.Exception]) {
			expectedPlain += p.Objects
		}
	}
	var grouped int64
	for _, g := range s.Audit.Groups {
		grouped += g.Objects
	}
	for _, n := range []struct {
		what string
		n    int64
	}{{"population", objects}, {"audit.totals", s.Audit.Totals.Keys}, {"audit.groups", grouped}, {"merkle.treeSize", s.Merkle.TreeSize}} {
		if n.n != s.Completeness.Read {
			check.wrong(ScanFile, "%s comes to %d, and completeness.read is %d", n.what, n.n, s.Completeness.Read)
		}
	}
	if s.Completeness.Whole && s.Completeness.Read != s.Completeness.Counted {
		check.wrong(ScanFile, "it calls the scan whole, with %d keys read of %d", s.Completeness.Read, s.Completeness.Counted)
	}
	if s.AsOf.Revision != s.Audit.Source.Revision {
		check.wrong(ScanFile, "it speaks of the revisions %d and %d", s.AsOf.Revision, s.Audit.Source.Revision)
	}
	for _, x := range s.Exceptions {
		if x.Objects != excepted[x.ID] {
			check.wrong(ScanFile, "the exception %s covers %d objects in one place and %d in another", printable(x.ID), x.Objects, excepted[x.ID])
		}
	}
	if (len(s.Exceptions) > 0) != (c.doc.Exceptions != nil) {
		check.wrong(ExceptionsFile, "it has to be there if and only if there are exceptions")
	}
	if a := s.Completeness.API; a != nil {
		if a.Match && len(a.differing(among(nil))) > 0 {
			check.wrong(ScanFile, "it says that the API matches, and lists differences")
		}
	}
	c.passes(check, expectedPlain)
}

// passes checks the claims that pass against what the rest of the bundle says.
func (c *checking) passes(check *Checked, plain int64) {
	s := c.doc.Scan
	var ids []string
	for _, claim := range s.Claims {
		ids = append(ids, claim.ID)
		if (claim.Result == Pass) != (len(claim.Why) == 0) {
			check.wrong(ScanFile, "%s is %s, and says otherwise why", claim.ID, claim.Result)
		}
		if claim.Result != Pass {
			continue
		}
		whole := s.Completeness.Whole && (s.AsOf.Snapshot != "" || s.Completeness.API != nil && len(s.Completeness.API.differing(among(s.Scope.Resources))) == 0)
		servers := c.doc.APIServers
		switch claim.ID {
		case "SVM-E1", "SVM-E2":
			if plain > 0 || !whole {
				check.wrong(ScanFile, "%s passes, with %d objects in plaintext or a population that is not whole", claim.ID, plain)
			}
		case "SVM-E4":
			if servers == nil || servers.Agree == nil || !*servers.Agree {
				check.wrong(APIServersFile, "%s passes, and the apiservers do not agree", claim.ID)
			}
		case "SVM-E6":
			if c.doc.Migration == nil || c.doc.Migration.After == nil || c.doc.Migration.After.Verdict != verify.Complete {
				check.wrong(MigrationFile, "%s passes, and no migration is Complete", claim.ID)
			}
		case "SVM-E7":
			if s.Audit.History == nil {
				check.wrong(ScanFile, "%s passes, and no history was read", claim.ID)
			}
		}
	}
	if !slices.Equal(ids, ClaimIDs) {
		check.wrong(ScanFile, "it does not make the claims %v", ClaimIDs)
	}
}
