package snapshot_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/snapshot"
)

// keysSeen is a sink that remembers which write of each key it was given.
type keysSeen map[string]int64

func (s keysSeen) Begin() { clear(s) }

func (s keysSeen) Take(r *etcdscan.Record, _ *etcdscan.Entry) error {
	s[r.Key] = r.ModRevision
	return nil
}

// scan reads everything there is in a file; whole tells whether svmctl would believe it.
func scan(ctx context.Context, path string) (seen keysSeen, whole bool, err error) {
	f, err := snapshot.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	if _, err := etcdscan.Roots(ctx, f, 0); err != nil {
		return nil, false, err
	}
	seen = make(keysSeen)
	res, err := etcdscan.Scan(ctx, etcdscan.Reading{Source: f, Scope: etcdscan.Scope{Ranges: []etcdscan.Range{{}}}}, seen)
	for _, told := range []error{err, res.Shortfall} {
		if told != nil && long.MatchString(segment.ReplaceAllString(told.Error(), "")) {
			return nil, true, fmt.Errorf("%q holds a number that could be a part of a value", told)
		}
	}
	return seen, err == nil && res.Shortfall == nil, err
}

var (
	// long is what no page, offset or revision of these tests is.
	long    = regexp.MustCompile(`[0-9]{8,}|[0-9a-f]{12,}`)
	segment = regexp.MustCompile(`[0-9a-f]{16}-[0-9a-f]{16}\.wal`)
)

func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "damaged.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// healthy is a snapshot with some history, its bytes, and what is in it.
func healthy(t *testing.T) (data []byte, want keysSeen) {
	t.Helper()
	s := etcdtest.Start(t)
	busy(t, s, 400)
	path := save(t, s)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, whole, err := scan(t.Context(), path)
	if err != nil || !whole || len(want) == 0 {
		t.Fatalf("%d keys, whole %v, %v", len(want), whole, err)
	}
	return data, want
}

func TestOneFlippedByteIsWrong(t *testing.T) {
	data, want := healthy(t)
	reports := 0
	for at := 0; at < len(data); at += 997 {
		bad := append([]byte(nil), data...)
		bad[at] ^= 0x40
		seen, whole, err := scan(t.Context(), write(t, bad))
		if whole {
			t.Fatalf("byte %d was changed, and all seems well", at)
		}
		if err == nil && len(seen) == len(want) {
			reports++
		}
	}
	if reports == 0 {
		t.Fatal("no damage left anything to report")
	}
}

