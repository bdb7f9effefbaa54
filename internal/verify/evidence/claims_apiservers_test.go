package evidence

import (
	"testing"
	"time"
)

func TestClaimOfSameConfiguration(t *testing.T) {
	t.Parallel()
	two := func(change func(*APIServers)) func(*Observed) {
		return func(o *Observed) {
			writes := o.APIServers.Servers[0].Writes
			o.APIServers = asked(apiserver("a", writes...), apiserver("b", writes...))
			change(&o.APIServers)
		}
	}
	no := false
	judgedIn(t, []claimed{
		{name: "two", change: two(func(*APIServers) {})},
		{name: "two, with the file at hand", change: two(func(a *APIServers) { a.Expected = "sha256:config" })},
		{name: "not asked", change: func(o *Observed) { o.APIServers = unasked("no kubeconfig") }, want: "E4? E5?", why: "no kubeconfig"},
		{name: "one is missing", change: two(func(a *APIServers) {
			a.Known, a.Missing, a.Agree = 3, []string{"c"}, nil
		}), want: "E4? E5?", why: "c did not answer"},
		{name: "one is missing, and nobody says which", change: two(func(a *APIServers) { a.Known = 3 }), want: "E4? E5?"},
		{name: "one does not answer", change: two(func(a *APIServers) {
			a.Answered, a.Agree, a.Servers[1] = 1, nil, APIServer{Address: "b", Problem: "no", KMSKeyIDs: map[string]string{}, Flags: map[string]string{}, Overrides: []string{}, Writes: []Operations{}, Reads: []Operations{}}
		}), want: "E4? E5?"},
		{name: "they were not counted", change: two(func(a *APIServers) { a.Counted = false }), want: "E4? E5?", why: "leases"},
		{name: "one has no metrics", change: two(func(a *APIServers) {
			a.Servers[1].MetricsRead, a.Servers[1].MetricsProblem, a.Servers[1].EncryptionConfig, a.Servers[1].Writes, a.Agree = false, "403", "", []Operations{}, nil
		}), want: "E4? E5?"},
		{name: "one has no metrics, and they are said to agree", change: two(func(a *APIServers) {
			a.Servers[1].MetricsRead, a.Servers[1].MetricsProblem, a.Servers[1].EncryptionConfig = false, "403", ""
		}), want: "E4? E5?", why: "403"},
		{name: "they disagree", change: two(func(a *APIServers) { a.Agree, a.Disagreements = &no, []string{"a and b differ"} }), want: "E4- E5?", why: "a and b differ"},
		{name: "they disagree, and nobody says in what", change: two(func(a *APIServers) { a.Agree = &no }), want: "E4- E5?"},
		{name: "they are said to agree, and have loaded two files", change: two(func(a *APIServers) { a.Servers[1].EncryptionConfig = "sha256:other" }), want: "E4- E5?"},
		{name: "they are said to agree, and one has loaded none", change: two(func(a *APIServers) { a.Servers[1].EncryptionConfig = "" }), want: "E4- E5?"},
		{name: "they are said to agree, and the first has loaded none", change: two(func(a *APIServers) { a.Servers[0].EncryptionConfig = "" }), want: "E4- E5?"},
		{name: "they have all loaded another one than that at hand", change: two(func(a *APIServers) { a.Expected = "sha256:other" }), want: "E4- E5?"},
		{name: "nobody knows whether they agree", change: two(func(a *APIServers) { a.Agree = nil }), want: "E4? E5?"},
		{name: "something of them could not be checked", change: two(func(a *APIServers) { a.Unchecked = []string{"the KMS plugin"} }), want: "E4? E5?", why: "the KMS plugin"},
		{name: "none has loaded one", change: two(func(a *APIServers) { a.Servers[0].EncryptionConfig, a.Servers[1].EncryptionConfig = "", "" }), want: "E4- E5?", why: "no apiserver has loaded one"},
		{name: "there are none", change: two(func(a *APIServers) { *a = asked() }), want: "E4- E5?"},
	})
}

