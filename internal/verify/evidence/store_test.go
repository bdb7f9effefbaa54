package evidence

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
	"github.com/svmctl/svmctl/internal/etcdscan/snapshot"
	"github.com/svmctl/svmctl/internal/verify"
)

// noon is when everything happens in these tests.
var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// redactionKey is one that everybody knows.
var redactionKey = []byte("0123456789abcdef0123456789abcdef\n")

type values map[string]string

// running is an etcd with the store that svmctl reads.
type running struct {
	*etcdtest.Server
	store *live.Store
}

func start(t testing.TB) running {
	t.Helper()
	server := etcdtest.Start(t)
	store, err := live.Open(t.Context(), live.Config{Endpoints: []string{server.Endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return running{server, store}
}

// fill makes the values all that etcd holds and ever held.
func fill(t testing.TB, server running, all values) {
	t.Helper()
	gone, err := server.Client.Delete(t.Context(), "", clientv3.WithFromKey())
	if err == nil {
		_, err = server.Client.Compact(t.Context(), gone.Header.Revision)
	}
	if err != nil && !strings.Contains(err.Error(), "compacted") {
		t.Fatal(err)
	}
	for _, k := range slices.Sorted(maps.Keys(all)) {
		server.Put(t, k, all[k])
	}
}

func startWith(t testing.TB, all values) running {
	t.Helper()
	server := start(t)
	fill(t, server, all)
	return server
}

// save takes a snapshot as etcdctl does.
func save(t testing.TB, s running) string {
	t.Helper()
	body, err := s.Client.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	path := filepath.Join(t.TempDir(), "snapshot.db")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := io.Copy(file, body); err != nil {
		t.Fatal(err)
	}
	return path
}

// look is how a store is looked at.
type look struct {
	expect, versions []string
	prefixes         []string
	history          bool
	revision         int64
	mode             Mode // zero: Names
}

func (l look) redactor(t testing.TB) *Redactor {
	t.Helper()
	if l.mode == "" {
		l.mode = Names
	}
	r, err := NewRedactor(l.mode, redactionKey)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// at takes the look.
func (l look) at(t testing.TB, src etcdscan.Source, origin audit.Source) *Observed {
	t.Helper()
	expectations, err := verify.ParseExpectations(l.expect, l.versions)
	if err != nil {
		t.Fatal(err)
	}
	recorder := new(Recorder)
	report, err := audit.Run(t.Context(), audit.Request{Store: src, Origin: origin, Expectations: expectations, Version: "test",
		Prefixes: l.prefixes, Revision: l.revision, History: l.history, Also: recorder.Sink(), Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { report.Close(); recorder.Close() })
	return &Observed{Report: report, Records: recorder, Redactor: l.redactor(t), Clock: "local", FinishedAt: noon.Add(time.Second),
		Tool:    Tool{Name: "svmctl", Version: "test", Arguments: []string{"audit", "--evidence"}},
		Cluster: Cluster{EtcdClusterID: report.Source.ClusterID}, APIServers: unasked("nobody did"), LaterUnknown: "nobody looked"}
}

// none is a report of nothing.
func (look) none() *audit.Report { return &audit.Report{} }

// live looks at a running etcd.
func (l look) live(t testing.TB, server running) *Observed {
	t.Helper()
	return l.at(t, server.store, audit.Source{Type: "etcd", Endpoints: []string{server.Endpoint}})
}

// file looks at a snapshot.
func (l look) file(t testing.TB, path string) *Observed {
	t.Helper()
	f, err := snapshot.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	o := l.at(t, f, audit.Source{Type: "snapshot", Path: "backup.db"})
	sum, integrity, err := f.Digest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o.Report.Source.SHA256, o.Report.Source.Integrity = sum, string(integrity)
	return o
}

func unasked(why string) APIServers {
	return APIServers{APIVersion: APIVersion, Kind: "EvidenceAPIServers", Why: why, Disagreements: []string{}, Missing: []string{}, Gone: []string{}, Unchecked: []string{}, Servers: []APIServer{}}
}

// apiserver is one that answered, with what it wrote.
func apiserver(address string, writes ...Operations) APIServer {
	return APIServer{Address: address, IDHash: "sha256:" + address, Answered: true, MetricsRead: true, EncryptionConfig: "sha256:config", StartedAt: noon.Add(-time.Hour), LoadedAt: noon.Add(-time.Hour),
		KMSKeyIDs: map[string]string{}, Flags: map[string]string{}, Overrides: []string{}, Writes: writes, Reads: []Operations{}}
}

func wrote(resource, prefix string, count int64) Operations {
	return Operations{Resource: resource, Prefix: prefix, Status: "OK", Count: count}
}

// asked are apiservers that agree.
func asked(servers ...APIServer) APIServers {
	a := unasked("")
	agree := true
	a.Asked, a.Known, a.Counted, a.Answered, a.Agree, a.OverridesKnown, a.Servers = true, len(servers), true, len(servers), &agree, true, append([]APIServer{}, servers...)
	return a
}

// reconciled is what an API says that has the same objects.
func reconciled(t testing.TB, o *Observed) *Reconciliation {
	t.Helper()
	r := &Reconciliation{Method: "LIST", Revision: o.Report.Source.Revision, Match: true, Resources: []Reconciled{}}
	counts := make(map[string]int64)
	for object, err := range o.Records.Objects {
		if err != nil {
			t.Fatal(err)
		}
		counts[verify.Resource{Group: object.Group, Name: object.Resource}.String()]++
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		r.Resources = append(r.Resources, Reconciled{Resource: name, InEtcd: counts[name], InAPI: counts[name]})
	}
	return r
}

func lookOn(ctx context.Context, t testing.TB, o *Observed, server running) {
	t.Helper()
	if o.Later, o.LaterUnknown = LookOn(ctx, server.store, o.Report, nil); o.Later == nil {
		t.Fatal(o.LaterUnknown)
	}
}

// aescbc is a value under a key. Its bytes could be no further part of the name.
func aescbc(key string) string {
	return "k8s:enc:aescbc:v1:" + key + ":" + strings.Repeat("\xff\x00\xfe\x80", 12)
}

func kmsV1(provider string) string {
	return "k8s:enc:kms:v1:" + provider + ":\x00\x04\xf1\xf2\xf3\xf4" + strings.Repeat("\xf3", 60)
}

func kmsV2(provider, keyID string) string {
	var b []byte
	for number, field := range []string{1: strings.Repeat("\xf3", 60), 2: keyID, 3: strings.Repeat("\xf4", 40)} {
		if number > 0 {
			b = protowire.AppendTag(b, protowire.Number(number), protowire.BytesType)
			b = protowire.AppendString(b, field)
		}
	}
	return "k8s:enc:kms:v2:" + provider + ":" + string(b)
}

// plain is an object as an apiserver stores it in JSON.
func plain(apiVersion, kind, namespace, name string) string {
	return fmt.Sprintf(`{"kind":%q,"apiVersion":%q,"metadata":{"name":%q,"namespace":%q}}`, kind, apiVersion, name, namespace)
}

// usual is a store as it should be: secrets under key2, the rest in plaintext.
func usual() values {
	return values{
		"/registry/secrets/ns/a":    aescbc("key2"),
		"/registry/secrets/ns/b":    aescbc("key2"),
		"/registry/secrets/other/c": aescbc("key2"),
		"/registry/configmaps/ns/d": plain("v1", "ConfigMap", "ns", "d"),
	}
}

// and is the values with others.
func (v values) and(more values) values {
	all := maps.Clone(v)
	maps.Copy(all, more)
	return all
}

// write makes a bundle in a new directory.
func write(t testing.TB, o *Observed, opts Options) (dir string, doc *Document) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "bundle")
	doc, err := Write(dir, o, opts)
	if err != nil {
		t.Fatal(err)
	}
	return dir, doc
}

// migrated is what svmctl migrate reports.
var migrated = map[string]any{"apiVersion": APIVersion, "kind": "MigrationReport", "tool": map[string]any{"version": "test"}, "verdict": "Complete",
	"reasons": []any{}, "stopped": nil, "dryRun": "", "backend": "rewrite", "targets": []any{},
	"plan":     map[string]any{"backend": "rewrite", "resources": []any{}, "revision": 1, "bytes": 0, "dbSize": 0, "quota": 0},
	"outcomes": map[string]any{"rewritten": 3, "alreadyCurrent": 0, "notRewritten": 0, "changedByOthers": 0, "deleted": 0, "failed": 0, "accepted": 0},
	"rounds":   1, "apiservers": map[string]any{"known": 1, "counted": true, "asked": 1, "agree": true, "forced": false},
	"snapshot": nil, "settled": nil, "elsewhere": []any{}, "warnings": []any{}, "startedAt": noon, "finishedAt": noon}

// check checks a bundle.
func check(t testing.TB, dir string, key *PublicKey) *Verification {
	t.Helper()
	v, err := Check(t.Context(), dir, key)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// sound demands that a bundle is as it was made.
func sound(t testing.TB, dir string) *Verification {
	t.Helper()
	v := check(t, dir, nil)
	if v.Verdict != verify.Complete {
		t.Fatalf("a bundle that nobody touched is %s: %v", v.Verdict, v.problems())
	}
	return v
}

// problems are all that was found, in one line each.
func (v *Verification) problems() []string {
	var all []string
	for _, c := range v.Checks {
		for _, p := range c.Problems {
			all = append(all, c.What+": "+p.File+": "+p.Message)
		}
	}
	return all
}