// Without the digest nobody can tell whether a bit of a key or of a value was changed, but nothing may go missing in silence.
func TestRandomDamage(t *testing.T) {
	data, want := healthy(t)
	bare := data[:len(data)-32]
	seen, whole, err := scan(t.Context(), write(t, bare))
	if err != nil || !whole || !maps.Equal(seen, want) {
		t.Fatalf("without its digest: whole %v, %v", whole, err)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	found := make(map[string]int)
	for i := range 1000 {
		bad := append([]byte(nil), bare...)
		where, content := damage(rnd, &bad)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		seen, whole, err := scan(ctx, write(t, bad))
		if ctx.Err() != nil {
			t.Fatalf("damage %d (%s) never ends", i, where)
		}
		cancel()
		switch {
		case err != nil && whole:
			t.Fatalf("damage %d (%s): %v", i, where, err)
		case err != nil:
			found["no report"]++
		case !whole:
			found["doubted"]++
		case len(seen) < len(want), !content && !maps.Equal(seen, want):
			t.Fatalf("damage %d (%s): %d keys of %d, and all seems well", i, where, len(seen), len(want))
		default:
			found["not noticed"]++
		}
	}
	t.Log(found)
	for _, kind := range []string{"no report", "doubted", "not noticed"} {
		if found[kind] == 0 {
			t.Errorf("no damage ended in %q: the test does not reach it", kind)
		}
	}
}

// damage does one of the things that happen to files. Content tells that it may have hit a key or a value alone.
func damage(rnd *rand.Rand, data *[]byte) (what string, content bool) {
	d := *data
	pages := len(d) / 4096
	page := func() []byte { at := rnd.IntN(pages) * 4096; return d[at : at+4096] }
	switch rnd.IntN(8) {
	case 0:
		n := rnd.IntN(len(d))
		*data = d[:n]
		return fmt.Sprintf("cut off at %d", n), false
	case 1:
		n := rnd.IntN(pages) * 4096
		*data = d[:n]
		return fmt.Sprintf("cut off at page %d", n/4096), false
	case 2:
		clear(page())
		return "a page of zeros", false
	case 3:
		copy(page(), page())
		return "a page in the place of another", false
	case 4:
		p := page()
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
		return "a page of noise", false
	case 5:
		p := page()
		p[rnd.IntN(16)] ^= 1 << rnd.IntN(8)
		return "a bit of a page's head", false
	case 6:
		p := page()
		p[16+rnd.IntN(240)] ^= 1 << rnd.IntN(8)
		return "a bit of the elements", true // of a page of few they are content
	}
	at := rnd.IntN(len(d))
	d[at] ^= 1 << rnd.IntN(8)
	return fmt.Sprintf("a bit at %d", at), true
}

func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	for name, test := range map[string]struct {
		data []byte
		want error
	}{
		"empty":  {nil, snapshot.ErrForeign},
		"text":   {[]byte(fmt.Sprintf("%8192s", "no file of etcd's")), snapshot.ErrForeign},
		"zeros":  {make([]byte, 1<<20), snapshot.ErrForeign},
		"gzip":   {append([]byte{0x1f, 0x8b, 8}, make([]byte, 10_000)...), snapshot.ErrForeign},
		"little": {make([]byte, 100), snapshot.ErrForeign},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, test.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := snapshot.Open(path); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := snapshot.Open(dir); !errors.Is(err, snapshot.ErrNoDatabase) {
		t.Errorf("a directory of other files: %v", err)
	}
	if _, err := snapshot.Open(filepath.Join(dir, "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// The newer of two first pages is lost: what is left is a sound file of an older state.
func TestLostMetaIsDoubted(t *testing.T) {
	data, _ := healthy(t)
	for page := range 2 {
		bad := append([]byte(nil), data[:len(data)-32]...)
		clear(bad[page*4096+16 : page*4096+80])
		if _, whole, err := scan(t.Context(), write(t, bad)); err != nil || whole {
			t.Errorf("first page %d lost: whole %v, %v", page, whole, err)
		}
	}
}

func TestFileInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := etcdtest.Start(t, func(c *embed.Config) { c.Dir = dir })
	s.Put(t, "/registry/secrets/default/a", "k8s:enc:aescbc:v1:key1:x")
	if _, err := snapshot.Open(dir); !errors.Is(err, snapshot.ErrInUse) {
		t.Fatalf("%v", err)
	}
	s.Put(t, "/registry/secrets/default/a", "k8s:enc:aescbc:v1:key1:y")
	s.Stop()
	seen, whole, err := scan(t.Context(), dir)
	if err != nil || !whole || len(seen) != 1 {
		t.Fatalf("after etcd: %d keys, whole %v, %v", len(seen), whole, err)
	}
}

// A file that somebody cuts off or writes to while it is read ends in doubt, not in a crash.
func TestFileChangesWhileItIsRead(t *testing.T) {
	data, _ := healthy(t)
	for name, change := range map[string]func(path string) error{
		"cut off":    func(path string) error { return os.Truncate(path, 8192) },
		"written to": func(path string) error { return os.WriteFile(path, append(data, 1), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, data[:len(data)-32])
			f := open(t, path)
			if _, _, err := f.Digest(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond) // so that the time of the change is another
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			res, err := etcdscan.Scan(t.Context(), etcdscan.Reading{Source: f, Scope: etcdscan.Scope{Ranges: []etcdscan.Range{{}}}}, keysSeen{})
			if err == nil && res.Shortfall == nil {
				t.Fatal("all seems well")
			}
		})
	}
}

// Nothing that is done with a file changes it.
func TestFileStaysAsItIs(t *testing.T) {
	data, _ := healthy(t)
	for _, content := range [][]byte{data, data[:len(data)-32]} {
		path := write(t, content)
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, whole, err := scan(t.Context(), path); err != nil || !whole {
			t.Fatalf("whole %v, %v", whole, err)
		}
		after, err := os.Stat(path)
		now, readErr := os.ReadFile(path)
		if err != nil || readErr != nil || !after.ModTime().Equal(before.ModTime()) || string(now) != string(content) {
			t.Fatalf("the file is another one, %v, %v", err, readErr)
		}
	}
}

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
	if copies < 5 || reports == 0 {
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
