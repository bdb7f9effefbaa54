package evidence

import (
	"strings"
	"testing"
	"time"

	"github.com/svmctl/svmctl/internal/audit"
)

// claimed is one bundle and what its claims come to.
type claimed struct {
	name   string
	store  values      // nil: usual
	past   [][2]string // written before, and overwritten or deleted since
	look   look        // without expectations: secrets=aescbc:key2
	change func(o *Observed)
	// want lists what differs from every claim passing: E1- is one that fails, E1? one that is inconclusive. E8 is never named.
	want string
	why  string // part of a reason of the first one that is named
}

var everything = []string{"none"} // expect nothing

// good is an Observed all of whose claims pass, but for E8.
func (c claimed) observe(t *testing.T, server running) *Observed {
	t.Helper()
	if c.store == nil {
		c.store = usual()
	}
	fill(t, server, c.store)
	for _, p := range c.past {
		server.Put(t, p[0], p[1])
	}
	for _, p := range c.past {
		if now, ok := c.store[p[0]]; ok {
			server.Put(t, p[0], now)
		} else if _, err := server.Client.Delete(t.Context(), p[0]); err != nil {
			t.Fatal(err)
		}
	}
	switch {
	case len(c.look.expect)+len(c.look.versions) == 0:
		c.look.expect = []string{"secrets=aescbc:key2"}
	case len(c.look.expect) == 1 && c.look.expect[0] == everything[0]:
		c.look.expect = nil
	}
	c.look.history = c.past != nil
	o := c.look.live(t, server)
	if c.past == nil { // to ask takes etcd half a second
		o.Report.History = &audit.History{Groups: []audit.OldGroup{}}
	}
	o.Reconciliation = reconciled(t, o)
	lookOn(t.Context(), t, o, server)
	o.Cluster.EtcdMembers = []Member{{ID: "1", Answered: true, ClientURLs: []string{}}}
	o.APIServers = asked(apiserver("a", wrote("secrets", "k8s:enc:aescbc:v1:", 7), wrote("secrets", "key2:", 7), wrote("secrets", "k8s:enc:kms:v2:vault:", 3)))
	o.APIServers.Servers[0].Writes = o.APIServers.Servers[0].Writes[:2]
	o.Rotation = &Rotation{Verdict: o.Report.Verdict, StaleBefore: 3, Rewritten: 3, FromWhole: true, From: 1, To: o.Report.Source.Revision, Began: noon.Add(-time.Minute), Done: noon}
	o.Migration = &Migration{APIVersion: APIVersion, Kind: "EvidenceMigration", Report: migrated, Before: o.Report, After: o.Report, Failures: []FailureCount{}, NotRewritten: []Unwritten{}}
	if c.change != nil {
		c.change(o)
	}
	if o.Rotation == nil {
		o.Migration = nil
	}
	return o
}

// results are the claims that do not pass, as want names them.
func results(claims []Claim) string {
	var all []string
	for _, c := range claims {
		id := strings.TrimPrefix(c.ID, "SVM-")
		switch {
		case id == "E8" && c.Result == Inconclusive:
		case c.Result == Fail:
			all = append(all, id+"-")
		case c.Result == Inconclusive:
			all = append(all, id+"?")
		case id == "E8":
			all = append(all, "E8+")
		}
	}
	return strings.Join(all, " ")
}

// judgedIn makes a bundle of each, demands that it is sound, and compares the claims.
func judgedIn(t *testing.T, cases []claimed) {
	t.Helper()
	server := start(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir, doc := write(t, c.observe(t, server), Options{})
			got := results(doc.Scan.Claims)
			if got != c.want {
				t.Errorf("the claims are %q, and should be %q", got, c.want)
				for _, claim := range doc.Scan.Claims {
					t.Logf("%s %s: %s %q", claim.ID, claim.Result, claim.Statement, claim.Why)
				}
			}
			if c.why != "" {
				id, _, _ := strings.Cut(c.want, " ")
				for _, claim := range doc.Scan.Claims {
					if claim.ID == "SVM-"+strings.TrimRight(id, "-?") && !strings.Contains(strings.Join(claim.Why, "\n"), c.why) {
						t.Errorf("%s does not say %q: %q", claim.ID, c.why, claim.Why)
					}
				}
			}
			sound(t, dir)
		})
	}
}