func TestClaimOfWrites(t *testing.T) {
	t.Parallel()
	writes := func(ops ...Operations) func(*Observed) {
		return func(o *Observed) { o.APIServers.Servers[0].Writes = append([]Operations{}, ops...) }
	}
	const provider, key1 = "k8s:enc:aescbc:v1:", "key1:"
	before := func(o *Observed) {
		s := o.APIServers.Servers[0]
		s.Writes = []Operations{wrote("secrets", key1, 5), wrote("secrets", "key2:", 2)}
		o.APIServers.Servers[0].Writes = []Operations{wrote("secrets", key1, 5), wrote("secrets", "key2:", 4)}
		o.APIServers.Earlier, o.APIServers.EarlierAt = []APIServer{s}, noon.Add(-time.Minute)
	}
	kms := look{expect: []string{"secrets=kms:vault:kek-2"}}
	// changed: the plugin came to its key half an hour after the apiserver was started; before tells how much was written when a migration began.
	changed := func(o *Observed, before int64) {
		s := &o.APIServers.Servers[0]
		s.Writes, s.LoadedAt, s.KMSKeyIDs = []Operations{wrote("secrets", "k8s:enc:kms:v2:vault:", 7)}, noon.Add(-30*time.Minute), map[string]string{"vault": hashOf("kek-2")}
		if before > 0 {
			earlier := *s
			earlier.Writes = []Operations{wrote("secrets", "k8s:enc:kms:v2:vault:", before)}
			o.APIServers.Earlier, o.APIServers.EarlierAt = []APIServer{earlier}, noon.Add(-time.Minute)
		}
	}
	judgedIn(t, []claimed{
		{name: "of others", change: writes(wrote("secrets", "key2:", 7), wrote("configmaps", "", 7))},
		{name: "of another key", change: writes(wrote("secrets", "key2:", 7), wrote("secrets", key1, 1)), want: "E5-", why: "1 secrets otherwise"},
		{name: "of plaintext", change: writes(wrote("secrets", "key2:", 7), wrote("secrets", "", 1)), want: "E5-"},
		{name: "of another provider with a key of that name", change: writes(wrote("secrets", "k8s:enc:aesgcm:v1:", 7), wrote("secrets", "key2:", 7)), want: "E5-"},
		{name: "of another key, and reloaded since", change: func(o *Observed) {
			writes(wrote("secrets", "key2:", 7), wrote("secrets", key1, 1))(o)
			o.APIServers.Servers[0].LoadedAt = noon.Add(-time.Minute)
		}, want: "E5?"},
		// What a configuration does not cover is not counted: silence shows nothing.
		{name: "and reloaded since, without a word of any other key", change: func(o *Observed) {
			o.APIServers.Servers[0].LoadedAt = noon.Add(-time.Minute)
		}, want: "E5?", why: "what it wrote before"},
		{name: "and one was there before, and is gone", change: func(o *Observed) {
			before(o)
			gone := apiserver("gone", wrote("secrets", "key2:", 1))
			o.APIServers.Earlier = append(o.APIServers.Earlier, gone)
		}, want: "E5?", why: "is gone"},
		{name: "by an apiserver that has loaded nothing", change: func(o *Observed) {
			o.APIServers.Servers = append(o.APIServers.Servers, apiserver("b"))
			o.APIServers.Servers[1].Writes = []Operations{}
			o.APIServers.Servers[1].EncryptionConfig, o.APIServers.Known, o.APIServers.Answered = "", 2, 2
		}, want: "E4- E5?"},
		{name: "under one of two keys of a name", change: func(o *Observed) { twinned(o, 0) }, want: "E1? E2? E3? E5? E6? E7?"},
		{name: "none", change: writes(), want: "E5?"},
		{name: "none of secrets", change: writes(wrote("configmaps", "key2:", 7)), want: "E5?"},
		{name: "none that succeeded", change: writes(Operations{Resource: "secrets", Prefix: "key2:", Status: "Internal", Count: 7}), want: "E5?"},
		{name: "not by key", change: writes(wrote("secrets", provider, 7)), want: "E5?"},
		{name: "not by resource", change: writes(wrote("", provider, 7), wrote("", "key2:", 7)), want: "E5?", why: "too old"},
		{name: "of a wildcard", look: look{expect: []string{"*.=aescbc:key2"}}, store: values{"/registry/secrets/ns/a": aescbc("key2")}, want: "E5?", why: "wildcard"},
		{name: "of one of two", look: look{expect: []string{"secrets=aescbc:key2", "configmaps=aescbc:key2"}},
			store: values{"/registry/secrets/ns/a": aescbc("key2"), "/registry/configmaps/ns/a": aescbc("key2")}, want: "E5?", why: "configmaps"},
		{name: "the plugin offers another key", look: look{expect: []string{"secrets=kms:vault:kek-2"}}, store: values{"/registry/secrets/ns/a": kmsV2("vault", "kek-2")},
			change: func(o *Observed) {
				writes(wrote("secrets", "k8s:enc:kms:v2:vault:", 7))(o)
				o.APIServers.Servers[0].KMSKeyIDs["vault"] = hashOf("kek-1")
			}, want: "E5?"},
		{name: "the plugin changed its key since the apiserver was started", look: kms, store: values{"/registry/secrets/ns/a": kmsV2("vault", "kek-2")}, change: func(o *Observed) { changed(o, 0) }, want: "E5?", why: "changed its KMS key, after it was started"},
		{name: "the plugin changed its key before the migration", look: kms, store: values{"/registry/secrets/ns/a": kmsV2("vault", "kek-2")}, change: func(o *Observed) { changed(o, 3) }},
		{name: "the plugin changed its key before the migration, which wrote nothing", look: kms, store: values{"/registry/secrets/ns/a": kmsV2("vault", "kek-2")}, change: func(o *Observed) { changed(o, 7) }, want: "E5?"},
		{name: "the plugin changed its key during the migration", look: kms, store: values{"/registry/secrets/ns/a": kmsV2("vault", "kek-2")}, change: func(o *Observed) {
			changed(o, 3)
			o.APIServers.Servers[0].LoadedAt = noon.Add(-time.Second)
		}, want: "E5?"},
		{name: "under KMS v1", look: look{expect: []string{"secrets=kms:vault"}}, store: values{"/registry/secrets/ns/a": kmsV2("vault", "kek-2")},
			change: writes(wrote("secrets", "k8s:enc:kms:v2:vault:", 7), wrote("secrets", "k8s:enc:kms:v1:vault:", 7)), want: "E5?"},
		{name: "of another key before the migration alone", change: before},
		{name: "of another key since the migration began", change: func(o *Observed) {
			before(o)
			o.APIServers.Servers[0].Writes[0].Count++
		}, want: "E5-"},
		{name: "of another key before, by another process", change: func(o *Observed) {
			before(o)
			o.APIServers.Earlier[0].StartedAt = noon.Add(-2 * time.Hour)
		}, want: "E5?"},
		{name: "of one apiserver since the migration began, of another that was started later", change: func(o *Observed) {
			before(o)
			o.APIServers.Servers = append(o.APIServers.Servers, apiserver("b", wrote("secrets", "key2:", 1)))
			o.APIServers.Servers[1].StartedAt = noon.Add(-time.Second)
			o.APIServers.Known, o.APIServers.Answered = 2, 2
		}, want: "E5?", why: "started"},
		{name: "nothing is known of the expectations", look: look{expect: everything}, store: values{"/registry/secrets/ns/a": aescbc("key2")}, want: "E2? E3? E5? E6? E7?"},
	})
}

