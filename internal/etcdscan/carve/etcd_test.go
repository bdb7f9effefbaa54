package carve

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
)

// write is one put of a plaintext value.
type write struct {
	key      string
	revision int64
}

// rotated leaves the files of an etcd in which secrets were stored in plaintext, encrypted, and compacted.
func rotated(t *testing.T, secrets int) (dir string, plaintext map[write][]byte) {
	t.Helper()
	plaintext = make(map[write][]byte)
	s := etcdtest.Start(t)
	for i := range secrets {
		name := fmt.Sprintf("name-%d", i)
		k := "/registry/secrets/ns/" + name
		value := secret(t, name, bytes.Repeat([]byte("data "), 10*i))
		plaintext[write{k, s.Put(t, k, string(value))}] = value
	}
	for w := range plaintext {
		put := clientv3.OpPut(w.key, string(ciphertext(200+int(w.revision))))
		_, err := s.Client.Txn(t.Context()).If(clientv3.Compare(clientv3.ModRevision(w.key), "=", w.revision)).Then(put).Commit()
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Client.Compact(t.Context(), s.Revision(t), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	for i := range secrets { // over a part of the pages that are free now
		s.Put(t, fmt.Sprintf("/registry/secrets/ns/name-%d", i), string(ciphertext(3000)))
	}
	s.Stop()
	return s.Etcd.Config().Dir, plaintext
}

func read(t *testing.T, pattern ...string) []byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q: %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEtcd compares with a search for the bytes that the test itself wrote.
func TestEtcd(t *testing.T) {
	const secrets = 200
	dir, plaintext := rotated(t, secrets)

	db := read(t, dir, "member", "snap", "db")
	got, want := make(map[write]bool), make(map[write]bool)
	ciphertexts := make(map[string]bool)
	for v := range Find(db) {
		if bytes.HasPrefix(v.Bytes, []byte("k8s\x00")) {
			w := write{string(v.Key), v.ModRevision}
			if v.Key == nil {
				continue // the page in front was used again
			}
			got[w] = true
			if !v.Cut && !bytes.Equal(v.Bytes, plaintext[w]) {
				t.Errorf("%v at %d: other bytes than were written", w, v.Offset)
			}
		} else {
			ciphertexts[string(v.Key)] = true
		}
	}
	tails := 0
	for w, value := range plaintext {
		kv := marshal(t, &mvccpb.KeyValue{Key: []byte(w.key), CreateRevision: w.revision, ModRevision: w.revision, Version: 1, Value: value})
		if bytes.Contains(db, kv[:bytes.Index(kv, []byte("k8s\x00"))+4]) {
			want[w] = true
		} else if bytes.Contains(db, []byte("canary-"+filepath.Base(w.key)+"\x1a")) {
			tails++
		}
	}
	t.Logf("db: of %d plaintext values the beginnings of %d are left, and of %d no more than the end", secrets, len(want), tails)
	if !maps.Equal(got, want) || len(want) == 0 {
		t.Errorf("found %d, want %d", len(got), len(want))
	}
	if len(ciphertexts) != secrets {
		t.Errorf("ciphertext of %d keys", len(ciphertexts))
	}

	clear(got)
	all := make(map[write]bool)
	for v := range Find(read(t, dir, "member", "wal", "0*.wal")) {
		if bytes.HasPrefix(v.Bytes, []byte("k8s\x00")) && !v.Cut {
			got[write{string(v.Key), v.ModRevision}] = true
		}
	}
	for w := range plaintext {
		all[write{w.key, 0}] = true
	}
	if !maps.Equal(got, all) {
		t.Errorf("WAL: found %d, want %d", len(got), len(all))
	}
}
