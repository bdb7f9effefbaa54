package evidence

import (
	"testing"
	"time"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
)

func TestClaimsOfExceptions(t *testing.T) {
	t.Parallel()
	oddly := usual().and(values{"/registry/secrets/ns/p": plain("v1", "Secret", "ns", "p")})
	approve := func(text string) func(*Observed) {
		return func(o *Observed) {
			var err error
			if o.Exceptions, err = ParseExceptions([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	const who = ", reason: because, approver: the board"
	judgedIn(t, []claimed{
		{name: "approved", store: oddly, want: "E6-", change: approve("exceptions: [{id: X, selector: {resource: secrets, name: p}, expires: 2027-01-01" + who + "}]")},
		{name: "expired", store: oddly, want: "E1- E2- E6-", why: "has expired",
			change: approve("exceptions: [{id: X, selector: {resource: secrets, name: p}, expires: 2026-11-25" + who + "}]")},
		{name: "on its last day", store: oddly, want: "E6-", change: approve("exceptions: [{id: X, selector: {resource: secrets, name: p}, expires: 2026-11-26" + who + "}]")},
		{name: "expired a second ago", store: oddly, want: "E1- E2- E6-", change: approve("exceptions: [{id: X, selector: {resource: secrets, name: p}, expires: '2026-11-26T12:00:00Z'" + who + "}]")},
		{name: "approved on that day", store: oddly, want: "E6-", change: approve("exceptions: [{id: X, selector: {resource: secrets, name: p}, approved: 2026-11-26, expires: 2027-01-01" + who + "}]")},
		{name: "approved afterwards", store: oddly, want: "E1- E2- E6-",
			change: approve("exceptions: [{id: X, selector: {resource: secrets, name: p}, approved: 2026-11-27, expires: 2027-01-01" + who + "}]")},
		{name: "of another object", store: oddly, want: "E1- E2- E6-", change: approve("exceptions: [{id: X, selector: {resource: secrets, name: q}, expires: 2027-01-01" + who + "}]")},
		{name: "of another namespace", store: oddly, want: "E1- E2- E6-", change: approve("exceptions: [{id: X, selector: {resource: secrets, namespace: other}, expires: 2027-01-01" + who + "}]")},
		{name: "of another finding", store: oddly, want: "E1- E2- E6-",
			change: approve("exceptions: [{id: X, selector: {resource: secrets, codes: [StaleKey]}, expires: 2027-01-01" + who + "}]")},
		{name: "of another resource", store: oddly, want: "E1- E2- E6-", change: approve("exceptions: [{id: X, selector: {resource: configmaps}, expires: 2027-01-01" + who + "}]")},
		{name: "one expired, one not", store: oddly, want: "E6-", change: approve("exceptions: [{id: X, selector: {resource: secrets}, expires: 2025-01-01" + who +
			"}, {id: Y, selector: {resource: secrets}, expires: 2027-01-01" + who + "}]")},
		{name: "another key is no exception from E3", store: usual().and(values{"/registry/secrets/ns/p": aescbc("key1")}), want: "E3- E6-",
			change: approve("exceptions: [{id: X, selector: {resource: secrets}, expires: 2027-01-01" + who + "}]")},
		{name: "what is not understood is no exception", store: usual().and(values{"/registry/secrets/ns/p": "k8s:enc:rot13:v1:key1:x"}), want: "E1? E2? E3? E6?",
			change: approve("exceptions: [{id: X, selector: {resource: secrets}, expires: 2027-01-01" + who + "}]")},
	})
}

func TestClaimOfOneKey(t *testing.T) {
	t.Parallel()
	answer := func(key, answer string) func(*Observed) {
		return func(o *Observed) { o.CanRemove = &KeyAnswer{key, answer, "so it is"} }
	}
	judgedIn(t, []claimed{
		{name: "it can be removed", change: answer("aescbc:key1", "yes")},
		{name: "it cannot", change: answer("aescbc:key1", "no"), want: "E3-", why: "so it is"},
		{name: "nobody knows", change: answer("aescbc:key1", "unknown"), want: "E3?", why: "so it is"},
		{name: "an answer that there is none of", change: answer("aescbc:key1", ""), want: "E3?"},
		{name: "it can be removed, they say, and is needed", change: answer("aescbc:key2", "yes"), want: "E3-", why: "3 secrets are under it"},
		{name: "it is needed where nothing was expected", change: answer("kms:vault", "yes"), want: "E3-",
			store: usual().and(values{"/registry/configmaps/ns/k": kmsV2("vault", "kek-1")}), why: "1 configmaps are under it"},
		{name: "plaintext need no longer be read, they say, and some is there", change: answer("identity", "yes"), want: "E1- E2- E3- E6-",
			store: usual().and(values{"/registry/secrets/ns/p": plain("v1", "Secret", "ns", "p")}), why: ""},
		{name: "it can be removed, they say, and something is not understood", change: answer("aescbc:key1", "yes"), want: "E1? E2? E3? E6?",
			store: usual().and(values{"/registry/secrets/ns/p": "k8s:enc:new:v1:x:y"})},
		{name: "it can be removed, they say, and not all was read", want: "E1? E2? E3? E6? E7?",
			change: func(o *Observed) { answer("aescbc:key1", "yes")(o); o.Report.Scope.Whole = false }},
		{name: "it can be removed, they say, and something was written with another one", want: "E2- E3? E5- E6- E7-",
			change: func(o *Observed) { answer("aescbc:key1", "yes")(o); o.Later.OtherKey = 1 }},
	})
}

func TestClaimOfRotation(t *testing.T) {
	t.Parallel()
	rotation := func(change func(*Rotation)) func(*Observed) { return func(o *Observed) { change(o.Rotation) } }
	versions := look{versions: []string{"selfierequests.stable.example.com=stable.example.com/v2"}}
	crs := func(versions ...string) values {
		all := values{}
		for i, v := range versions {
			name := string(rune('a' + i))
			all["/registry/stable.example.com/selfierequests/ns/"+name] = plain("stable.example.com/"+v, "SelfieRequest", "ns", name)
		}
		return all
	}
	const unkeyed = "E1? E2? E3? E5? E7?" // no encryption was expected
	judgedIn(t, []claimed{
		{name: "none", change: func(o *Observed) { o.Rotation = nil }, want: "E6?", why: "this run migrated nothing"},
		{name: "ended early", change: rotation(func(r *Rotation) { r.Stopped = "Interrupted" }), want: "E6?", why: "Interrupted"},
		{name: "incomplete", change: rotation(func(r *Rotation) { r.Verdict = verify.Incomplete }), want: "E6-"},
		{name: "not known to be complete", change: rotation(func(r *Rotation) { r.Verdict = verify.Indeterminate }), want: "E6?"},
		{name: "not judged", change: rotation(func(r *Rotation) { r.Verdict = verify.NotJudged }), want: "E6?"},
		{name: "nothing was stale", change: rotation(func(r *Rotation) { r.StaleBefore = 0 }), want: "E6?", why: "nothing to migrate"},
		{name: "not whole before", change: rotation(func(r *Rotation) { r.FromWhole = false }), want: "E6?"},
		{name: "of versions", look: versions, store: crs("v2", "v2"), want: unkeyed},
		{name: "of versions, one left", look: versions, store: crs("v2", "v1"), want: "E1? E2? E3? E5? E6- E7?"},
		{name: "of versions, they lie elsewhere", look: versions, store: crs("v2"), change: overrides("selfierequests.stable.example.com"), want: "E1? E2? E3? E5? E6? E7?"},
		{name: "of versions, something else lies elsewhere", look: versions, store: crs("v2"), change: overrides("events"), want: unkeyed},
		{name: "of versions, not compared", look: versions, store: crs("v2"), change: func(o *Observed) { o.Reconciliation = nil }, want: "E1? E2? E3? E5? E6? E7?"},
		{name: "of versions, one cannot be opened", look: versions, store: crs("v2").and(values{"/registry/stable.example.com/selfierequests/ns/c": aescbc("key1")}), want: "E1? E2? E3? E5? E6? E7?"},
		{name: "of keys and versions, the latter lie elsewhere", look: look{expect: []string{"secrets=aescbc:key2"}, versions: versions.versions},
			store: usual().and(crs("v2")), change: overrides("selfierequests.stable.example.com"), want: "E3? E6?"},
		{name: "of keys and versions", look: look{expect: []string{"secrets=aescbc:key2"}, versions: versions.versions}, store: usual().and(crs("v2"))},
	})
}

func TestClaimOfHistory(t *testing.T) {
	t.Parallel()
	byKMS := func(o *Observed) {
		o.APIServers.Servers[0].Writes = []Operations{wrote("secrets", "k8s:enc:kms:v2:vault:", 7)}
		o.APIServers.Servers[0].KMSKeyIDs["vault"] = hashOf("kek-2")
	}
	kms := values{"/registry/secrets/ns/a": kmsV2("vault", "kek-2")}
	judgedIn(t, []claimed{
		{name: "nobody looked", change: func(o *Observed) { o.Report.History = nil }, want: "E7?", why: "--history"},
		{name: "under the same key", past: [][2]string{{"/registry/secrets/ns/a", aescbc("key2")}, {"/registry/secrets/ns/gone", aescbc("key2")}}},
		{name: "plaintext", past: [][2]string{{"/registry/secrets/ns/a", plain("v1", "Secret", "ns", "a")}}, want: "E7-", why: "1 older revisions of secrets are in plaintext"},
		{name: "plaintext of what is gone", past: [][2]string{{"/registry/secrets/ns/gone", plain("v1", "Secret", "ns", "gone")}}, want: "E7-"},
		{name: "another key", past: [][2]string{{"/registry/secrets/ns/a", aescbc("key1")}}, want: "E7-", why: "another key"},
		{name: "plaintext where nothing was expected", past: [][2]string{{"/registry/configmaps/ns/d", plain("v1", "ConfigMap", "ns", "d")}}},
		{name: "not understood", past: [][2]string{{"/registry/secrets/ns/a", "k8s:enc:rot13:v1:key1:x"}}, want: "E7?", why: "not understood"},
		{name: "garbage", past: [][2]string{{"/registry/secrets/ns/a", "\x00\x01"}}, want: "E7-"},
		{name: "another key ID", look: look{expect: []string{"secrets=kms:vault:kek-2"}}, store: kms, change: byKMS, past: [][2]string{{"/registry/secrets/ns/a", kmsV2("vault", "kek-1")}}, want: "E7-"},
		{name: "another key ID where none was named", look: look{expect: []string{"secrets=kms:vault"}}, store: kms, change: byKMS,
			past: [][2]string{{"/registry/secrets/ns/a", kmsV2("vault", "kek-1")}}, want: "E5? E7?"},
		{name: "KMS v1", look: look{expect: []string{"secrets=kms:vault"}}, store: kms, change: byKMS, past: [][2]string{{"/registry/secrets/ns/a", kmsV1("vault")}}, want: "E5? E7?"},
		{name: "a member is silent", change: func(o *Observed) {
			o.Cluster.EtcdMembers = append(o.Cluster.EtcdMembers, Member{ID: "2", ClientURLs: []string{}})
		}, want: "E7?"},
		{name: "no member is known", change: func(o *Observed) { o.Cluster.EtcdMembers = nil }, want: "E7?"},
		{name: "secrets were not read", look: look{expect: []string{"secrets=aescbc:key2"}, prefixes: []string{"/registry/configmaps"}}, want: "E1? E2? E3? E6? E7?"},
	})
}

func TestClaimsOfSnapshot(t *testing.T) {
	t.Parallel()
	server := startWith(t, usual())
	path := save(t, server)
	for _, c := range []claimed{
		{name: "good", look: look{history: true}, want: "E4? E5? E6?"},
		{name: "nobody looked at history", want: "E4? E5? E6? E7?"},
		{name: "wrong digest", look: look{history: true}, change: func(o *Observed) { o.Report.Source.Integrity = "mismatch" }, want: "E1? E2? E3? E4? E5? E6? E7?"},
		{name: "no digest", look: look{history: true}, change: func(o *Observed) { o.Report.Source.Integrity = "absent" }, want: "E1? E2? E3? E4? E5? E6? E7?"},
		{name: "not known", look: look{history: true}, change: func(o *Observed) { o.Report.Source.Integrity = "" }, want: "E1? E2? E3? E4? E5? E6? E7?"},
		{name: "a part of it", look: look{history: true, prefixes: []string{"/registry/secrets/ns"}}, want: "E1? E2? E3? E4? E5? E6? E7?"},
		{name: "secrets are in another etcd", look: look{history: true}, change: overrides("secrets"), want: "E1? E2? E3? E4? E5? E6? E7?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.look.expect = []string{"secrets=aescbc:key2"}
			o := c.look.file(t, path)
			if c.change != nil {
				c.change(o)
			}
			dir, doc := write(t, o, Options{})
			if got := results(doc.Scan.Claims); got != c.want {
				t.Errorf("the claims are %q, and should be %q", got, c.want)
			}
			sound(t, dir)
		})
	}
}

// Where a second apiserver has no EncryptionConfiguration, what it stores is neither encrypted nor meant.
func TestRootOfAnotherAPIServer(t *testing.T) {
	configured, err := verify.ParseExpectations([]string{"secrets=aescbc:key2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	configured[0].Configured.Roots = []string{"/registry"}
	server := startWith(t, usual().and(values{"/other.example/secrets/ns/p": plain("v1", "Secret", "ns", "p"), "/other.example/configmaps/ns/p": plain("v1", "ConfigMap", "ns", "p")}))
	recorder := new(Recorder)
	report, err := audit.Run(t.Context(), audit.Request{Store: server.store, Expectations: configured, Also: recorder, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	defer report.Close()
	defer recorder.Close()
	o := look{}.live(t, server)
	o.Report, o.Records = report, recorder
	_, doc := write(t, o, Options{})
	for _, p := range doc.Scan.Population {
		if p.Provider == string(atrest.Identity) && (p.State != StateNotJudged || p.Expected) {
			t.Errorf("plaintext is taken for %+v", p)
		}
	}
	for _, n := range doc.Scan.Scope.NotJudged {
		if n.Resource == "secrets" && n.Plaintext == 1 {
			return
		}
	}
	t.Errorf("what was not judged does not name the secret: %+v", doc.Scan.Scope.NotJudged)
}
