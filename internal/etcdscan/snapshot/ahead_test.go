package snapshot_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
)

// many writes so many keys that a reading of them goes ahead.
func many(t *testing.T, s *etcdtest.Server) {
	t.Helper()
	for from := 0; from < 4000; from += 100 {
		var ops []clientv3.Op
		for i := from; i < from+100; i++ {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("/registry/secrets/team-%d/name-%d", i%7, i), strings.Repeat("v", 300+i%50)))
		}
		if _, err := s.Client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadAhead(t *testing.T) {
	s := etcdtest.Start(t)
	many(t, s)
	path := save(t, s)
	f := open(t, path)
	sameAsEtcd(t, s, f)
	read := func(each func(batch []etcdscan.KeyValue) bool) (n int, last error) {
		for batch, err := range f.Read(t.Context(), etcdscan.Range{}, 0) {
			if err != nil {
				return n, err
			}
			if n += len(batch); !each(batch) {
				break
			}
		}
		return n, nil
	}
	if n, err := read(func([]etcdscan.KeyValue) bool { return false }); err != nil || n >= 4000 {
		t.Errorf("given up after %d keys, %v", n, err)
	}
	n, err := read(func([]etcdscan.KeyValue) bool {
		if err := os.Truncate(path, 8192); err != nil {
			t.Fatal(err)
		}
		return true
	})
	if err == nil || n >= 4000 {
		t.Errorf("cut off while it was read: %d keys, and no error", n)
	}
}

// Without its digest a file is no proof, and the program does not leave it out.
func TestStoppedDigestIsNoProof(t *testing.T) {
	s := etcdtest.Start(t)
	many(t, s)
	path := save(t, s)
	proofs := 0
	for range 20 {
		f := open(t, path)
		f.StopDigest()
		_, _, err := f.Digest(t.Context())
		if doubts := f.Doubts(t.Context()); (err == nil) != (doubts == nil) {
			t.Fatalf("%v, but %v", err, doubts)
		}
		if err == nil {
			proofs++ // it was done before
		}
	}
	if proofs == 20 {
		t.Error("the digest was never stopped")
	}
	for _, dir := range []string{"../../../cmd", "../../../internal"} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if strings.Contains(string(text), ".StopDigest(") {
				t.Errorf("%s leaves the digest out", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
