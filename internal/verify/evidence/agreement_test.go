package evidence

import (
	"slices"
	"testing"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
)

// pass makes a claim pass, whatever it was.
func pass(id string) func(*Scan) {
	return func(s *Scan) {
		for i := range s.Claims {
			if s.Claims[i].ID == id {
				s.Claims[i].Result, s.Claims[i].Why = Pass, []string{}
			}
		}
	}
}

// A claim that is made to pass, with every digest made anew, is found wherever the rest of the bundle speaks against it.
func TestForgedClaims(t *testing.T) {
	t.Parallel()
	server := start(t)
	byKMS := func(o *Observed) {
		o.APIServers.Servers[0].Writes = []Operations{wrote("secrets", "k8s:enc:kms:v2:vault:", 7)}
		o.APIServers.Servers[0].KMSKeyIDs["vault"] = hashOf("kek-2")
	}
	for _, c := range []struct {
		claimed
		forge []string // claims that are made to pass
	}{
		{claimed{name: "plaintext", store: usual().and(values{"/registry/secrets/ns/p": plain("v1", "Secret", "ns", "p")})}, []string{"SVM-E1", "SVM-E2", "SVM-E6"}},
		{claimed{name: "another key", store: usual().and(values{"/registry/secrets/ns/p": aescbc("key1")})}, []string{"SVM-E2", "SVM-E3", "SVM-E6"}},
		{claimed{name: "another key where nothing was expected", store: usual().and(values{"/registry/configmaps/ns/p": aescbc("key1")})}, []string{"SVM-E3"}},
		{claimed{name: "not understood", store: usual().and(values{"/registry/secrets/ns/p": "\x00\x01"})}, []string{"SVM-E1", "SVM-E2"}},
		{claimed{name: "an unknown transformer", store: usual().and(values{"/registry/configmaps/ns/p": "k8s:enc:rot13:v1:key1:x"})}, []string{"SVM-E3"}},
		{claimed{name: "no objects", store: values{"/registry/configmaps/ns/d": plain("v1", "ConfigMap", "ns", "d")}}, []string{"SVM-E1", "SVM-E2"}},
		{claimed{name: "another key ID", store: values{"/registry/secrets/ns/a": kmsV2("vault", "kek-1")}, look: look{expect: []string{"secrets=kms:vault:kek-2"}}, change: byKMS}, []string{"SVM-E2", "SVM-E3"}},
		{claimed{name: "no key was expected", look: look{expect: []string{"secrets=encrypted"}}}, []string{"SVM-E2", "SVM-E3"}},
		{claimed{name: "not whole", change: func(o *Observed) { o.Report.Scope.Whole = false }}, []string{"SVM-E1", "SVM-E2", "SVM-E3", "SVM-E7"}},
		{claimed{name: "the API was not asked", change: func(o *Observed) { o.Reconciliation = nil }}, []string{"SVM-E1", "SVM-E2", "SVM-E3"}},
		{claimed{name: "the API lists others", change: differ("secrets", func(r *Reconciled) { r.InAPI++; r.OnlyInAPI++ })}, []string{"SVM-E1", "SVM-E2", "SVM-E3"}},
		{claimed{name: "the API was asked of another revision", change: func(o *Observed) { o.Reconciliation.Revision-- }}, []string{"SVM-E1", "SVM-E2", "SVM-E3"}},
		{claimed{name: "secrets are elsewhere", change: overrides("secrets")}, []string{"SVM-E1", "SVM-E2", "SVM-E3"}},
		{claimed{name: "written otherwise meanwhile", change: func(o *Observed) { o.Later = &Later{Writes: 2, Plaintext: 1, OtherKey: 1} }}, []string{"SVM-E1", "SVM-E2", "SVM-E3", "SVM-E5"}},
		{claimed{name: "apiservers were not asked", change: func(o *Observed) { o.APIServers = unasked("no") }}, []string{"SVM-E4", "SVM-E5"}},
		{claimed{name: "apiservers were not counted", change: func(o *Observed) { o.APIServers.Counted = false }}, []string{"SVM-E4", "SVM-E5"}},
		{claimed{name: "an apiserver is missing", change: func(o *Observed) { o.APIServers.Known++ }}, []string{"SVM-E4", "SVM-E5"}},
		{claimed{name: "apiservers disagree", change: func(o *Observed) { no := false; o.APIServers.Agree = &no }}, []string{"SVM-E4"}},
		{claimed{name: "an apiserver has loaded another file", change: func(o *Observed) { o.APIServers.Expected = "sha256:other" }}, []string{"SVM-E4"}},
		{claimed{name: "nothing was migrated", change: func(o *Observed) { o.Rotation = nil }}, []string{"SVM-E6"}},
		{claimed{name: "nobody looked at history", change: func(o *Observed) { o.Report.History = nil }}, []string{"SVM-E7"}},
		{claimed{name: "plaintext in history", past: [][2]string{{"/registry/secrets/ns/a", plain("v1", "Secret", "ns", "a")}}}, []string{"SVM-E7"}},
		{claimed{name: "nobody looked for residue"}, []string{"SVM-E8"}},
	} {
		dir, _ := write(t, c.observe(t, server), Options{})
		sound(t, dir)
		for _, id := range c.forge {
			t.Run(c.name+" "+id, func(t *testing.T) {
				dir := clone(t, dir)
				rescan(t, dir, pass(id))
				restate(t, dir)
				name := ScanFile
				switch id {
				case "SVM-E4", "SVM-E5":
					name = APIServersFile
				case "SVM-E6":
					name = MigrationFile
				}
				caught(t, dir, nil, name, id+" passes, and ")
			})
		}
	}
}

