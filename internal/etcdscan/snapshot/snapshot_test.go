package snapshot_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/snapshot"
)

// save takes a snapshot as etcdctl does.
func save(t testing.TB, s *etcdtest.Server) string {
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
	if _, err := io.Copy(file, body); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string) *snapshot.File {
	t.Helper()
	f, err := snapshot.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// all reads everything at a revision.
func all(ctx context.Context, f *snapshot.File, revision int64) (kvs []etcdscan.KeyValue, err error) {
	for batch, err := range f.Read(ctx, etcdscan.Range{}, revision) {
		if err != nil {
			return nil, err
		}
		for _, kv := range batch {
			kv.Value = append([]byte(nil), kv.Value...)
			kvs = append(kvs, kv)
		}
	}
	return kvs, nil
}

// sameAsEtcd compares a file with etcd's own answers at every revision that etcd has.
func sameAsEtcd(t *testing.T, s *etcdtest.Server, f *snapshot.File) {
	t.Helper()
	newest := s.Revision(t)
	if pin, err := f.Pin(t.Context(), etcdscan.Range{}, 0); err != nil || pin.Revision != newest {
		t.Fatalf("newest revision %d, %v; etcd has %d", pin.Revision, err, newest)
	}
	readable := 0
	for revision := int64(1); revision <= newest; revision++ {
		want, err := s.Client.Get(t.Context(), "\x00", clientv3.WithFromKey(), clientv3.WithRev(revision))
		got, gotErr := all(t.Context(), f, revision)
		if err != nil {
			if !errors.Is(gotErr, etcdscan.ErrCompacted) {
				t.Fatalf("revision %d: etcd says %v, the file %v", revision, err, gotErr)
			}
			continue
		}
		readable++
		if gotErr != nil || len(got) != len(want.Kvs) {
			t.Fatalf("revision %d: %d keys, %v; etcd has %d", revision, len(got), gotErr, len(want.Kvs))
		}
		for i, kv := range want.Kvs {
			g := got[i]
			if g.Key != string(kv.Key) || string(g.Value) != string(kv.Value) || g.CreateRevision != kv.CreateRevision ||
				g.ModRevision != kv.ModRevision || g.Version != kv.Version || g.Lease != kv.Lease {
				t.Fatalf("revision %d: %s: the file has another write than etcd", revision, kv.Key)
			}
		}
		n, err := f.Count(t.Context(), etcdscan.Prefix("/registry/"), revision)
		under, etcdErr := s.Client.Get(t.Context(), "/registry/", clientv3.WithPrefix(), clientv3.WithRev(revision), clientv3.WithCountOnly())
		if err != nil || etcdErr != nil || n != under.Count {
			t.Fatalf("revision %d: %d keys under /registry/, %v; etcd counts %d, %v", revision, n, err, under.Count, etcdErr)
		}
	}
	if readable == 0 {
		t.Fatal("no revision was compared")
	}
}

// busy writes what etcd has to be able to keep: keys written again, deleted, created anew, in transactions, and on leases.
func busy(t *testing.T, s *etcdtest.Server, writes int) {
	t.Helper()
	ctx, c := t.Context(), s.Client
	rnd := rand.New(rand.NewPCG(1, 2))
	lease, err := c.Grant(ctx, 3600)
	if err != nil {
		t.Fatal(err)
	}
	k := func() string {
		dirs := []string{"/registry/secrets/default/", "/registry/secrets/", "/registry/configmaps/kube-system/", "/registry/", "zz", "/registry/secrets/default/a\x00"}
		return fmt.Sprintf("%sname-%d", dirs[rnd.IntN(len(dirs))], rnd.IntN(40))
	}
	value := func() string { return fmt.Sprintf("k8s:enc:aescbc:v1:key1:%d", rnd.Uint64()) }
	for range writes {
		switch rnd.IntN(10) {
		case 0, 1:
			_, err = c.Delete(ctx, k())
		case 2:
			first, second := k(), k()+"-two"
			_, err = c.Txn(ctx).Then(clientv3.OpPut(first, value()), clientv3.OpPut(second, value()), clientv3.OpDelete(k()+"-two-gone")).Commit()
		case 3:
			_, err = c.Put(ctx, k(), value(), clientv3.WithLease(lease.ID))
		case 4:
			_, err = c.Delete(ctx, "/registry/configmaps/", clientv3.WithPrefix())
		default:
			_, err = c.Put(ctx, k(), value())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestEqualsEtcd(t *testing.T) {
	s := etcdtest.Start(t)
	busy(t, s, 400)
	sameAsEtcd(t, s, open(t, save(t, s)))
	if _, err := s.Client.Compact(t.Context(), s.Revision(t)-100, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	sameAsEtcd(t, s, open(t, save(t, s)))
	busy(t, s, 200)
	sameAsEtcd(t, s, open(t, save(t, s)))
	// Everything deleted, and compacted away: the newest revision is that of the compaction alone.
	if _, err := s.Client.Delete(t.Context(), "\x00", clientv3.WithFromKey()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client.Compact(t.Context(), s.Revision(t), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	f := open(t, save(t, s))
	sameAsEtcd(t, s, f)
	if kvs, err := all(t.Context(), f, 0); err != nil || len(kvs) != 0 {
		t.Fatalf("%d keys, %v", len(kvs), err)
	}
}

func TestEmptyStoreEqualsEtcd(t *testing.T) {
	s := etcdtest.Start(t)
	sameAsEtcd(t, s, open(t, save(t, s)))
}

// A compaction that was begun and interrupted goes on when etcd starts: what it had not come to is no more to be read, and what
// it had deleted already is not missed.
func TestInterruptedCompaction(t *testing.T) {
	for _, deleted := range []int{0, 1, 50} {
		t.Run(fmt.Sprintf("%d writes deleted", deleted), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			inDir := func(c *embed.Config) { c.Dir = dir }
			s := etcdtest.Start(t, inDir)
			busy(t, s, 300)
			newest := s.Revision(t)
			s.Stop()
			db := filepath.Join(dir, "member", "snap", "db")
			interruptCompaction(t, db, newest-60, deleted)
			copied := filepath.Join(t.TempDir(), "db")
			copyFile(t, db, copied)
			s = etcdtest.Start(t, inDir) // it goes on with the compaction, in its own file
			sameAsEtcd(t, s, open(t, copied))
		})
	}
}

// interruptCompaction leaves a database as a compaction up to a revision leaves it that has deleted the first few writes.
func interruptCompaction(t *testing.T, path string, upTo int64, deleted int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		scheduled := append(binary.BigEndian.AppendUint64(nil, uint64(upTo)), '_', 0, 0, 0, 0, 0, 0, 0, 0)
		if err := tx.Bucket([]byte("meta")).Put([]byte("scheduledCompactRev"), scheduled); err != nil {
			return err
		}
		// What etcd keeps is the newest write of each key that is not after the revision.
		keys := tx.Bucket([]byte("key"))
		kept := sets.New[string]()
		var drop [][]byte
		c := keys.Cursor()
		for k, v := c.Last(); k != nil; k, v = c.Prev() {
			if int64(binary.BigEndian.Uint64(k)) > upTo {
				continue
			}
			name := string(v[2 : 2+int(v[1])])
			if kept.Has(name) || len(k) == 18 {
				drop = append(drop, append([]byte(nil), k...))
			}
			kept.Insert(name)
		}
		for i := range min(deleted, len(drop)) {
			if err := keys.Delete(drop[len(drop)-1-i]); err != nil { // the oldest first
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
