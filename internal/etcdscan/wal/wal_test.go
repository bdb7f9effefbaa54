package wal

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	etcdwal "go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
)

// copyDir copies a directory of files, of which some may go away meanwhile.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(from, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, entry.Name()), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// fingerprint is all there is to see of the files in dir.
func fingerprint(t testing.TB, dir string) map[string]string {
	t.Helper()
	prints := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		prints[entry.Name()] = fmt.Sprint(info.Mode(), info.ModTime(), info.Size(), sha256.Sum256(data))
	}
	return prints
}

// readDir reads a directory, sees that nothing in it changed, and compares with etcd's own reader.
func readDir(t testing.TB, dir string) ([]write, State) {
	t.Helper()
	before := fingerprint(t, dir)
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	writes, state := read(t, l)
	if !maps.Equal(before, fingerprint(t, dir)) {
		t.Fatal("a file has changed")
	}
	w, err := etcdwal.OpenForRead(zap.NewNop(), dir, &walpb.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_, hardState, entries, err := w.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var want []write
	for _, e := range entries {
		var request pb.InternalRaftRequest
		if e.GetType() != 0 {
			continue
		}
		if err := proto.Unmarshal(e.GetData(), &request); err != nil {
			t.Fatal(err)
		}
		want = append(want, flatten(e.GetIndex(), &request)...)
	}
	if !slices.Equal(writes, want) {
		t.Fatalf("read %d puts, etcd reads %d", len(writes), len(want))
	}
	if state.Commit != hardState.GetCommit() || state.LastIndex != entries[len(entries)-1].GetIndex() {
		t.Errorf("%+v, and etcd has %v and %d entries", state, hardState, len(entries))
	}
	return writes, state
}

// fill writes several megabytes in every way that there is, and returns all puts in their order.
func fill(t testing.TB, client *clientv3.Client) []write {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	sizes := rand.New(random)
	var want []write
	next := func(size int) write {
		value := make([]byte, size)
		random.Read(value)
		if len(want)%5 == 0 {
			clear(value[size/4 : size/2]) // sectors of zeros are not torn by themselves
		}
		w := write{key: fmt.Sprintf("/registry/secrets/default/s%03d", len(want)), value: string(value)}
		want = append(want, w)
		return w
	}
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 250 {
		w := next(sizes.IntN(20_000))
		if i%2 == 0 {
			_, err := client.Put(t.Context(), w.key, w.value)
			try(err)
			continue
		}
		_, err := createTxn(t, client, w.key, w.value)
		try(err)
	}
	large := next(1_400_000)
	_, err := client.Put(t.Context(), large.key, large.value)
	try(err)

	refused := next(3000)
	resp, err := client.Txn(t.Context()).If(clientv3.Compare(clientv3.ModRevision(refused.key), ">", 0)).
		Then(clientv3.OpPut(refused.key, refused.value)).Else(clientv3.OpGet(refused.key)).Commit()
	try(err)
	if resp.Succeeded {
		t.Fatal("a put was to be refused")
	}
	a, b, c := next(100), next(2000), next(0)
	inner := clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut(a.key, a.value)}, []clientv3.Op{clientv3.OpPut(b.key, b.value)})
	_, err = client.Txn(t.Context()).Then(inner, clientv3.OpDelete("/registry/x")).Else(clientv3.OpPut(c.key, c.value)).Commit()
	try(err)

	lease, err := client.Grant(t.Context(), 3600)
	try(err)
	leased := next(500)
	_, err = client.Put(t.Context(), leased.key, leased.value, clientv3.WithLease(lease.ID), clientv3.WithPrevKV())
	try(err)
	want = append(want, write{key: leased.key})
	_, err = client.Put(t.Context(), leased.key, "", clientv3.WithIgnoreValue())
	try(err)
	deleted, err := client.Delete(t.Context(), want[0].key)
	try(err)
	_, err = client.Compact(t.Context(), deleted.Header.Revision)
	try(err)
	return want
}

