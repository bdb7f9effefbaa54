package etcdscan_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
)

// keep collects the records of a scan.
type keep struct {
	records []etcdscan.Record
	begun   int
}

func (k *keep) Begin() { k.records = nil; k.begun++ }
func (k *keep) Take(r *etcdscan.Record, _ *etcdscan.Entry) error {
	k.records = append(k.records, *r)
	return nil
}

func openStore(t *testing.T, server *etcdtest.Server) *live.Store {
	t.Helper()
	s, err := live.Open(t.Context(), live.Config{Endpoints: []string{server.Endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func secretJSON(namespace, name string) string {
	return fmt.Sprintf(`{"kind":"Secret","apiVersion":"v1","metadata":{"name":%q,"namespace":%q},"data":{}}`, name, namespace)
}

func TestScanNamesWhatItFinds(t *testing.T) {
	server := etcdtest.Start(t)
	aescbc := "k8s:enc:aescbc:v1:key1:" + strings.Repeat("x", 48)
	for k, v := range map[string]string{
		"/registry/secrets/ns/plain":       secretJSON("ns", "plain"),
		"/registry/secrets/ns/sealed":      aescbc,
		"/registry/secrets/ns/swapped":     secretJSON("ns", "other"),
		"/registry/secrets/ns/empty":       "",
		"/registry/secrets/ns/garbage":     "\x00\x01\x02",
		"/registry/secrets/ns/odd":         "k8s:enc:rot13:v1:key1:x",
		"/registry/secrets/ns/cut":         aescbc[:len(aescbc)-1],
		"/registry/masterleases/127.0.0.1": "not looked at",
		"/registry/secretsfoo/ns/sibling":  "x",
	} {
		server.Put(t, k, v)
	}
	sink := new(keep)
	scope := etcdscan.NewScope([]string{"/registry/secrets", "/registry/masterleases/"}, []string{"/registry"})
	res, err := etcdscan.Scan(t.Context(), etcdscan.Reading{Source: openStore(t, server), Scope: scope}, sink)
	if err != nil || res.Shortfall != nil {
		t.Fatal(err, res.Shortfall)
	}
	type seen struct {
		Provider string
		Fault    etcdscan.Fault
		Opened   etcdscan.Opened
	}
	got := make(map[string]seen)
	for _, r := range sink.records {
		got[r.Key] = seen{string(r.AtRest.Provider), r.Fault, r.Opened}
	}
	want := map[string]seen{
		"/registry/secrets/ns/plain":       {"identity", etcdscan.NoFault, etcdscan.Verified},
		"/registry/secrets/ns/sealed":      {"aescbc", etcdscan.NoFault, etcdscan.NotTried},
		"/registry/secrets/ns/swapped":     {"identity", etcdscan.WrongPlace, etcdscan.Failed},
		"/registry/secrets/ns/empty":       {"identity", etcdscan.Empty, etcdscan.NotTried},
		"/registry/secrets/ns/garbage":     {"identity", etcdscan.Undecodable, etcdscan.Failed},
		"/registry/secrets/ns/odd":         {"unknown", etcdscan.UnknownTransformer, etcdscan.NotTried},
		"/registry/secrets/ns/cut":         {"aescbc", etcdscan.Undecodable, etcdscan.Failed},
		"/registry/masterleases/127.0.0.1": {"identity", etcdscan.NoFault, etcdscan.NotTried},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	var sum int64
	for _, e := range res.Tally.Entries() {
		sum += e.Objects
	}
	if sum != res.Counted || sum != int64(len(want)) {
		t.Errorf("the entries add up to %d, etcd counts %d, want %d", sum, res.Counted, len(want))
	}
}

// faulty answers as a store would that loses, repeats or misplaces keys. No server does that on demand.
type faulty struct {
	etcdscan.Source
	alter func([]etcdscan.KeyValue) ([]etcdscan.KeyValue, error)
}

func (f faulty) Read(ctx context.Context, r etcdscan.Range, revision int64) iter.Seq2[[]etcdscan.KeyValue, error] {
	return func(yield func([]etcdscan.KeyValue, error) bool) {
		for batch, err := range f.Source.Read(ctx, r, revision) {
			if err == nil {
				batch, err = f.alter(batch)
			}
			if !yield(batch, err) || err != nil {
				return
			}
		}
	}
}

func TestScanNeverTakesABadReadForAWholeOne(t *testing.T) {
	server := etcdtest.Start(t)
	for i := range 50 {
		server.Put(t, fmt.Sprintf("/registry/secrets/ns/%02d", i), secretJSON("ns", fmt.Sprintf("%02d", i)))
	}
	store := openStore(t, server)
	scope := etcdscan.NewScope([]string{"/registry"}, nil)
	lost := errors.New("lost the member")
	for name, alter := range map[string]func([]etcdscan.KeyValue) ([]etcdscan.KeyValue, error){
		"a key is missing":  func(b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) { return b[1:], nil },
		"a key comes twice": func(b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) { return append(b[:1:1], b[:len(b)-1]...), nil },
		"a key of a sibling": func(b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) {
			b[len(b)-1].Key = "/registrz/x"
			return b, nil
		},
		"a later revision":     func(b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) { b[0].ModRevision += 1000; return b, nil },
		"nothing at all":       func(b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) { return nil, nil },
		"the member goes away": func(b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) { return nil, lost },
	} {
		t.Run(name, func(t *testing.T) {
			res, err := etcdscan.Scan(t.Context(), etcdscan.Reading{Source: faulty{store, alter}, Scope: scope}, new(keep))
			if err != nil {
				t.Fatalf("an error where a shortfall with what was seen is wanted: %v", err)
			}
			if res.Shortfall == nil {
				t.Errorf("the scan calls itself whole: %d of %d keys", res.Tally.Objects(), res.Counted)
			}
		})
	}
}

func TestScanStartsOverAfterACompaction(t *testing.T) {
	server := etcdtest.Start(t)
	for i := range 20 {
		server.Put(t, fmt.Sprintf("/registry/secrets/ns/%02d", i), secretJSON("ns", fmt.Sprintf("%02d", i)))
	}
	store := openStore(t, server)
	scope := etcdscan.NewScope([]string{"/registry/"}, nil)
	compactions := 0
	src := faulty{store, func(b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) {
		if compactions++; compactions <= 2 {
			return b[:5], etcdscan.ErrCompacted
		}
		return b, nil
	}}
	sink := new(keep)
	res, err := etcdscan.Scan(t.Context(), etcdscan.Reading{Source: src, Scope: scope}, sink)
	if err != nil || res.Shortfall != nil || len(sink.records) != 20 || sink.begun != 3 {
		t.Errorf("%v, %v, %d records after %d beginnings", err, res.Shortfall, len(sink.records), sink.begun)
	}
	compactions = -100
	src.alter = func([]etcdscan.KeyValue) ([]etcdscan.KeyValue, error) { return nil, etcdscan.ErrCompacted }
	res, err = etcdscan.Scan(t.Context(), etcdscan.Reading{Source: src, Scope: scope}, sink)
	if err != nil || !errors.Is(res.Shortfall, etcdscan.ErrCompacted) {
		t.Errorf("always compacted: %v, %v", err, res.Shortfall)
	}
	pinned := res.Pin.Revision
	res, err = etcdscan.Scan(t.Context(), etcdscan.Reading{Source: src, Scope: scope, Revision: pinned}, sink)
	if err != nil || !errors.Is(res.Shortfall, etcdscan.ErrCompacted) || res.Pin.Revision != pinned {
		t.Errorf("a revision that was asked for must not be left: %v, %v, revision %d", err, res.Shortfall, res.Pin.Revision)
	}
}

func TestRootsAreFound(t *testing.T) {
	server := etcdtest.Start(t)
	store := openStore(t, server)
	if roots, err := etcdscan.Roots(t.Context(), store, 0); err != nil || len(roots) > 0 {
		t.Errorf("an empty store: %q, %v", roots, err)
	}
	for k, v := range map[string]string{
		"compact_rev_key":                     "12",
		"/registry/pods/a/b":                  "garbage does not hide a well-known root",
		"/clusters/east/secrets/ns/s":         secretJSON("ns", "s"),
		"/custom/example.com/widgets/ns/w":    `{"apiVersion":"example.com/v1"}`,
		"/custom/configmaps/ns/c":             "k8s:enc:aescbc:v1:key1:" + strings.Repeat("x", 32),
		"/prod/secrets/ns/a":                  "garbage",
		"/prod/secrets/ns/b":                  secretJSON("ns", "b"),
		"/registry/tenant-a/secrets/ns/s":     secretJSON("ns", "s"),
		"/app/jobs/a/1":                       "nothing of Kubernetes",
		"/app/users/1":                        "nothing of Kubernetes",
		"stray":                               "x",
		"/openshift.io/routes/ns/r":           "x",
		"/kubernetes.iosibling/services/ns/r": "x",
	} {
		server.Put(t, k, v)
	}
	roots, err := etcdscan.Roots(t.Context(), store, 0)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(roots)
	if want := []string{"/clusters/east", "/custom", "/openshift.io", "/prod", "/registry", "/registry/tenant-a"}; !slices.Equal(roots, want) {
		t.Errorf("roots %q, want %q", roots, want)
	}
}

func TestScopeKeepsOffSiblings(t *testing.T) {
	for _, tc := range []struct {
		prefixes, roots, want, wantRoots []string
	}{
		{[]string{"/registry"}, []string{"/registry"}, []string{"/registry/"}, []string{"/registry"}},
		{[]string{"/kubernetes.io/secrets"}, nil, []string{"/kubernetes.io/secrets/"}, []string{"/kubernetes.io"}},
		{[]string{"/a/b/", "/a/b/c", "/a/bc"}, nil, []string{"/a/b/", "/a/bc/"}, []string{"/a"}},
		{[]string{"/registry", "/registry/pods", "/registry/secrets"}, nil, []string{"/registry/"}, []string{"/registry"}},
		{[]string{"/my/root/secrets/"}, nil, []string{"/my/root/secrets/"}, []string{"/my/root"}},
		{[]string{"/my/root/widgets"}, []string{"/my/root", "/my"}, []string{"/my/root/widgets/"}, []string{"/my/root", "/my"}},
	} {
		s := etcdscan.NewScope(tc.prefixes, tc.roots)
		if !slices.Equal(s.Prefixes, tc.want) || !slices.Equal(s.Roots, tc.wantRoots) {
			t.Errorf("NewScope(%q, %q) = %q, roots %q", tc.prefixes, tc.roots, s.Prefixes, s.Roots)
		}
		for _, r := range s.Ranges {
			if r.End == "" || r.End <= r.Start {
				t.Errorf("NewScope(%q): range %q", tc.prefixes, r)
			}
		}
	}
}

// TestOutside is all that a scope leaves out, and nothing of what it reads.
func TestOutside(t *testing.T) {
	for _, c := range []struct {
		prefixes []string
		in, out  []string
	}{
		{[]string{"/registry/"}, []string{"/registry/a", "/registry/\xff"}, []string{"", "/", "/a", "/registry", "/registry0", "z"}},
		{[]string{"/registry"}, []string{"/registry", "/registry/a"}, []string{"/registry-", "/registry.", "/registry0", "/registrya"}},
		{[]string{"/b/", "/a/c/"}, []string{"/b/x", "/a/c/d"}, []string{"/a/b", "/a/d", "/c", "/b0"}},
	} {
		outside := etcdscan.NewScope(c.prefixes, nil).Outside()
		in := func(k string) bool {
			return slices.ContainsFunc(outside, func(r etcdscan.Range) bool { return k >= r.Start && (r.End == "" || k < r.End) })
		}
		for _, k := range c.in {
			if in(k) {
				t.Errorf("%q: %q is read, and counted as outside by %q", c.prefixes, k, outside)
			}
		}
		for _, k := range c.out {
			if !in(k) {
				t.Errorf("%q: %q is not read, and not outside of it: %q", c.prefixes, k, outside)
			}
		}
	}
	if outside := (etcdscan.Scope{Ranges: []etcdscan.Range{{}}}).Outside(); len(outside) > 0 {
		t.Errorf("%q is outside of everything", outside)
	}
}