// Numbers that do not add up are found, with every digest made anew.
func TestForgedNumbers(t *testing.T) {
	t.Parallel()
	forgeries(t, []forged{
		{"population", ofScan(func(s *Scan) { s.Population[0].Objects++ }), ScanFile, "population comes to"},
		{"population of records", ofScan(func(s *Scan) { s.Population[0].Objects++; s.Population[1].Objects-- }), RecordsFile, "do not add up"},
		{"plaintext is well", ofScan(func(s *Scan) {
			for i := range s.Population {
				if s.Population[i].State == StatePlaintext {
					s.Population[i].State = StateOK
				}
			}
		}), RecordsFile, "do not add up"},
		{"read", ofScan(func(s *Scan) { s.Completeness.Read++ }), ScanFile, "completeness.read is"},
		{"counted", ofScan(func(s *Scan) { s.Completeness.Counted++ }), ScanFile, "it calls the scan whole"},
		{"totals", ofScan(func(s *Scan) { s.Audit.Totals.Keys++ }), ScanFile, "audit.totals comes to"},
		{"groups", ofScan(func(s *Scan) { s.Audit.Groups[0].Objects++ }), ScanFile, "audit.groups comes to"},
		{"tree", ofScan(func(s *Scan) { s.Merkle.TreeSize++ }), ScanFile, "merkle.treeSize comes to"},
		{"root", ofScan(func(s *Scan) { s.Merkle.Root = s.Merkle.Root[1:] + "0" }), RecordsFile, "Merkle root"},
		{"revision", ofScan(func(s *Scan) { s.AsOf.Revision++ }), ScanFile, "it speaks of the revisions"},
		{"an earlier revision", ofScan(func(s *Scan) { s.AsOf.Revision--; s.Audit.Source.Revision-- }), RecordsFile, "was written after revision"},
		{"an exception covers more", ofScan(func(s *Scan) { s.Exceptions[0].Objects++ }), ScanFile, "the exception"},
		{"an exception has not expired", ofScan(func(s *Scan) { s.Exceptions[0].Expires = noon }), ScanFile, "had expired, and it says otherwise"},
		{"an exception expires later", ofScan(func(s *Scan) { s.Exceptions[0].Expires = noon.AddDate(5, 0, 0) }), ExceptionsFile, "not those of scan.json"},
		{"an exception less", ofScan(func(s *Scan) { s.Exceptions = []ExceptionUse{} }), ExceptionsFile, "if and only if"},
		{"the API matches", ofScan(func(s *Scan) { s.Completeness.API.Resources[0].OnlyInAPI++ }), ScanFile, "lists differences"},
		{"the API was compared with others", ofScan(func(s *Scan) { s.Completeness.API.Resources[0].InEtcd++; s.Completeness.API.Resources[0].InAPI++ }), ScanFile, "it compared 2 objects of etcd with 2"},
		{"the API has as many", ofScan(func(s *Scan) { s.Completeness.API.Resources[0].InAPI++ }), ScanFile, "it compared 1 objects of etcd with 2"},
		{"a snapshot", ofScan(func(s *Scan) { s.AsOf.Snapshot = "backup.db" }), ScanFile, "two files"},
		{"a claim less", ofScan(func(s *Scan) { s.Claims = s.Claims[1:] }), ScanFile, "does not make the claims"},
		{"claims in another order", ofScan(func(s *Scan) { slices.Reverse(s.Claims) }), ScanFile, "does not make the claims"},
		{"a claim that fails for nothing", ofScan(func(s *Scan) { s.Claims[0].Result, s.Claims[0].Why = Fail, []string{} }), ScanFile, "says otherwise why"},
		{"a claim that passes for something", ofScan(func(s *Scan) { s.Claims[0].Result, s.Claims[0].Why = Pass, []string{"x"} }), ScanFile, "says otherwise why"},
		{"no audit", ofScan(func(s *Scan) { s.Audit = nil }), ScanFile, ""},
		{"white space", raw(ScanFile, func(b []byte) []byte { return append(b, '\n') }), ScanFile, "not written as svmctl writes it"},
		{"a result that there is none of", ofScan(func(s *Scan) { s.Claims[0].Result = "satisfied" }), ScanFile, "form"},
	})
}

