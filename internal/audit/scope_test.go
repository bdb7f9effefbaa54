package audit_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/verify"
)

func TestNothingUnderThePrefix(t *testing.T) {
	store := open(t, startWith(t, map[string]string{"/registry/configmaps/ns/a": aescbc("key1"), "/registry/secretsfoo/ns/a": aescbc("key1")}))
	req := request(t, store)
	req.Prefixes = []string{"/registry/secrets"}
	if report, err := audit.Run(t.Context(), req); !errors.Is(err, audit.ErrNothingFound) {
		t.Errorf("%+v, %v", report, err)
	}
	t.Run("something is expected there", func(t *testing.T) {
		req := request(t, store, "secrets=aescbc:key1")
		req.Prefixes = []string{"/registry/secrets"}
		report := run(t, req)
		if report.Verdict != verify.Indeterminate || report.Totals.Keys != 0 {
			t.Errorf("%v of %d keys", report.Verdict, report.Totals.Keys)
		}
		expectFindings(t, report, "NothingFound ")
	})
}

func TestNoStorageRoot(t *testing.T) {
	for name, values := range map[string]map[string]string{
		"an empty etcd":                  {},
		"an etcd of something else":      {"/app/config/a": "x", "foo": "bar"},
		"a directory that looks like it": {"/app/secrets/ns/a": "x"},
	} {
		t.Run(name, func(t *testing.T) {
			if report, err := audit.Run(t.Context(), request(t, open(t, startWith(t, values)), "secrets=aescbc:key1")); !errors.Is(err, audit.ErrNoRoot) {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
}

func TestSeveralRootsAtOnce(t *testing.T) {
	server := startWith(t, map[string]string{
		"/registry/secrets/ns/a":                  aescbc("key1"),
		"/kubernetes.io/secrets/ns/a":             aescbc("key2"),
		"/kubernetes.io/deployments/ns/a":         aescbc("key2"),
		"/openshift.io/routes/ns/a":               plain("route.openshift.io/v1", "Route", "ns", "a"),
		"/own/root/pods/ns/a":                     plain("v1", "Pod", "ns", "a"),
		"/app/config":                             "no Kubernetes object",
		"/registry/stable.example.com/foos/ns/a":  plain("stable.example.com/v1", "Foo", "ns", "a"),
		"/kubernetes.io/masterleases/192.168.0.1": "x",
	})
	store := open(t, server)
	report := run(t, request(t, store))
	type place struct{ root, group, resource string }
	got := make(map[place]int64)
	var keys int64
	for _, g := range report.Groups {
		got[place{g.Root, g.Group, g.Resource}] += g.Objects
		keys += g.Objects
	}
	for _, want := range []place{
		{"/registry", "", "secrets"}, {"/kubernetes.io", "", "secrets"}, {"/kubernetes.io", "apps", "deployments"},
		{"/openshift.io", "route.openshift.io", "routes"}, {"/own/root", "", "pods"}, {"/registry", "stable.example.com", "foos"}, {"/kubernetes.io", "", ""},
	} {
		if got[want] != 1 {
			t.Errorf("%d objects in %+v", got[want], want)
		}
	}
	if keys != 7 || report.Totals.Keys != 7 {
		t.Errorf("%d keys in the groups, %d in total, want 7", keys, report.Totals.Keys)
	}
	if want := []string{"/kubernetes.io/", "/openshift.io/", "/own/root/", "/registry/"}; !slices.Equal(report.Scope.Prefixes, want) {
		t.Errorf("scope %q, want %q", report.Scope.Prefixes, want)
	}
	t.Run("the resource is stale in one of them", func(t *testing.T) {
		report := run(t, request(t, store, "secrets=aescbc:key2"))
		if report.Verdict != verify.Incomplete {
			t.Error(report.Verdict)
		}
		expectFindings(t, report, "StaleKey /registry/secrets/ns/a")
	})
}

func TestPrefixes(t *testing.T) {
	server := startWith(t, map[string]string{
		"/registry/secrets/ns/a":    aescbc("key1"),
		"/registry/secrets/ns/ab":   aescbc("key1"),
		"/registry/secrets/nsx/a":   aescbc("key1"),
		"/registry/secretsfoo/ns/a": aescbc("key1"),
		"/registry/secret":          aescbc("key1"),
		"/registry/configmaps/ns/a": aescbc("key1"),
		"/registryx/secrets/ns/a":   aescbc("key1"),
	})
	store := open(t, server)
	for _, c := range []struct {
		prefixes []string
		keys     int64
		scope    []string
	}{
		{[]string{"/registry/secrets"}, 3, []string{"/registry/secrets/"}},
		{[]string{"/registry/secrets/"}, 3, []string{"/registry/secrets/"}},
		{[]string{"/registry/secrets", "/registry/secrets/"}, 3, []string{"/registry/secrets/"}},
		{[]string{"/registry/secrets/ns"}, 2, []string{"/registry/secrets/ns/"}},
		{[]string{"/registry/secrets/ns/a"}, 1, []string{"/registry/secrets/ns/a/"}},
		{[]string{"/registry/secrets/ns/a", "/registry/secrets/ns/ab"}, 2, []string{"/registry/secrets/ns/a/", "/registry/secrets/ns/ab/"}},
		{[]string{"/registry/secrets/ns/a", "/registry/secrets"}, 3, []string{"/registry/secrets/"}},
		{[]string{"/registry/secrets", "/registry/configmaps"}, 4, []string{"/registry/configmaps/", "/registry/secrets/"}},
		{[]string{"/registry", "/registry/secrets"}, 6, []string{"/registry/"}},
		{[]string{"/"}, 7, []string{"/"}},
	} {
		req := request(t, store)
		req.Prefixes = c.prefixes
		report := run(t, req)
		if report.Totals.Keys != c.keys || !slices.Equal(report.Scope.Prefixes, c.scope) || report.Scope.Found {
			t.Errorf("%q: %d keys of %q, want %d of %q", c.prefixes, report.Totals.Keys, report.Scope.Prefixes, c.keys, c.scope)
		}
		if outside := 7 - c.keys; report.Scope.Outside == nil || *report.Scope.Outside != outside {
			t.Errorf("%q: %v keys outside, want %d", c.prefixes, report.Scope.Outside, outside)
		}
	}
}

func TestRevisions(t *testing.T) {
	server := startWith(t, map[string]string{"/registry/configmaps/ns/a": aescbc("key2")})
	old := server.Put(t, "/registry/secrets/ns/a", aescbc("key1"))
	server.Put(t, "/registry/secrets/ns/b", aescbc("key1"))
	compactAt := server.Put(t, "/registry/secrets/ns/a", aescbc("key2"))
	if _, err := server.Client.Delete(t.Context(), "/registry/secrets/ns/b"); err != nil {
		t.Fatal(err)
	}
	store := open(t, server)
	audited := func(revision int64) (*audit.Report, error) {
		req := request(t, store, "secrets=aescbc:key2")
		req.Revision = revision
		return audit.Run(t.Context(), req)
	}
	for revision, want := range map[int64]struct {
		keys    int64
		verdict verify.Verdict
	}{
		0:             {2, verify.Complete},
		old:           {2, verify.Incomplete},
		old + 1:       {3, verify.Incomplete},
		compactAt:     {3, verify.Incomplete},
		compactAt + 1: {2, verify.Complete},
		old - 1:       {1, verify.Indeterminate}, // there was no secret yet
	} {
		report, err := audited(revision)
		if err != nil {
			t.Fatal(err)
		}
		defer report.Close()
		if report.Totals.Keys != want.keys || report.Verdict != want.verdict || revision > 0 && report.Source.Revision != revision {
			t.Errorf("revision %d: %v of %d keys at revision %d, want %+v", revision, report.Verdict, report.Totals.Keys, report.Source.Revision, want)
		}
	}
	if _, err := audited(compactAt + 2); !errors.Is(err, etcdscan.ErrFutureRevision) {
		t.Errorf("a revision to come: %v", err)
	}
	if _, err := server.Client.Compact(t.Context(), compactAt, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if _, err := audited(old); !errors.Is(err, etcdscan.ErrCompacted) {
		t.Errorf("a compacted revision: %v", err)
	}
}

// The API is asked about nothing but resources that were expected and not found.
func TestConfirmEmptyIsAskedOfWhatIsEmpty(t *testing.T) {
	store := open(t, startWith(t, map[string]string{"/registry/secrets/ns/a": aescbc("key2")}))
	for _, c := range []struct {
		answer  bool
		verdict verify.Verdict
	}{{true, verify.Complete}, {false, verify.Indeterminate}} {
		var asked []string
		req := request(t, store, "secrets=aescbc:key2", "configmaps=aescbc:key2", "foos.stable.example.com=identity", "*=encrypted")
		req.ConfirmEmpty = func(_ context.Context, r verify.Resource) bool {
			asked = append(asked, r.String())
			return c.answer
		}
		report := run(t, req)
		slices.Sort(asked)
		if want := []string{"configmaps", "foos.stable.example.com"}; !slices.Equal(asked, want) {
			t.Errorf("asked about %q, want %q", asked, want)
		}
		if report.Verdict != c.verdict {
			t.Errorf("answered %v: %v, want %v", c.answer, report.Verdict, c.verdict)
		}
	}
}

// The API speaks of now. What an older revision held is not for it to say.
func TestConfirmEmptyIsNotAskedOfThePast(t *testing.T) {
	server := startWith(t, map[string]string{"/registry/configmaps/ns/a": aescbc("key2")})
	past := server.Revision(t)
	req := request(t, open(t, server), "secrets=aescbc:key1")
	req.Revision = past
	req.ConfirmEmpty = func(context.Context, verify.Resource) bool { return true }
	if report := run(t, req); report.Verdict != verify.Indeterminate {
		t.Errorf("the verdict on revision %d is %v", past, report.Verdict)
	}
}
