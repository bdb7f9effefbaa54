package live_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
)

// kine is one that runs, with what was written to it.
type kine struct {
	endpoint string
	client   *clientv3.Client
	mu       sync.Mutex
	writes   []write
}

type write struct {
	revision   int64
	key, value string
	deleted    bool
}

// startKine runs the kine that make test puts into bin. Without one the test is skipped, but not in CI.
func startKine(t *testing.T, flags ...string) *kine {
	t.Helper()
	binary, err := filepath.Abs("../../../bin/kine")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v: make bin/kine builds it", err)
		}
		t.Skip("no kine in bin: make bin/kine builds it")
	}
	// Not t.TempDir: the path of a unix socket is limited to about 100 bytes.
	dir, err := os.MkdirTemp("", "kine")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	k := &kine{endpoint: "unix://" + filepath.Join(dir, "kine.sock")}
	cmd := exec.Command(binary, append([]string{"--listen-address", k.endpoint, "--metrics-bind-address", "0", "--compact-min-retain", "0"}, flags...)...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	k.client, err = clientv3.New(clientv3.Config{Endpoints: []string{k.endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.client.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		if resp, err := k.client.Get(ctx, "/registry/health"); err == nil {
			for _, kv := range resp.Kvs { // kine writes it itself
				k.note(kv.ModRevision, string(kv.Key), string(kv.Value), false)
			}
			return k
		}
		if ctx.Err() != nil {
			t.Fatal("kine did not become ready in 30 s")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (k *kine) note(revision int64, key, value string, deleted bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writes = append(k.writes, write{revision, key, value, deleted})
}

// commit writes as an apiserver does, if the key was last written at the revision given.
func (k *kine) commit(t *testing.T, key string, last int64, op clientv3.Op) int64 {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	resp, err := k.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", last)).Then(op).Else(clientv3.OpGet(key)).Commit()
	if err != nil || !resp.Succeeded {
		t.Errorf("writing %q: %v, %v", key, resp, err)
		return 0
	}
	k.note(resp.Header.Revision, key, string(op.ValueBytes()), op.IsDelete())
	return resp.Header.Revision
}

func (k *kine) put(t *testing.T, key, value string) int64 {
	return k.commit(t, key, k.last(t, key), clientv3.OpPut(key, value))
}

func (k *kine) delete(t *testing.T, key string) {
	k.commit(t, key, k.last(t, key), clientv3.OpDelete(key))
}

// last is the revision at which a key was last written, 0 if it is not there.
func (k *kine) last(t *testing.T, key string) int64 {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	resp, err := k.client.Get(ctx, key)
	if err != nil || len(resp.Kvs) == 0 {
		return 0
	}
	return resp.Kvs[0].ModRevision
}

// at is what was there at a revision, by what was written.
func (k *kine) at(revision int64) map[string]write {
	k.mu.Lock()
	defer k.mu.Unlock()
	slices.SortFunc(k.writes, func(a, b write) int { return cmp.Compare(a.revision, b.revision) })
	there := make(map[string]write)
	for _, w := range k.writes {
		switch {
		case w.revision > revision:
			return there
		case w.deleted:
			delete(there, w.key)
		default:
			there[w.key] = w
		}
	}
	return there
}

// in is what of it lies in a range, in order.
func in(there map[string]write, r etcdscan.Range) []string {
	var keys []string
	for k := range there {
		if k >= r.Start && (r.End == "" || k < r.End) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// fill writes keys of three storage roots and of none, some of them twice, and deletes every tenth.
func (k *kine) fill(t *testing.T, n int) {
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := w; i < n && !t.Failed(); i += 8 {
				key := fmt.Sprintf("%s/secrets/ns-%03d/name-%05d", []string{"/registry", "/registry", "/kubernetes.io", "/elsewhere"}[i%4], i%97, i)
				created := k.commit(t, key, 0, clientv3.OpPut(key, fmt.Sprint("k8s:enc:aescbc:v1:key1:", strings.Repeat("v", i%400))))
				switch {
				case i%10 == 0:
					k.commit(t, key, created, clientv3.OpDelete(key))
				case i%10 == 1:
					k.commit(t, key, created, clientv3.OpPut(key, "again"))
				}
			}
		})
	}
	writers.Wait()
	for _, key := range []string{
		"/registry/secrets", "/registry/secretsfoo/ns/sibling", "/registry/secret", "/registry/secrets-/x", "/registry/secrets.k8s.io/ns/x",
		"/registry/odd/a b", "/registry/odd/a!b", "/registry/odd/a\x00", "/registry/odd/a\x00b", "/registry/odd/a", "/registry/odd/a\x01", "/registry/odd/A",
		"/registry/odd/%", "/registry/odd/_", "/registry/odd/^", "/registry/odd/'\"\\", "/registry/odd/\u00e9", "/registry/odd/\xff\xfe", "/registry/odd/" + strings.Repeat("long", 300),
		"no-slash", "~",
	} {
		k.put(t, key, "odd")
	}
}

// everything in kine that the test did not write.
func (k *kine) own(t *testing.T) {
	resp, err := k.client.Get(t.Context(), "compact_rev_key", clientv3.WithRange("compact_rev_key_"))
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatal(resp, err)
	}
	k.note(resp.Kvs[0].ModRevision, "compact_rev_key", "", false)
	// The apiserver's key of that name, as the apiserver writes it.
	txn, err := k.client.Txn(t.Context()).If(clientv3.Compare(clientv3.Version("compact_rev_key"), "=", 0)).
		Then(clientv3.OpPut("compact_rev_key", "1")).Else(clientv3.OpGet("compact_rev_key")).Commit()
	if err != nil || !txn.Succeeded {
		t.Fatal(txn, err)
	}
	k.note(txn.Header.Revision, "compact_rev_key_apiserver", "1", false)
}

// taken is a sink that keeps which keys came, at which revisions.
type taken struct {
	keys map[string]int64
	take func() // before each
}

func (s *taken) Begin() { s.keys = make(map[string]int64) }

func (s *taken) Take(r *etcdscan.Record, _ *etcdscan.Entry) error {
	if s.take != nil {
		s.take()
	}
	s.keys[r.Key] = r.ModRevision
	return nil
}

func (s *taken) differs(there map[string]write) string {
	for k, w := range there {
		if s.keys[k] != w.revision {
			return fmt.Sprintf("%q at revision %d, want %d", k, s.keys[k], w.revision)
		}
	}
	if len(s.keys) != len(there) {
		return fmt.Sprintf("%d keys, want %d", len(s.keys), len(there))
	}
	return ""
}

func TestKine(t *testing.T) {
	k := startKine(t)
	k.fill(t, 24_000)
	k.own(t)
	if t.Failed() {
		return
	}
	s := open(t, live.Config{Endpoints: []string{k.endpoint}})
	if !s.Kine() {
		t.Fatal("it was not recognised")
	}
	t.Run("ranges", func(t *testing.T) { kineRanges(t, k, s) })
	t.Run("roots", func(t *testing.T) {
		pin, err := s.Pin(t.Context(), etcdscan.Range{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, revision := range []int64{0, pin.Revision} {
			roots, err := etcdscan.Roots(t.Context(), s, revision)
			slices.Sort(roots)
			if err != nil || !slices.Equal(roots, []string{"/elsewhere", "/kubernetes.io", "/registry"}) {
				t.Errorf("at revision %d: %q, %v", revision, roots, err)
			}
		}
	})
	t.Run("while others write", func(t *testing.T) { kineWhileOthersWrite(t, k, s) })
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		sink := &taken{take: cancel}
		_, err := etcdscan.Scan(ctx, etcdscan.Reading{Source: s, Scope: etcdscan.NewScope([]string{"/registry"}, nil)}, sink)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Scan = %v, want context.Canceled", err)
		}
	})
	t.Run("compacted", func(t *testing.T) { kineCompacted(t, k) })
}

func kineRanges(t *testing.T, k *kine, s *live.Store) {
	before, err := s.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pin, err := s.Pin(t.Context(), etcdscan.Range{}, 0)
	if err != nil || pin.Revision != before || pin.ClusterID != 0 {
		t.Fatal(pin, err)
	}
	there := k.at(pin.Revision)
	if len(there) < 20_000 {
		t.Fatalf("%d keys, the test needs more", len(there))
	}
	for _, r := range []etcdscan.Range{
		{}, etcdscan.Prefix("/"), etcdscan.Prefix("/registry/"), etcdscan.Prefix("/registry/secrets/"), etcdscan.Prefix("/registry/secrets"), etcdscan.Key("/registry/secrets"),
		etcdscan.Prefix("/registry/odd/"), etcdscan.Key("/registry/odd/a"), etcdscan.Key("/registry/odd/a\x00"), etcdscan.Key("/registry/odd/b"),
		{Start: "/registry/odd/a\x00"}, {Start: "/registry/odd/a", End: "/registry/odd/a\x01"}, {Start: "/registry/odd/a\x00b\x00", End: "/registry/odd/a\x01"},
		{Start: "/registry/secrets/ns-001/name-00098\x00", End: "/registry/secretsfoo/"}, {Start: "compact_rev_key"}, {Start: "compact_rev_key\x00"},
		{Start: "compact_rev_key_apiserver\x00"}, {Start: "~"}, {Start: "~\x00"}, etcdscan.Prefix("/registry/none/"), etcdscan.Prefix("/z/"), {Start: "b", End: "a"},
	} {
		want := in(there, r)
		n, err := s.Count(t.Context(), r, pin.Revision)
		if err != nil || n != int64(len(want)) {
			t.Errorf("Count(%q) = %d, %v; want %d", r, n, err, len(want))
		}
		keys, values, err := read(t, s, r, pin.Revision)
		if err != nil || !slices.Equal(keys, want) {
			t.Errorf("Read(%q): %d keys, %v; want %d", r, len(keys), err, len(want))
		}
		for key, v := range values {
			if v != there[key].value {
				t.Errorf("%q has %d bytes, want %d", key, len(v), len(there[key].value))
			}
		}
		for _, revision := range []int64{0, pin.Revision} {
			first, found, err := s.First(t.Context(), r, revision)
			if err != nil || found != (len(want) > 0) || found && first != want[0] {
				t.Errorf("First(%q, %d) = %q, %v, %v", r, revision, first, found, err)
			}
		}
	}
	for key, want := range map[string]bool{"/registry/odd/a": true, "/registry/odd/b": false, "/registry/odd/\xff\xfe": true, "/registry/secrets/ns-010/name-00010": false} {
		kv, found, err := s.Look(t.Context(), key)
		if err != nil || found != want || found && (kv.Key != key || kv.ModRevision != there[key].revision || string(kv.Value) != there[key].value) {
			t.Errorf("Look(%q) = %+v, %v, %v", key, kv, found, err)
		}
	}
	if after, err := s.Revision(t.Context()); err != nil || after != before {
		t.Errorf("reading moved the revision from %d to %d: %v", before, after, err)
	}
}

func kineWhileOthersWrite(t *testing.T, k *kine, s *live.Store) {
	keys := slices.Sorted(maps.Keys(k.at(1 << 60)))
	var writers sync.WaitGroup
	stop := make(chan struct{})
	defer writers.Wait()
	defer close(stop)
	for w := range 3 {
		writers.Go(func() {
			for i := w; !t.Failed(); i += 3 {
				select {
				case <-stop:
					return
				default:
				}
				key := keys[i*7919%len(keys)]
				switch {
				case !strings.Contains(key, "/secrets/") || i*7919/len(keys) > 0:
					k.put(t, fmt.Sprintf("/registry/secrets/ns-%03d/made-%05d", i%97, i), "made")
				case i%2 == 0:
					k.delete(t, key)
				default:
					k.put(t, key, "rewritten")
				}
			}
		})
	}
	roots := []string{"/registry", "/kubernetes.io", "/elsewhere"}
	for range 3 {
		var sink taken
		res, err := etcdscan.Scan(t.Context(), etcdscan.Reading{Source: s, Scope: etcdscan.NewScope(roots, roots)}, &sink)
		if err != nil || res.Shortfall != nil {
			t.Fatal(err, res.Shortfall)
		}
		there := k.at(res.Pin.Revision)
		maps.DeleteFunc(there, func(key string, _ write) bool {
			return !slices.ContainsFunc(roots, func(root string) bool { return key == root || strings.HasPrefix(key, root+"/") })
		})
		if difference := sink.differs(there); difference != "" {
			t.Errorf("at revision %d of %d: %s", res.Pin.Revision, k.put(t, "~", "last"), difference)
		}
	}
}

func kineCompacted(t *testing.T, k *kine) {
	s := open(t, live.Config{Endpoints: []string{k.endpoint}, MaxPageBytes: 100_000})
	compact := func() {
		newest := k.put(t, "/registry/secrets/ns-000/aaa", "x")
		if _, err := k.client.Compact(t.Context(), newest); err != nil {
			t.Error(err)
		}
	}
	old, err := s.Pin(t.Context(), etcdscan.Range{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	scope := etcdscan.NewScope([]string{"/registry"}, nil)

	var sink taken
	sink.take = sync.OnceFunc(compact)
	res, err := etcdscan.Scan(t.Context(), etcdscan.Reading{Source: s, Scope: scope, Revision: old.Revision}, &sink)
	if err != nil || !errors.Is(res.Shortfall, etcdscan.ErrCompacted) {
		t.Errorf("a scan of revision %d: %v, %v", old.Revision, err, res.Shortfall)
	}
	if _, err := s.Pin(t.Context(), etcdscan.Range{}, old.Revision); !errors.Is(err, etcdscan.ErrCompacted) {
		t.Errorf("a compacted revision: %v", err)
	}
	if n, err := s.Count(t.Context(), etcdscan.Range{}, old.Revision-1); !errors.Is(err, etcdscan.ErrCompacted) {
		t.Errorf("a count of a compacted revision: %d, %v", n, err)
	}
	if _, err := s.Pin(t.Context(), etcdscan.Range{}, old.Revision+1000); !errors.Is(err, etcdscan.ErrFutureRevision) {
		t.Errorf("a future revision: %v", err)
	}

	sink.take = sync.OnceFunc(compact)
	res, err = etcdscan.Scan(t.Context(), etcdscan.Reading{Source: s, Scope: scope}, &sink)
	if err != nil || res.Shortfall != nil {
		t.Fatal(err, res.Shortfall)
	}
	there := k.at(res.Pin.Revision)
	maps.DeleteFunc(there, func(key string, _ write) bool { return !strings.HasPrefix(key, "/registry/") })
	if difference := sink.differs(there); difference != "" {
		t.Errorf("after it began again: %s", difference)
	}
}

func TestKineIsNoEtcd(t *testing.T) {
	k := startKine(t)
	server := etcdtest.Start(t)
	for name, tt := range map[string]struct {
		endpoints []string
		want      error
	}{
		"kine and etcd": {[]string{k.endpoint, server.Endpoint}, live.ErrMixedClusters},
		"etcd and kine": {[]string{server.Endpoint, k.endpoint}, live.ErrMixedClusters},
		"kine twice":    {[]string{k.endpoint, k.endpoint}, live.ErrSeveralKine},
	} {
		if _, err := live.Open(t.Context(), live.Config{Endpoints: tt.endpoints}); !errors.Is(err, tt.want) {
			t.Errorf("%s: Open = %v", name, err)
		}
	}
	s := open(t, live.Config{Endpoints: []string{k.endpoint}})
	health, err := s.Health(t.Context())
	if err != nil || health.DBSize == 0 || len(health.Alarms) != 0 {
		t.Errorf("Health = %+v, %v", health, err)
	}
	dir := t.TempDir()
	if _, _, err := s.SaveSnapshot(t.Context(), filepath.Join(dir, "snap.db")); !errors.Is(err, live.ErrNoSnapshot) {
		t.Errorf("SaveSnapshot = %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if etcd := open(t, live.Config{Endpoints: []string{server.Endpoint}}); etcd.Kine() {
		t.Error("etcd was taken for kine")
	}
}

func TestKineWithoutSQLIsRefused(t *testing.T) {
	k := startKine(t, "--endpoint", "memory://")
	s := open(t, live.Config{Endpoints: []string{k.endpoint}})
	if pin, err := s.Pin(t.Context(), etcdscan.Prefix("/registry/"), 0); !errors.Is(err, etcdscan.ErrUnsupportedStore) {
		t.Errorf("Pin = %+v, %v", pin, err)
	}
}
