package snapshot_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/snapshot"
)

// Etcd writes its log first, and the database later: a copy of both may have writes in the log alone, which an etcd that is started
// on it would have.
func TestLogGoesOnBehindTheDatabase(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	// One that does not wait for the disk makes no room behind its pages, by which its own file is told from a snapshot.
	inDir := func(c *embed.Config) { c.Dir, c.UnsafeNoFsync = dir, false }
	s := etcdtest.Start(t, inDir)
	s.Put(t, "/registry/secrets/default/a", "k8s:enc:aescbc:v1:key2:x")
	s.Stop()
	before := filepath.Join(t.TempDir(), "db")
	copyFile(t, filepath.Join(dir, "member", "snap", "db"), before)
	if _, whole, err := scan(t.Context(), dir); err != nil || !whole {
		t.Fatalf("as etcd left it: whole %v, %v", whole, err)
	}
	s = etcdtest.Start(t, inDir)
	s.Put(t, "/registry/secrets/default/a", "k8s:enc:aescbc:v1:key1:late")
	s.Stop()
	copyFile(t, before, filepath.Join(dir, "member", "snap", "db"))
	for _, path := range []string{dir, filepath.Join(dir, "member", "snap", "db")} {
		if _, whole, err := scan(t.Context(), path); err != nil || whole {
			t.Errorf("%s: whole %v, %v", path, whole, err)
		}
	}
	if _, whole, err := scan(t.Context(), before); err != nil || whole {
		t.Errorf("the database alone: whole %v, %v", whole, err)
	}
}

// A copy that was made while etcd wrote can be sound for bolt and lack what was written last. No revision may be missing behind the
// last compaction, wherever the reading began.
func TestMissingRevisionIsDoubted(t *testing.T) {
	data, want := healthy(t)
	for _, which := range []int{1, 2, 77, 200} {
		path := write(t, data[:len(data)-32])
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			keys := tx.Bucket([]byte("key"))
			c := keys.Cursor()
			k, _ := c.Last()
			revision := binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(k)-uint64(which))
			for k, _ := c.Seek(revision); k != nil && string(k[:8]) == string(revision); k, _ = c.Seek(revision) {
				if err := keys.Delete(k); err != nil {
					return err
				}
			}
			return nil
		})
		if closeErr := db.Close(); err != nil || closeErr != nil {
			t.Fatal(err, closeErr)
		}
		seen, whole, err := scan(t.Context(), path)
		if err != nil || whole {
			t.Errorf("revision %d from the end is gone: whole %v, %v (%d keys of %d)", which, whole, err, len(seen), len(want))
		}
	}
}

// What lies beside a file is found by whatever name the file has.
func TestLogIsFoundByAnyName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	inDir := func(c *embed.Config) { c.Dir = dir }
	s := etcdtest.Start(t, inDir)
	s.Put(t, "/registry/secrets/default/a", "k8s:enc:aescbc:v1:key2:x")
	s.Stop()
	db := filepath.Join(dir, "member", "snap", "db")
	before := filepath.Join(t.TempDir(), "db")
	copyFile(t, db, before)
	s = etcdtest.Start(t, inDir)
	s.Put(t, "/registry/secrets/default/a", "k8s:enc:aescbc:v1:key1:late")
	s.Stop()
	copyFile(t, before, db)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(db, link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(dir, "member", "snap"))
	for _, name := range []string{"db", ".", "../snap/db", link} {
		if _, whole, err := scan(t.Context(), name); err != nil || whole {
			t.Errorf("%s: whole %v, %v", name, whole, err)
		}
	}
}