// A claim of the statement alone is not one of the bundle.
func TestForgedStatement(t *testing.T) {
	t.Parallel()
	_, unsigned, _ := bundles(t)
	for name, change := range map[string]func(*Statement){
		"a claim": func(s *Statement) { s.Predicate.Claims[0].Result = Inconclusive },
		"the root": func(s *Statement) {
			s.Predicate.Population.RecordsMerkleRoot = s.Predicate.Population.RecordsMerkleRoot[1:] + "0"
		},
		"the cluster":       func(s *Statement) { s.Predicate.Cluster.EtcdClusterID = "1" },
		"the revision":      func(s *Statement) { s.Predicate.AsOf.EtcdRevision = "1" },
		"a subject more":    func(s *Statement) { s.Subject = append(s.Subject, Subject{"x", Digest{s.Subject[0].Digest.SHA256}}) },
		"a subject twice":   func(s *Statement) { s.Subject = append(s.Subject, s.Subject[0]) },
		"the previous":      func(s *Statement) { s.Predicate.PreviousStatement = &StatedPrevious{s.Subject[0].Digest} },
		"another predicate": func(s *Statement) { s.PredicateType += "x" },
		"another statement": func(s *Statement) { s.Type += "x" },
	} {
		dir := clone(t, unsigned)
		s, err := ReadStatement(dir)
		if err != nil {
			t.Fatal(err)
		}
		change(s)
		text, err := encode(s)
		if err != nil {
			t.Fatal(err)
		}
		put(t, dir, StatementFile, text)
		resum(t, dir)
		if v := check(t, dir, nil); v.Verdict != verify.Incomplete {
			t.Errorf("%s: it is %s", name, v.Verdict)
		}
	}
}

// What passes by the audit passes by the bundle's own numbers as well.
func TestExpectationsOfBundle(t *testing.T) {
	s := &Scan{Audit: &audit.Report{Expectations: []audit.Expectation{
		{Resource: "*.", Value: "aescbc:key:2"}, {Resource: "secrets", Value: "kms:vault:" + hashOf("kek-2")}, {Resource: "deployments.apps", Version: "apps/v1"},
		{Resource: "events", Value: "encrypted"}, {Resource: "nodes", Value: "identity"}}}}
	for _, c := range []struct {
		p               Population
		otherwise, none bool
	}{
		{Population{Resource: "secrets", Provider: "kms", Version: "v2", Key: "vault", KeyIDHash: hashOf("kek-2")}, false, false},
		{Population{Resource: "secrets", Provider: "kms", Version: "v2", Key: "vault", KeyIDHash: hashOf("kek-1")}, true, true},
		{Population{Resource: "secrets", Provider: "kms", Version: "v1", Key: "vault"}, true, true},
		{Population{Resource: "secrets", Provider: "aescbc", Version: "v1", Key: "key:2"}, true, false},
		{Population{Resource: "configmaps", Provider: "aescbc", Version: "v1", Key: "key:2"}, false, false},
		{Population{Resource: "configmaps", Provider: "identity"}, true, false},
		{Population{Resource: "deployments.apps", Provider: "aescbc", Version: "v1", Key: "key:2"}, true, false},
		{Population{Resource: "events", Provider: "aescbc", Version: "v1", Key: "other"}, true, true},
		{Population{Resource: "(what it is)", Provider: string(atrest.Unknown)}, true, true},
	} {
		if got := s.otherwise(c.p); got != c.otherwise {
			t.Errorf("%+v is otherwise than expected: %t", c.p, got)
		}
		if got := s.underNoneExpected(c.p); got != c.none {
			t.Errorf("%+v is under a key that is expected of nothing: %t", c.p, got)
		}
	}
}
