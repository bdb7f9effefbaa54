package snapshot

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"os"
	"testing"
	"time"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

// inMemory is a file that was never written anywhere.
func inMemory(data []byte) (*File, error) {
	f := &File{path: "memory", mapped: data, digest: newDigest(data)}
	return f, f.begin()
}

// mend gives the two first pages the checksums that they would have, so that damage comes further than to them.
func mend(data []byte) {
	for _, at := range []int{0, 4096} {
		if len(data) >= at+pageHeader+metaSize {
			sum := fnv.New64a()
			sum.Write(data[at+pageHeader : at+pageHeader+56])
			binary.LittleEndian.PutUint64(data[at+pageHeader+56:], sum.Sum64())
		}
	}
}

// FuzzPages reads whatever there is as pages of etcd's: nothing may panic, run for ever, or hand out what is outside of the file.
// The seed is the database of a real etcd, with a few keys, older revisions and a compaction.
func FuzzPages(f *testing.F) {
	seed, err := os.ReadFile("testdata/etcd-3.7.db")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed, false)
	f.Add(seed, true)
	f.Add(seed[:3*4096], true)
	f.Fuzz(func(t *testing.T, data []byte, mended bool) {
		if len(data) > 1<<20 {
			return
		}
		if mended {
			mend(data)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		file, err := inMemory(data)
		if err != nil {
			return
		}
		keys := make(map[string]int64)
		var readErr error
		for batch, err := range file.Read(ctx, etcdscan.Range{}, 0) {
			if readErr = err; err != nil {
				break
			}
			for _, kv := range batch {
				if _, twice := keys[kv.Key]; twice {
					t.Fatalf("%q came twice", kv.Key)
				}
				keys[kv.Key] = kv.ModRevision
			}
		}
		live := 0
		err = file.Writes(ctx, func(w Write) error {
			if w.Live {
				live++
			}
			return nil
		})
		if err == nil && readErr == nil && len(file.problems) == 0 && live != len(keys) {
			t.Fatalf("%d keys, and %d live writes", len(keys), live)
		}
		free := int64(0)
		_ = file.Free(ctx, func(offset int64, b []byte) error {
			if offset < 0 || offset+int64(len(b)) > int64(len(data)) {
				t.Fatalf("free bytes at %d outside of the file", offset)
			}
			free += int64(len(b))
			return nil
		})
		if free > int64(len(data)) {
			t.Fatalf("%d free bytes in %d", free, len(data))
		}
		_, _ = file.History(ctx, []etcdscan.Range{{}}, 0, func(etcdscan.KeyValue) error { return nil })
		_ = file.walkAll(ctx)
		if ctx.Err() != nil {
			t.Fatal("it never ends")
		}
	})
}