func overrides(names ...string) func(*Observed) {
	return func(o *Observed) { o.Overrides = names }
}

// differ changes what the API said of one resource.
func differ(name string, change func(*Reconciled)) func(*Observed) {
	return func(o *Observed) {
		for i := range o.Reconciliation.Resources {
			if o.Reconciliation.Resources[i].Resource == name {
				change(&o.Reconciliation.Resources[i])
				o.Reconciliation.Match = false
			}
		}
	}
}

func extra(t *testing.T, r Reconciled) func(*Observed) {
	t.Helper()
	return func(o *Observed) {
		o.Reconciliation.Resources = append(o.Reconciliation.Resources, r)
		o.Reconciliation.Match = false
	}
}

func TestClaimsOfPopulation(t *testing.T) {
	t.Parallel()
	kms := look{expect: []string{"secrets=kms:vault:kek-2"}}
	byKMS := func(o *Observed) {
		o.APIServers.Servers[0].Writes = []Operations{wrote("secrets", "k8s:enc:kms:v2:vault:", 7)}
		o.APIServers.Servers[0].KMSKeyIDs["vault"] = hashOf("kek-2")
	}
	judgedIn(t, []claimed{
		{name: "everything is good"},
		{name: "not whole", change: func(o *Observed) { o.Report.Scope.Whole = false }, want: "E1? E2? E3? E6? E7?", why: "not read as a whole"},
		{name: "keys lie beside the storage roots", change: func(o *Observed) { o.Report.Foreign = new(int64(1)) }, want: "E3?", why: "lie beside"},
		{name: "nobody counted what lies beside the storage roots", change: func(o *Observed) { o.Report.Foreign = nil }, want: "E3?", why: "could not be counted"},
		{name: "the API was not asked", change: func(o *Observed) { o.Reconciliation = nil }, want: "E1? E2? E3? E6? E7?", why: "--reconcile-api was not given"},
		{name: "the API was asked in vain", change: func(o *Observed) { o.Reconciliation, o.NotReconciled = nil, "403" }, want: "E1? E2? E3? E6? E7?", why: "403"},
		{name: "the API was asked of nothing", change: func(o *Observed) { o.Reconciliation.Resources = []Reconciled{} }, want: "E1? E2? E3? E6? E7?"},
		{name: "the API was asked of another revision", change: func(o *Observed) { o.Reconciliation.Revision-- }, want: "E1? E2? E3? E6? E7?", why: "revision"},
		{name: "the API was not asked of secrets", change: func(o *Observed) { o.Reconciliation.Resources = o.Reconciliation.Resources[:1] }, want: "E1? E2? E3? E6? E7?", why: "secrets"},
		{name: "the API was not asked of configmaps", change: func(o *Observed) { o.Reconciliation.Resources = o.Reconciliation.Resources[1:] }, want: "E3?", why: "configmaps"},
		{
			name: "the API was asked of some where all are meant", look: look{expect: []string{"*=aescbc:key2"}},
			store:  values{"/registry/secrets/ns/a": aescbc("key2"), "/registry/configmaps/ns/d": aescbc("key2")},
			change: func(o *Observed) { o.Reconciliation.Resources = o.Reconciliation.Resources[1:] }, want: "E1? E2? E3? E5? E6? E7?", why: "configmaps",
		},
		{name: "a secret in the API alone", change: differ("secrets", func(r *Reconciled) { r.InAPI++; r.OnlyInAPI++ }), want: "E1? E2? E3? E6? E7?"},
		{name: "a secret in etcd alone", change: differ("secrets", func(r *Reconciled) { r.InAPI--; r.OnlyInEtcd++ }), want: "E1? E2? E3? E6? E7?"},
		{name: "a secret at another revision", change: differ("secrets", func(r *Reconciled) { r.OtherRev++ }), want: "E1? E2? E3? E6? E7?"},
		{name: "secrets could not be listed", change: differ("secrets", func(r *Reconciled) { r.Problem = "403" }), want: "E1? E2? E3? E6? E7?"},
		{name: "a config map in the API alone", change: differ("configmaps", func(r *Reconciled) { r.InAPI++; r.OnlyInAPI++ }), want: "E3?"},
		{name: "a resource in the API alone", change: extra(t, Reconciled{Resource: "events", InAPI: 1, OnlyInAPI: 1}), want: "E3?"},
		{name: "secrets are in another etcd", change: overrides("secrets"), want: "E1? E2? E3? E6? E7?", why: "another etcd"},
		{name: "events are in another etcd", change: overrides("events"), want: "E3?"},
		{
			name: "an apiserver keeps secrets in another etcd", change: func(o *Observed) { o.APIServers.Servers[0].Overrides = []string{"secrets"} },
			want: "E1? E2? E3? E6? E7?", why: "another etcd",
		},
		{name: "something that nobody can read is in another etcd", change: overrides("/wha t"), want: "E1? E2? E3? E6? E7?"},
		{name: "plaintext", store: usual().and(values{"/registry/secrets/ns/p": plain("v1", "Secret", "ns", "p")}), want: "E1- E2- E6-", why: "1 secrets in plaintext"},
		{name: "another key", store: usual().and(values{"/registry/secrets/ns/p": aescbc("key1")}), want: "E2- E3- E6-"},
		{name: "another key where nothing was expected", store: usual().and(values{"/registry/configmaps/ns/p": aescbc("key1")}), want: "E3-", why: "under aescbc:key1"},
		{name: "another key where plaintext was expected", look: look{expect: []string{"secrets=aescbc:key2", "configmaps=identity"}},
			store: usual().and(values{"/registry/configmaps/ns/p": aescbc("key1")}), want: "E3- E6-"},
		{name: "an unknown transformer", store: usual().and(values{"/registry/secrets/ns/p": "k8s:enc:rot13:v1:key1:x"}), want: "E1? E2? E3? E6?"},
		{name: "an unknown transformer where nothing was expected", store: usual().and(values{"/registry/configmaps/ns/p": "k8s:enc:rot13:v1:key1:x"}), want: "E1? E2? E3? E6?"},
		{name: "undecodable", store: usual().and(values{"/registry/secrets/ns/p": "\x00\x01"}), want: "E1? E2? E3? E6?"},
		{name: "empty", store: usual().and(values{"/registry/secrets/ns/p": ""}), want: "E1? E2? E3? E6?"},
		{name: "a key of nobody's", store: usual().and(values{"/registry/secrets/p": aescbc("key1")}), want: "E1? E2? E3? E6?"},
		{name: "no secrets", store: values{"/registry/configmaps/ns/d": plain("v1", "ConfigMap", "ns", "d")}, want: "E1? E2? E3? E6? E7?", why: "there are none"},
		{name: "KMS v2", look: kms, store: values{"/registry/secrets/ns/a": kmsV2("vault", "kek-2")}, change: byKMS},
		{name: "KMS v2, another key ID", look: kms, store: values{"/registry/secrets/ns/a": kmsV2("vault", "kek-1")}, change: byKMS, want: "E2- E3- E6-"},
		{name: "KMS v1", look: look{expect: []string{"secrets=kms:vault"}}, store: values{"/registry/secrets/ns/a": kmsV1("vault")}, change: byKMS, want: "E2? E3? E5? E6? E7?"},
		{name: "KMS v1 where nothing was expected", look: look{expect: []string{"secrets=kms:vault"}}, change: byKMS,
			store: values{"/registry/secrets/ns/a": kmsV2("vault", "kek-2"), "/registry/configmaps/ns/a": kmsV1("vault")}, want: "E3? E5?"},
		{name: "one key ID where none was named", look: look{expect: []string{"secrets=kms:vault"}}, store: values{"/registry/secrets/ns/a": kmsV2("vault", "kek-2")}, change: byKMS, want: "E5?"},
		{name: "two key IDs where none was named", look: look{expect: []string{"secrets=kms:vault"}}, change: byKMS,
			store: values{"/registry/secrets/ns/a": kmsV2("vault", "kek-2"), "/registry/secrets/ns/b": kmsV2("vault", "kek-1")}, want: "E2? E3? E5? E6? E7?"},
		{name: "two key IDs, one where nothing was expected", look: look{expect: []string{"secrets=kms:vault"}}, change: byKMS,
			store: values{"/registry/secrets/ns/a": kmsV2("vault", "kek-2"), "/registry/configmaps/ns/b": kmsV2("vault", "kek-1")}, want: "E3? E5?"},
		{name: "nothing was expected", look: look{expect: everything}, store: values{"/registry/secrets/ns/a": aescbc("key2")}, want: "E2? E3? E5? E6? E7?", why: "no key was expected"},
		{name: "nothing was expected, and there is plaintext", look: look{expect: everything}, want: "E1- E2? E3? E5? E6? E7?"},
		{name: "any cipher was expected", look: look{expect: []string{"secrets=encrypted"}}, want: "E2? E3? E5? E6? E7?", why: "no key was expected"},
		{name: "a key and any cipher were expected", look: look{expect: []string{"secrets=aescbc:key2", "configmaps=encrypted"}},
			store: usual().and(values{"/registry/configmaps/ns/d": aescbc("key2")}), want: "E2? E5? E6? E7?", why: "no key was expected"},
		{name: "a provider without a key was expected", look: look{expect: []string{"secrets=aescbc"}}, want: "E2? E3? E5? E6? E7?", why: "no key was expected"},
		{name: "plaintext was expected", look: look{expect: []string{"secrets=identity"}}, store: values{"/registry/secrets/ns/a": plain("v1", "Secret", "ns", "a")}, want: "E1? E2? E3? E5? E6? E7?"},
		{name: "the scope is narrower than a resource", look: look{expect: []string{"secrets=aescbc:key2"}, prefixes: []string{"/registry/secrets/ns"}}, want: "E1? E2? E3? E6? E7?", why: "/registry/secrets/ns/"},
		{name: "the scope is one resource", look: look{expect: []string{"secrets=aescbc:key2"}, prefixes: []string{"/registry/secrets"}}, want: "E3?", why: "/registry/secrets/"},
		{name: "the scope is the whole root", look: look{expect: []string{"secrets=aescbc:key2"}, prefixes: []string{"/registry"}}},
		{name: "a second root has secrets, and was not read", look: look{expect: []string{"secrets=aescbc:key2"}, prefixes: []string{"/registry"}},
			store: usual().and(values{"/other.example/secrets/ns/p": plain("v1", "Secret", "ns", "p"), "/other.example/configmaps/ns/p": plain("v1", "ConfigMap", "ns", "p")}), want: "E3?"},
	})
}