// A log that was cut, or that ends in something else than a record, tells nothing of what the database lacks.
func TestLogThatTellsNothing(t *testing.T) {
	for name, damage := range map[string]func(data []byte, at int) []byte{
		"it ends before the database": func(data []byte, at int) []byte { return append(data[:at:at], make([]byte, len(data)-at)...) },
		"it is torn":                  func(data []byte, at int) []byte { data[at] = 0xff; return data },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			s := etcdtest.Start(t, func(c *embed.Config) { c.Dir = dir })
			for i := range 20 {
				s.Put(t, fmt.Sprintf("/registry/secrets/default/%d", i), "k8s:enc:aescbc:v1:key2:marker")
			}
			s.Stop()
			if _, whole, err := scan(t.Context(), dir); err != nil || !whole {
				t.Fatalf("whole %v, %v", whole, err)
			}
			segments, err := filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal"))
			if err != nil || len(segments) != 1 {
				t.Fatal(segments, err)
			}
			data, err := os.ReadFile(segments[0])
			if err != nil {
				t.Fatal(err)
			}
			at := bytes.Index(data, []byte("k8s:enc:aescbc:v1:key2:marker")) / 8 * 8
			if err := os.WriteFile(segments[0], damage(data, at), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, whole, err := scan(t.Context(), dir); err != nil || whole {
				t.Errorf("whole %v, %v", whole, err)
			}
		})
	}
}

// To open a pipe is to wait for whoever writes to it.
func TestPipeIsRefused(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Open(pipe); err == nil {
		t.Error("a pipe was opened")
	}
}

// Whoever copies the file of an etcd that writes to it may get pages of different moments, and no check of the pages finds all of
// such copies: bolt has nothing in a page by which to know when it was written. So no copy is believed without the log beside it.
func TestCopyOfARunningEtcd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := etcdtest.Start(t, func(c *embed.Config) { c.Dir, c.BackendBatchInterval, c.UnsafeNoFsync = dir, 2*time.Millisecond, false })
	const keys = 50
	for i := range keys {
		s.Put(t, fmt.Sprintf("/registry/secrets/default/%02d", i), "k8s:enc:aescbc:v1:key1:first")
	}
	ctx, stop := context.WithTimeout(t.Context(), 4*time.Second)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			resp, err := s.Client.Put(ctx, fmt.Sprintf("/registry/secrets/default/%02d", n%keys), "k8s:enc:aescbc:v1:key2:"+strings.Repeat("later", 100))
			if err == nil && n%100 == 99 {
				_, _ = s.Client.Compact(ctx, resp.Header.Revision-20)
			}
		}
	}()
	copies, reports := 0, 0
	copied := filepath.Join(t.TempDir(), "member")
	for ctx.Err() == nil {
		if err := os.RemoveAll(copied); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.MkdirAll(filepath.Join(copied, "snap"), 0o700), os.MkdirAll(filepath.Join(copied, "wal"), 0o700)); err != nil {
			t.Fatal(err)
		}
		db := filepath.Join(copied, "snap", "db")
		if err := os.WriteFile(db, slowCopy(t, filepath.Join(dir, "member", "snap", "db")), 0o600); err != nil {
			t.Fatal(err)
		}
		copies++
		if _, whole, err := scan(t.Context(), db); err == nil && whole {
			t.Fatalf("copy %d is believed without its log", copies)
		}
		// As cp -r does it: the log comes after the database.
		segments, _ := filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal"))
		for _, segment := range segments {
			copyFile(t, segment, filepath.Join(copied, "wal", filepath.Base(segment)))
		}
		seen, whole, err := scan(t.Context(), copied)
		if err == nil {
			reports++
		}
		if err == nil && whole {
			newest := slices.Max(slices.Collect(maps.Values(seen)))
			want := make(keysSeen)
			for revision := int64(2); revision <= newest; revision++ {
				want[fmt.Sprintf("/registry/secrets/default/%02d", (revision-2)%keys)] = revision
			}
			if !maps.Equal(seen, want) {
				t.Fatalf("copy %d at revision %d has %d keys, etcd has %d, and all seems well", copies, newest, len(seen), len(want))
			}
		}
	}
	<-done
	t.Logf("%d copies, %d reports", copies, reports)
	if copies < 3 || reports == 0 {
		t.Errorf("%d copies, %d reports: too few to tell", copies, reports)
	}
}

// slowCopy reads a file page by page, while it changes.
func slowCopy(t *testing.T, path string) (data []byte) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	page := make([]byte, 4096)
	for {
		n, err := file.Read(page)
		data = append(data, page[:n]...)
		if errors.Is(err, io.EOF) {
			return data
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(data) < 1<<20 { // the rest is room
			time.Sleep(50 * time.Microsecond)
		}
	}
}