func TestPutsOfEtcd(t *testing.T) {
	segmentSize(t, 256<<10)
	data := t.TempDir()
	dir := filepath.Join(data, "member", "wal")
	var want []write
	config := func(cfg *embed.Config) { cfg.Dir, cfg.SnapshotCount, cfg.MaxWalFiles = data, 100, 0 }
	t.Run("running", func(t *testing.T) {
		server := etcdtest.Start(t, config)
		want = fill(t, server.Client)
		ctx, cancel := context.WithCancel(t.Context())
		late := make(chan int)
		go func() {
			n := 0
			for ctx.Err() == nil {
				if _, err := server.Client.Put(ctx, fmt.Sprintf("/late/%d", n), strings.Repeat("late", 1000)); err == nil {
					n++
				}
			}
			late <- n
		}()
		for range 5 {
			writes, state := readDir(t, copyDir(t, dir))
			if len(state.Damage) > 0 || state.Segments < 10 || state.Bytes < 3<<20 {
				t.Errorf("%+v", state)
			}
			checkWrites(t, writes[:min(len(want), len(writes))], want)
			for i, w := range writes[len(want):] {
				if w.key != fmt.Sprintf("/late/%d", i) {
					t.Fatalf("%s is late put %d", w.key, i)
				}
			}
		}
		cancel()
		for i := range <-late {
			want = append(want, write{key: fmt.Sprintf("/late/%d", i), value: strings.Repeat("late", 1000)})
		}
	})
	t.Run("stopped", func(t *testing.T) {
		writes, state := readDir(t, copyDir(t, dir))
		if !state.Complete() || len(state.Rest) > 0 || state.LastIndex != state.Commit {
			t.Errorf("%+v", state)
		}
		// The last late put may have been made without an answer.
		checkWrites(t, writes[:min(len(want), len(writes))], want)
		if len(writes) > len(want)+1 {
			t.Errorf("%d puts, want %d", len(writes), len(want))
		}
		want = writes
	})
	t.Run("started again", func(t *testing.T) {
		t.Run("running", func(t *testing.T) {
			etcdtest.Start(t, config, func(cfg *embed.Config) { cfg.MaxWalFiles = 3 }).Put(t, "/again", "again")
		})
		// etcd may have removed the segments before its last snapshots. Its reader then finds no beginning; its decoder has to do.
		writes, state := compare(t, os.DirFS(dir))
		if n := len(writes) - 1; !state.Complete() || n < 0 || n > len(want) || writes[n].key != "/again" || !slices.Equal(writes[:n], want[len(want)-n:]) {
			t.Errorf("%d puts, want the last of %d, and another: %+v", len(writes), len(want), state)
		}
	})
}

func TestStopEarly(t *testing.T) {
	l, err := open("wal", loadFixture(t, "etcd-3.7"))
	if err != nil {
		t.Fatal(err)
	}
	for range l.Puts(t.Context()) {
		break
	}
	if state := l.State(); state.Ended || state.Complete() {
		t.Errorf("stopped early: %+v", state)
	}
	writes, state := read(t, l)
	if checkWrites(t, writes, fixtureWrites()); !state.Complete() {
		t.Errorf("from the beginning again: %+v", state)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	n := 0
	for _, err := range l.Puts(ctx) {
		n++
		last = err
		cancel()
	}
	if n != 2 || !errors.Is(last, context.Canceled) || l.State().Complete() {
		t.Errorf("cancelled: %d steps, %v, %+v", n, last, l.State())
	}
}

func BenchmarkPuts(b *testing.B) {
	w := newSegment(0)
	put, err := proto.Marshal(&pb.InternalRaftRequest{Put: &pb.PutRequest{Key: []byte(fixtureKey(0)), Value: make([]byte, 1100)}})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 50_000 {
		w.entry(normalEntry, uint64(i+1), put)
	}
	dir := b.TempDir()
	for name, data := range map[string][]byte{"records": w.out, "zeros": append(slices.Clip(newSegment(0).out), make([]byte, 64_000_000)...)} {
		b.Run(name, func(b *testing.B) {
			if err := os.WriteFile(filepath.Join(dir, segmentA), data, 0o600); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				l, err := Open(dir)
				if err != nil {
					b.Fatal(err)
				}
				if _, state := read(b, l); !state.Complete() {
					b.Fatalf("%+v", state)
				}
			}
		})
	}
}
