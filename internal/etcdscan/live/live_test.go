package live_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
)

func open(t *testing.T, cfg live.Config) *live.Store {
	t.Helper()
	s, err := live.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// bothWays runs a test over RangeStream and over pages.
func bothWays(t *testing.T, cfg live.Config, f func(*testing.T, *live.Store)) {
	for name, paging := range map[string]bool{"stream": false, "pages": true} {
		t.Run(name, func(t *testing.T) {
			cfg.ForcePaging = paging
			f(t, open(t, cfg))
		})
	}
}

func fill(t *testing.T, s *etcdtest.Server, n int) map[string]string {
	want := make(map[string]string)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		k := fmt.Sprintf("/registry/secrets/ns-%d/name-%05d", i%7, i)
		want[k] = strings.Repeat("v", random.IntN(3000))
	}
	// A few that no page sized by the ones before it would hold.
	for i := range 4 {
		want[fmt.Sprintf("/registry/secrets/ns-3/large-%d", i)] = strings.Repeat("L", 1<<20)
	}
	var ops []clientv3.Op
	flush := func() {
		if _, err := s.Client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
		ops = nil
	}
	for k, v := range want {
		if len(v) == 1<<20 {
			s.Put(t, k, v)
			continue
		}
		if ops = append(ops, clientv3.OpPut(k, v)); len(ops) == 100 {
			flush()
		}
	}
	flush()
	return want
}

func read(t *testing.T, s *live.Store, r etcdscan.Range, revision int64) (keys []string, values map[string]string, err error) {
	values = make(map[string]string)
	for batch, err := range s.Read(t.Context(), r, revision) {
		if err != nil {
			return keys, values, err
		}
		for _, kv := range batch {
			keys = append(keys, kv.Key)
			values[kv.Key] = string(kv.Value)
		}
	}
	return keys, values, nil
}