func TestClaimOfResiduals(t *testing.T) {
	t.Parallel()
	looked := func(r Residuals) func(*Observed) {
		return func(o *Observed) { o.Residue, o.Residuals = residueOf(r), &r }
	}
	db := []string{"snap/db"}
	judgedIn(t, []claimed{
		{name: "nobody looked"},
		{name: "nothing is left", change: looked(Residuals{Files: db}), want: "E8+"},
		{name: "something is left", change: looked(Residuals{Files: db, Left: []string{"3 values"}}), want: "E8-", why: "3 values"},
		{name: "not all could be looked through", change: looked(Residuals{Files: db, Untold: []string{"cut off"}}), why: "cut off"},
		{name: "there were no files", change: looked(Residuals{})},
		{name: "no key was expected", look: look{expect: everything}, store: values{"/registry/secrets/ns/a": aescbc("key2")}, change: looked(Residuals{Files: db}), want: "E2? E3? E5? E6? E7?"},
		{name: "plaintext was expected", look: look{expect: []string{"secrets=identity"}}, store: values{"/registry/secrets/ns/a": plain("v1", "Secret", "ns", "a")},
			change: looked(Residuals{Files: db}), want: "E1? E2? E3? E5? E6? E7?"},
		{name: "what is live is old", store: usual().and(values{"/registry/secrets/ns/p": aescbc("key1")}), change: looked(Residuals{Files: db}), want: "E2- E3- E6-"},
	})
}

// residueOf is a ResidueReport that says as much.
func residueOf(r Residuals) map[string]any {
	files, steps := []any{}, []any{}
	for _, path := range r.Files {
		files = append(files, map[string]any{"path": path, "kind": "database", "bytes": 1, "sha256": "", "integrity": "absent", "revision": 1, "compacted": 0, "freeBytes": 0, "problem": ""})
	}
	for range r.Left {
		steps = append(steps, map[string]any{"path": "snap/db", "place": "free pages", "values": 3, "do": "etcdctl defrag", "why": "they are free"})
	}
	return map[string]any{"apiVersion": APIVersion, "kind": "ResidueReport", "tool": map[string]any{"version": "test"}, "startedAt": noon, "finishedAt": noon, "encryptionConfig": nil,
		"files": files, "counts": []any{}, "steps": steps, "warnings": append([]string{}, r.Untold...)}
}

// twinned makes as if there were two keys of one name, and the secrets were under the first or the second of them.
func twinned(o *Observed, twin int) {
	for _, e := range o.Records.entries {
		if e.Resource == "secrets" {
			e.Twins, e.Twin = 2, twin
		}
	}
}
