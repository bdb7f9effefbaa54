package live_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.uber.org/zap"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
)

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

func TestKineOverTLS(t *testing.T) {
	own, err := transport.SelfCert(zap.NewNop(), t.TempDir(), []string{"kine.sock:0"}, 1, x509.ExtKeyUsageClientAuth)
	if err != nil {
		t.Fatal(err)
	}
	socket := runKine(t, "--server-cert-file", own.CertFile, "--server-key-file", own.KeyFile, "--trusted-ca-file", own.CertFile)
	cfg := live.Config{Endpoints: []string{"unixs://" + socket}, CACert: own.CertFile, Cert: own.CertFile, Key: own.KeyFile}
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		s, err := live.Open(t.Context(), cfg)
		if err == nil {
			defer s.Close()
			if n, err := s.Count(t.Context(), etcdscan.Prefix("/registry/"), 0); err != nil || n != 1 {
				t.Errorf("Count = %d, %v", n, err)
			}
			return
		}
		if time.Since(start) > 30*time.Second {
			t.Fatal(err)
		}
	}
}