func TestReadYieldsEveryKeyInOrderAtTheRevision(t *testing.T) {
	server := etcdtest.Start(t)
	want := fill(t, server, 3000)
	server.Put(t, "/registry/secretsfoo/ns/sibling", "x")
	server.Put(t, "/registry/secret", "x")
	bothWays(t, live.Config{Endpoints: []string{server.Endpoint}, MaxPageBytes: 100_000}, func(t *testing.T, s *live.Store) {
		r := etcdscan.Prefix("/registry/secrets/")
		pin, err := s.Pin(t.Context(), r, 0)
		if err != nil {
			t.Fatal(err)
		}
		// Written after the pin: none of it may show.
		server.Put(t, "/registry/secrets/ns-0/aaa", "later")
		server.Put(t, "/registry/secrets/ns-3/large-0", "later")
		if _, err := server.Client.Delete(t.Context(), "/registry/secrets/ns-0/name-00000"); err != nil {
			t.Fatal(err)
		}
		before := server.Revision(t)
		keys, values, err := read(t, s, r, pin.Revision)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
			t.Error("keys are not in order, or come twice")
		}
		for k, v := range want {
			if values[k] != v {
				t.Errorf("%s: %d bytes, want %d", k, len(values[k]), len(v))
			}
		}
		if len(values) != len(want) {
			t.Errorf("read %d keys, want %d", len(values), len(want))
		}
		n, err := s.Count(t.Context(), r, pin.Revision)
		if err != nil || n != int64(len(want)) {
			t.Errorf("Count = %d, %v; want %d", n, err, len(want))
		}
		if after := server.Revision(t); after != before {
			t.Errorf("reading moved etcd's revision from %d to %d", before, after)
		}
		// Back to what the next way of reading expects.
		server.Put(t, "/registry/secrets/ns-0/name-00000", want["/registry/secrets/ns-0/name-00000"])
		server.Put(t, "/registry/secrets/ns-3/large-0", want["/registry/secrets/ns-3/large-0"])
		if _, err := server.Client.Delete(t.Context(), "/registry/secrets/ns-0/aaa"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReadFailsWhenTheRevisionIsCompactedUnderWay(t *testing.T) {
	server := etcdtest.Start(t)
	fill(t, server, 3000)
	bothWays(t, live.Config{Endpoints: []string{server.Endpoint}, MaxPageBytes: 50_000}, func(t *testing.T, s *live.Store) {
		r := etcdscan.Prefix("/registry/")
		pin, err := s.Pin(t.Context(), r, 0)
		if err != nil {
			t.Fatal(err)
		}
		var last error
		for _, err := range s.Read(t.Context(), r, pin.Revision) {
			last = err
			if err != nil {
				break
			}
			newest := server.Put(t, "/registry/secrets/ns-0/zzz", "x")
			if _, err := server.Client.Compact(t.Context(), newest); err != nil && !strings.Contains(err.Error(), "compacted") {
				t.Fatal(err)
			}
		}
		if !errors.Is(last, etcdscan.ErrCompacted) {
			t.Errorf("the read ended with %v, want ErrCompacted", last)
		}
	})
}

func TestPinRefusesTheFutureAndTheCompacted(t *testing.T) {
	server := etcdtest.Start(t)
	first := server.Put(t, "/registry/a/b", "1")
	newest := server.Put(t, "/registry/a/b", "2")
	s := open(t, live.Config{Endpoints: []string{server.Endpoint}})
	r := etcdscan.Prefix("/registry/")
	if _, err := s.Pin(t.Context(), r, newest+1); !errors.Is(err, etcdscan.ErrFutureRevision) {
		t.Errorf("a future revision: %v", err)
	}
	if pin, err := s.Pin(t.Context(), r, first); err != nil || pin.Revision != first {
		t.Errorf("an old revision: %+v, %v", pin, err)
	}
	if _, err := server.Client.Compact(t.Context(), newest); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pin(t.Context(), r, first); !errors.Is(err, etcdscan.ErrCompacted) {
		t.Errorf("a compacted revision: %v", err)
	}
}

func TestLookSeesTheNewestWrite(t *testing.T) {
	server := etcdtest.Start(t)
	s := open(t, live.Config{Endpoints: []string{server.Endpoint}})
	if _, found, err := s.Look(t.Context(), "/registry/a/b"); found || err != nil {
		t.Errorf("a key that is not there: found=%v, %v", found, err)
	}
	server.Put(t, "/registry/a/b", "1")
	rev := server.Put(t, "/registry/a/b", "22")
	kv, found, err := s.Look(t.Context(), "/registry/a/b")
	if err != nil || !found || kv.ModRevision != rev || kv.Version != 2 || string(kv.Value) != "22" {
		t.Errorf("Look = %+v, %v, %v", kv, found, err)
	}
}

func TestOpenTellsWhyNobodyAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	garbage := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(garbage, []byte("CANARY-not-a-certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		cfg  live.Config
		want string
	}{
		"no endpoint": {live.Config{}, "no etcd endpoint"},
		"closed port": {live.Config{Endpoints: []string{"http://" + closed}}, "connection refused"},
		"no file":     {live.Config{Endpoints: []string{"https://" + closed}, CACert: "/no/such/file"}, "/no/such/file"},
		"not PEM":     {live.Config{Endpoints: []string{"https://" + closed}, CACert: garbage}, "not a usable PEM"},
		"half a pair": {live.Config{Endpoints: []string{"https://" + closed}, Cert: garbage}, "belong together"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := live.Open(t.Context(), tc.cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Open = %v, want %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "CANARY") {
				t.Errorf("the error quotes a file: %v", err)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("it took %v to say so", took)
			}
		})
	}
}

func TestReadPassesOverAMemberThatIsDown(t *testing.T) {
	server := etcdtest.Start(t)
	want := fill(t, server, 200)
	bothWays(t, live.Config{Endpoints: []string{"unix:///nowhere/etcd.sock", server.Endpoint}}, func(t *testing.T, s *live.Store) {
		r := etcdscan.Prefix("/registry/")
		pin, err := s.Pin(t.Context(), r, 0)
		if err != nil {
			t.Fatal(err)
		}
		keys, _, err := read(t, s, r, pin.Revision)
		if err != nil || len(keys) != len(want) {
			t.Errorf("read %d of %d keys: %v", len(keys), len(want), err)
		}
	})
}

func TestInterruptionEndsARead(t *testing.T) {
	server := etcdtest.Start(t)
	fill(t, server, 3000)
	bothWays(t, live.Config{Endpoints: []string{server.Endpoint}, MaxPageBytes: 10_000}, func(t *testing.T, s *live.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var last error
		for _, err := range s.Read(ctx, etcdscan.Prefix("/registry/"), server.Revision(t)) {
			last = err
			cancel()
		}
		if !errors.Is(last, context.Canceled) {
			t.Errorf("the read ended with %v, want context.Canceled", last)
		}
	})
}

func TestOpenRefusesMembersOfTwoClusters(t *testing.T) {
	// etcd derives the ID of a cluster from its members' peer URLs, which differ here.
	a, b := etcdtest.Start(t), etcdtest.Start(t)
	_, err := live.Open(t.Context(), live.Config{Endpoints: []string{a.Endpoint, b.Endpoint}})
	if !errors.Is(err, live.ErrMixedClusters) {
		t.Errorf("Open = %v", err)
	}
}
