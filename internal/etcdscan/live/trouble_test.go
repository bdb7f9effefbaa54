package live_test

import (
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
)

// overTCP has etcd listen on a loopback port, where a proxy can be put in front of it.
func overTCP(t *testing.T) func(*embed.Config) {
	u, err := url.Parse("http://" + freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	return func(cfg *embed.Config) {
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*u}, []url.URL{*u}
	}
}

// cuttingProxy forwards to a server and drops each of its first connections after so many bytes of answers, as a member
// or a load balancer does that goes away in the middle of an answer.
func cuttingProxy(t *testing.T, server string, cuts int64, after int64) (endpoint string, made *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	made = new(atomic.Int64)
	go func() {
		for {
			front, err := listener.Accept()
			if err != nil {
				return
			}
			go forward(front, target.Host, made, cuts, after)
		}
	}()
	return "http://" + listener.Addr().String(), made
}

func forward(front net.Conn, server string, made *atomic.Int64, cuts, after int64) {
	defer front.Close()
	back, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer back.Close()
	go func() {
		io.Copy(back, front)
		back.Close() // the client has gone: etcd waits for its connections when it stops
	}()
	// Only connections that carry something count: a probe says nothing.
	n, _ := io.CopyN(front, back, 4096)
	if n < 4096 {
		return
	}
	if made.Add(1) <= cuts {
		io.CopyN(front, back, after)
		return
	}
	io.Copy(front, back)
}

func TestReadGoesOnAfterTheConnectionBreaks(t *testing.T) {
	server := etcdtest.Start(t, overTCP(t))
	want := fill(t, server, 3000)
	for name, paging := range map[string]bool{"stream": false, "pages": true} {
		t.Run(name, func(t *testing.T) {
			endpoint, made := cuttingProxy(t, server.Endpoint, 3, 1<<20)
			s := open(t, live.Config{Endpoints: []string{endpoint}, ForcePaging: paging, MaxPageBytes: 200_000})
			r := etcdscan.Prefix("/registry/")
			pin, err := s.Pin(t.Context(), r, 0)
			if err != nil {
				t.Fatal(err)
			}
			keys, values, err := read(t, s, r, pin.Revision)
			if err != nil || len(keys) != len(want) {
				t.Fatalf("read %d of %d keys: %v", len(keys), len(want), err)
			}
			for k, v := range want {
				if values[k] != v {
					t.Errorf("%s: %d bytes, want %d", k, len(values[k]), len(v))
				}
			}
			if made.Load() < 4 {
				t.Errorf("the connection was cut %d times, the test needs 3", made.Load()-1)
			}
		})
	}
}

func TestReadFailsWhenEtcdStaysAway(t *testing.T) {
	server := etcdtest.Start(t, overTCP(t))
	fill(t, server, 3000)
	endpoint, _ := cuttingProxy(t, server.Endpoint, 1<<30, 300_000)
	s := open(t, live.Config{Endpoints: []string{endpoint}, Patience: 3 * time.Second})
	r := etcdscan.Prefix("/registry/")
	pin, err := s.Pin(t.Context(), r, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Every connection brings less than one chunk: no retry gets any further.
	if keys, _, err := read(t, s, etcdscan.Prefix("/registry/secrets/ns-3/large"), pin.Revision); err == nil {
		t.Errorf("read %d keys and called it all", len(keys))
	}
}

func TestReadOutlivesItsToken(t *testing.T) {
	server := etcdtest.Start(t, func(cfg *embed.Config) { cfg.AuthTokenTTL = 1 })
	want := fill(t, server, 500)
	enableAuth(t, server.Client)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bothWays(t, live.Config{Endpoints: []string{server.Endpoint}, User: "root", PasswordFile: password, MaxPageBytes: 2 << 20}, func(t *testing.T, s *live.Store) {
		r := etcdscan.Prefix("/registry/")
		pin, err := s.Pin(t.Context(), r, 0)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for batch, err := range s.Read(t.Context(), r, pin.Revision) {
			if err != nil {
				t.Fatal(err)
			}
			if n += len(batch); n < len(want) {
				time.Sleep(1200 * time.Millisecond) // longer than a token lasts
			}
		}
		if n != len(want) {
			t.Errorf("read %d of %d keys", n, len(want))
		}
	})
}

func enableAuth(t *testing.T, client *clientv3.Client) {
	t.Helper()
	for _, step := range []func() error{
		func() error { _, err := client.RoleAdd(t.Context(), "root"); return err },
		func() error { _, err := client.UserAdd(t.Context(), "root", "secret"); return err },
		func() error { _, err := client.UserGrantRole(t.Context(), "root", "root"); return err },
		func() error { _, err := client.AuthEnable(t.Context()); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}
