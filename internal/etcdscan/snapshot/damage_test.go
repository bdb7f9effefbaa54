package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

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
		// While it is read, an etcd could take it.
		f := open(t, path)
		etcds, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Flock(int(etcds.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			t.Errorf("an etcd would have to wait: %v", err)
		}
		etcds.Close()
		f.Close()
		after, err := os.Stat(path)
		now, readErr := os.ReadFile(path)
		if err != nil || readErr != nil || !after.ModTime().Equal(before.ModTime()) || string(now) != string(content) {
			t.Fatalf("the file is another one, %v, %v", err, readErr)
		}
	}
}
