// Package snapshot reads what etcd keeps from a file, without an etcd: a snapshot, or a copy of a member's database. It never
// writes, and believes nothing that a damaged file says of itself.
package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

var (
	// ErrInUse is returned for the database of an etcd that is running.
	ErrInUse = errors.New("an etcd that is running has this file open")
	// ErrNoDatabase is returned for a directory that is no data directory of etcd.
	ErrNoDatabase = errors.New("the directory holds no member/snap/db")
	errIrregular  = errors.New("it is no regular file")
	errGone       = errors.New("the file was cut off while it was read")
)

// Buckets and keys of etcd's own.
const (
	keyBucket        = "key"
	metaBucket       = "meta"
	scheduledCompact = "scheduledCompactRev"
	finishedCompact  = "finishedCompactRev"
	consistentIndex  = "consistent_index"
)

// File is a snapshot, or a copied database. It is safe for concurrent use.
type File struct {
	*bolt
	path   string
	real   string // without links, from the root
	file   *os.File
	mapped []byte
	opened fs.FileInfo
	digest *digest
	keys   bucket

	newest    int64  // revision
	written   int64  // the newest revision of any write in it
	compacted int64  // revision; those before it are gone, or may be
	applied   uint64 // index of the last entry of the write-ahead log that the database has

	mu       sync.Mutex
	index    *index
	problems []error // of the pages; the first of them
	missing  int64   // revisions behind the last compaction that the index did not meet
}

// Open opens a file, or the database in a data directory of etcd.
func Open(path string) (*File, error) {
	path, err := database(path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("opening %s: %w", path, errIrregular) // to open a pipe is to wait for whoever writes to it
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the snapshot: %w", err)
	}
	f, err := OpenFile(path, file)
	if err != nil {
		file.Close()
	}
	return f, err
}

// OpenFile opens a file that is open already, and closes it in the end. Path is what it is called.
func OpenFile(path string, file *os.File) (*File, error) {
	f, err := open(path, file)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return f, nil
}

// database finds the file in a directory.
func database(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return path, nil // to open it tells why
	}
	for _, inside := range []string{"member/snap/db", "snap/db", "db"} {
		if db := filepath.Join(path, inside); isFile(db) {
			return db, nil
		}
	}
	return path, ErrNoDatabase
}

// realPath is where a file lies, or its path if that cannot be told: what lies beside it depends on it.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	return path
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func open(path string, file *os.File) (*File, error) {
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errIrregular
	case inUse(file):
		return nil, ErrInUse
	case info.Size() < 2*minPageSize:
		return nil, ErrForeign
	}
	mapped, err := mapFile(file, info.Size())
	if err != nil {
		return nil, err
	}
	f := &File{path: path, real: realPath(path), file: file, mapped: mapped, opened: info}
	f.digest = newDigest(mapped)
	if err := guarded(f.begin); err != nil {
		unmap(mapped)
		return nil, err
	}
	go f.digest.run()
	return f, nil
}

// begin reads what the first pages and the bucket meta say.
func (f *File) begin() error {
	pages, err := newBolt(f.digest.content())
	if err != nil {
		return err
	}
	if f.bolt = pages; pages.damage != nil {
		f.broken(pages.damage)
	}
	if len(f.digest.content())%512 != 0 {
		return ErrTruncated // it is neither whole pages nor such with a digest
	}
	buckets := f.buckets(newPageSet(f.meta.pages), f.broken)
	keys, haveKeys := buckets[keyBucket]
	own, haveMeta := buckets[metaBucket]
	switch {
	case (!haveKeys || !haveMeta) && len(f.problems) > 0:
		return f.problems[0]
	case !haveKeys || !haveMeta:
		return ErrNotEtcd
	}
	f.keys, f.newest = keys, 1
	f.readMeta(own)
	return f.findNewest()
}

// readMeta takes from etcd's own bucket which revisions were compacted. A compaction that was begun goes on when etcd is
// started: what it has not come to yet is no more to be read there.
func (f *File) readMeta(own bucket) {
	t := tree{bolt: f.bolt, seen: newPageSet(f.meta.pages), broken: f.broken}
	t.visit = func(p page) error {
		for i := range p.count {
			_, key, value, err := p.leaf(i)
			if err != nil {
				return t.tolerate(err)
			}
			switch string(key) {
			case scheduledCompact, finishedCompact:
				r, ok := parseRevision(value)
				if !ok {
					return t.tolerate(damaged(p.id, "what was compacted is no revision"))
				}
				f.compacted = max(f.compacted, r.main)
			case consistentIndex:
				if len(value) == 8 {
					f.applied = be64(value)
				}
			}
		}
		return nil
	}
	_ = t.walkBucket(own) // visit gives no error
	f.newest = max(f.newest, f.compacted)
}

var errEnough = errors.New("enough")

// findNewest finds the newest revision.
func (f *File) findNewest() error {
	t := tree{bolt: f.bolt, seen: newPageSet(f.meta.pages), broken: func(error) {}} // the index is made of all of it, and tells
	t.visit = func(p page) error {
		last := []byte(nil)
		return t.tolerate(p.eachRevision(&last, func(_ int, r revision, _ []byte) error {
			f.written = r.main
			f.newest = max(f.newest, r.main)
			return errEnough
		}))
	}
	if err := t.walkBucket(f.keys); err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return nil
}

// noteBroken is broken for whoever does not hold the lock.
func (f *File) noteBroken(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken(err)
}

// maxProblems is how many damaged pages are remembered.
const maxProblems = 100

func (f *File) broken(err error) {
	known := slices.ContainsFunc(f.problems, func(p error) bool { return p.Error() == err.Error() })
	if len(f.problems) < maxProblems && !known {
		f.problems = append(f.problems, err)
	}
}

// guarded runs f, which looks at the mapped file: that may be cut off by somebody else at any time.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if _, fault := r.(interface{ Addr() uintptr }); !fault {
			panic(r)
		}
		err = errGone
	}()
	return f()
}

// Path is the file that is read.
func (f *File) Path() string { return f.path }

// ModTime is when the file was last written to.
func (f *File) ModTime() time.Time { return f.opened.ModTime() }

// Close ends the reading. Nothing that came from the file may be used after it.
func (f *File) Close() error {
	f.digest.stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	unmapped := unmap(f.mapped)
	f.mapped, f.data, f.index = nil, nil, nil
	return errors.Join(unmapped, f.file.Close())
}

// Revision is the newest revision in the file.
func (f *File) Revision(context.Context) (int64, error) { return f.newest, nil }

// Compacted is the revision up to which older ones are gone; 0 for none.
func (f *File) Compacted() int64 { return f.compacted }

// Look reads one key as it is at the newest revision.
func (f *File) Look(ctx context.Context, k string) (kv etcdscan.KeyValue, found bool, err error) {
	for batch, err := range f.Read(ctx, etcdscan.Key(k), f.newest) {
		if err != nil {
			return etcdscan.KeyValue{}, false, err
		}
		for _, kv := range batch {
			kv.Value = bytes.Clone(kv.Value)
			return kv, true, nil
		}
	}
	return etcdscan.KeyValue{}, false, nil
}
