package live_test

import (
	"cmp"
	"context"
	"fmt"
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

// runKine starts the kine that make test puts into bin. Without one the test is skipped, but not in CI.
func runKine(t *testing.T, flags ...string) (socket string) {
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
	socket = filepath.Join(dir, "kine.sock")
	cmd := exec.Command(binary, append([]string{"--listen-address", "unix://" + socket, "--metrics-bind-address", "0", "--compact-min-retain", "0"}, flags...)...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return socket
}

// startKine returns when kine is ready.
func startKine(t *testing.T, flags ...string) *kine {
	t.Helper()
	k := &kine{endpoint: "unix://" + runKine(t, flags...)}
	var err error
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
