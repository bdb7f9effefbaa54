package live_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
)

func TestSnapshotIsAllOfEtcd(t *testing.T) {
	server := etcdtest.Start(t)
	fill(t, server, 500)
	server.Put(t, "/registry/secrets/ns/planted", "planted-value")
	before := server.Revision(t)
	s := open(t, live.Config{Endpoints: []string{server.Endpoint}})
	dir := t.TempDir()
	path := filepath.Join(dir, "snap.db")
	old := syscall.Umask(0o277) // takes from the owner as well
	n, sum, err := s.SaveSnapshot(t.Context(), path)
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(len(content)) || sum != sha256.Sum256(content) {
		t.Errorf("%d bytes with digest %x, the file has %d with %x", n, sum, len(content), sha256.Sum256(content))
	}
	body := content[:len(content)-sha256.Size]
	if own := sha256.Sum256(body); len(body)%4096 != 0 || !bytes.Equal(own[:], content[len(body):]) {
		t.Errorf("%d bytes that do not end in their digest", len(content))
	}
	if !bytes.Contains(body, []byte("/registry/secrets/ns/planted")) || !bytes.Contains(body, []byte("planted-value")) {
		t.Error("a key that was written is not in the snapshot")
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	onlyFile(t, dir, "snap.db")
	if after := server.Revision(t); after != before {
		t.Errorf("the revision went from %d to %d", before, after)
	}
	var w bytes.Buffer
	if n, sum, err := s.Snapshot(t.Context(), &w); err != nil || n != int64(w.Len()) || sum != sha256.Sum256(w.Bytes()) {
		t.Errorf("%d of %d bytes, %v", n, w.Len(), err)
	}
}

// onlyFile asserts what a directory holds.
func onlyFile(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

func TestSnapshotRefusesAFileThatIsThere(t *testing.T) {
	server := etcdtest.Start(t)
	s := open(t, live.Config{Endpoints: []string{server.Endpoint}})
	dir := t.TempDir()
	path := filepath.Join(dir, "snap.db")
	if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.SaveSnapshot(t.Context(), path)
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "mine" {
		t.Errorf("%q, %v", content, err)
	}
	onlyFile(t, dir, "snap.db")

	link := filepath.Join(dir, "link.db") // to nowhere: a file would appear where nobody asked for one
	if err := os.Symlink(filepath.Join(dir, "elsewhere.db"), link); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.SaveSnapshot(t.Context(), link); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	onlyFile(t, dir, "link.db", "snap.db")

	missing := filepath.Join(dir, "none", "snap.db")
	if _, _, err := s.SaveSnapshot(t.Context(), missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) || strings.Contains(err.Error(), ".part") {
		t.Error(err)
	}
}

// stallingProxy forwards to a server and falls silent on a connection that has brought so many bytes of answers.
func stallingProxy(t *testing.T, server string, after int64) (endpoint string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			front, err := listener.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", strings.TrimPrefix(server, "http://"))
			if err != nil {
				front.Close()
				continue
			}
			go io.CopyN(front, back, after)
			go func() {
				io.Copy(back, front)
				back.Close()
				front.Close()
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// cancelling ends a context in the midst of what is written.
type cancelling struct {
	after  int
	cancel context.CancelFunc
	got    int
}

func (c *cancelling) Write(p []byte) (int, error) {
	if c.got += len(p); c.got > c.after {
		c.cancel()
	}
	return len(p), nil
}

func TestSnapshotIsInterrupted(t *testing.T) {
	server := etcdtest.Start(t, overTCP(t))
	fill(t, server, 3000)
	s := open(t, live.Config{Endpoints: []string{server.Endpoint}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := &cancelling{after: 1 << 20, cancel: cancel}
	if n, _, err := s.Snapshot(ctx, w); !errors.Is(err, context.Canceled) || n < 1<<20 || n > 4<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}

	dir := t.TempDir()
	// The connection goes after a part, each time.
	endpoint, _ := cuttingProxy(t, server.Endpoint, 1<<30, 2<<20)
	cut := open(t, live.Config{Endpoints: []string{endpoint}, Patience: 2 * time.Second})
	path := filepath.Join(dir, "snap.db")
	if _, _, err := cut.SaveSnapshot(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	onlyFile(t, dir)

	// Etcd is there, and says nothing more.
	endpoint = stallingProxy(t, server.Endpoint, 2<<20)
	silent := open(t, live.Config{Endpoints: []string{endpoint}, Timeout: time.Second})
	start := time.Now()
	if _, _, err := silent.SaveSnapshot(t.Context(), path); err == nil || time.Since(start) > 20*time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, _, err := silent.SaveSnapshot(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	onlyFile(t, dir)
}

func TestSnapshotNeedsRoot(t *testing.T) {
	server := etcdtest.Start(t, func(cfg *embed.Config) { cfg.AuthTokenTTL = 300 })
	server.Put(t, "/registry/secrets/ns/a", "v")
	for _, err := range []error{
		second(server.Client.RoleAdd(t.Context(), "reader")),
		second(server.Client.RoleGrantPermission(t.Context(), "reader", "/registry/", "/registry0", 0)),
		second(server.Client.UserAdd(t.Context(), "alice", "secret")),
		second(server.Client.UserGrantRole(t.Context(), "alice", "reader")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	enableAuth(t, server.Client)
	dir := t.TempDir()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "snap.db")
	for user, want := range map[string]error{"alice": etcdscan.ErrPermission, "": etcdscan.ErrPermission, "root": nil} {
		cfg := live.Config{Endpoints: []string{server.Endpoint}, User: user, Patience: 3 * time.Second}
		if user != "" {
			cfg.PasswordFile = password
		}
		s := open(t, cfg)
		_, _, err := s.SaveSnapshot(t.Context(), path)
		if !errors.Is(err, want) {
			t.Errorf("%q: %v", user, err)
		}
		if want != nil {
			onlyFile(t, dir)
		}
		os.Remove(path)
	}
}

func second[T any](_ T, err error) error { return err }