func TestClaimsOfLaterWrites(t *testing.T) {
	t.Parallel()
	later := func(l Later) func(*Observed) { return func(o *Observed) { o.Later = &l } }
	judgedIn(t, []claimed{
		{name: "as expected", change: later(Later{Writes: 3})},
		{name: "plaintext", change: later(Later{Writes: 3, Plaintext: 1}), want: "E1- E2- E5- E6- E7-"},
		{name: "another key", change: later(Later{Writes: 3, OtherKey: 1}), want: "E2- E3- E5- E6- E7-"},
		{name: "not understood", change: later(Later{Writes: 3, Unknown: 1}), want: "E1? E2? E3? E5? E6? E7?"},
		{name: "nobody could look", change: func(o *Observed) { o.Later, o.LaterUnknown = nil, "compacted" }, want: "E7?"},
	})
}

// What was written behind the revision is counted and judged.
func TestLookOn(t *testing.T) {
	server := startWith(t, usual())
	o := look{expect: []string{"secrets=aescbc:key2"}}.live(t, server)
	lookOn(t.Context(), t, o, server)
	if *o.Later != (Later{HeadRevision: o.Report.Source.Revision}) {
		t.Errorf("nothing was written, and counted were %+v", *o.Later)
	}
	server.Put(t, "/registry/secrets/ns/a", aescbc("key2"))
	server.Put(t, "/registry/secrets/ns/new", plain("v1", "Secret", "ns", "new"))
	server.Put(t, "/registry/secrets/ns/b", aescbc("key1"))
	server.Put(t, "/registry/secrets/ns/odd", "k8s:enc:rot13:v1:key1:x")
	server.Put(t, "/registry/configmaps/ns/d", aescbc("key1")) // nothing was expected of these
	head := server.Put(t, "/elsewhere", "x")
	lookOn(t.Context(), t, o, server)
	want := Later{HeadRevision: head, Writes: 4, Plaintext: 1, OtherKey: 1, Unknown: 1}
	if *o.Later != want {
		t.Errorf("counted were %+v, and written %+v", *o.Later, want)
	}
	if _, err := server.Client.Compact(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	if l, why := LookOn(t.Context(), server.store, o.Report, nil); l != nil || why == "" {
		t.Errorf("after a compaction it is %+v, %q", l, why)
	}
}
