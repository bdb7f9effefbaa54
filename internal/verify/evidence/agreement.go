package evidence

import "slices"

// agreement checks that the numbers of a bundle add up, and that no claim passes against them.
func (c *checking) agreement() {
	check := c.begin("numbers")
	s := c.doc.Scan
	if s.Audit == nil {
		check.wrong(ScanFile, "it holds no AuditReport")
		return
	}
	var objects int64
	excepted, named := make(map[string]int64), make(map[string]int64)
	for _, p := range s.Population {
		objects += p.Objects
		named[p.Resource] += p.Objects
		if p.Exception != "" {
			excepted[p.Exception] += p.Objects
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
	for _, x := range s.Exceptions {
		if !x.Expired && !s.Time.StartedAt.Before(x.Expires) {
			check.wrong(ScanFile, "the exception %s had expired, and it says otherwise", printable(x.ID))
		}
	}
	same := func(a, b ExceptionUse) bool {
		return a.ID == b.ID && a.Expires.Equal(b.Expires) && a.Expired == b.Expired && a.Objects == b.Objects
	}
	if !slices.EqualFunc(c.doc.Exceptions.used(), s.Exceptions, same) {
		check.wrong(ExceptionsFile, "its exceptions are not those of scan.json")
	}
	if (len(s.Exceptions) > 0) != (c.doc.Exceptions != nil) {
		check.wrong(ExceptionsFile, "it has to be there if and only if there are exceptions")
	}
	if s.AsOf.Snapshot != s.Audit.Source.Path || s.AsOf.SnapshotHash != s.Audit.Source.SHA256 {
		check.wrong(ScanFile, "it speaks of two files")
	}
	if a := s.Completeness.API; a != nil {
		if a.Match && len(a.differing(among(nil))) > 0 {
			check.wrong(ScanFile, "it says that the API matches, and lists differences")
		}
		for _, r := range a.Resources {
			if r.Problem == "" && (r.InEtcd != named[r.Resource] || r.InEtcd-r.OnlyInEtcd != r.InAPI-r.OnlyInAPI) {
				check.wrong(ScanFile, "of %s it compared %d objects of etcd with %d of the API, and population has %d", printable(r.Resource), r.InEtcd, r.InAPI, named[r.Resource])
			}
		}
	}
	c.passes(check)
}
