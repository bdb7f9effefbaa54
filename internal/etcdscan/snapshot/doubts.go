package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/svmctl/svmctl/internal/etcdscan/wal"
)

var (
	// ErrDigest is why a file is no proof whose digest is not the one at its end.
	ErrDigest = errors.New("the file is not what it was when it was made: the SHA-256 at its end is of something else")
	// ErrChanged is why a file is no proof that changed while it was read.
	ErrChanged = errors.New("the file was changed while it was read")
)

// Doubts implements etcdscan.Doubter. What was read is no proof where the file is not what etcd wrote, where pages of it could not
// be read, and where a file without a digest does not pass bolt's own check.
func (f *File) Doubts(ctx context.Context) error {
	_, integrity, err := f.Digest(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	problems := f.problems
	f.mu.Unlock()
	switch {
	case integrity == Wrong && len(problems) > 0:
		return fmt.Errorf("%w, and %w", ErrDigest, several(problems))
	case integrity == Wrong:
		return ErrDigest
	case len(problems) > 0:
		return several(problems)
	}
	if integrity == Absent {
		if err := f.check(ctx); err != nil {
			return err
		}
		if err := f.checkLog(ctx); err != nil {
			return err
		}
	}
	if info, err := f.file.Stat(); err != nil || info.Size() != f.opened.Size() || !info.ModTime().Equal(f.opened.ModTime()) || inUse(f.file) {
		return ErrChanged
	}
	return nil
}

func several(problems []error) error {
	if len(problems) == 1 {
		return problems[0]
	}
	return fmt.Errorf("%w, and so are %d more places", problems[0], len(problems)-1)
}

// check has bolt check the file, which takes some 100 bytes of memory for each of its pages. All pages were walked before: bolt
// believes what they say of their size, and of what lies below them. It finds the free pages itself, inside of the check: where that
// panics, the check says so.
func (f *File) check(ctx context.Context) error {
	if err := f.walkAll(ctx); err != nil {
		return err
	}
	db, err := bbolt.Open(f.path, 0, &bbolt.Options{ReadOnly: true, Timeout: time.Second, OpenFile: f.reopen})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return ErrChanged // an etcd has it
	}
	if err != nil {
		return fmt.Errorf("bolt does not open it: %w", err)
	}
	defer db.Close()
	return db.View(func(tx *bbolt.Tx) error {
		var first error
		found := 0
		for err := range tx.Check(bbolt.WithKVStringer(noKeys{})) {
			if found++; first == nil {
				first = err
			}
		}
		if first != nil {
			return fmt.Errorf("bolt's own check finds it damaged in %d places, the first: %w", found, first)
		}
		return nil
	})
}

// checkLog makes sure that the write-ahead log beside a copied database holds no write that the database does not have: an etcd that is
// started on both would.
func (f *File) checkLog(ctx context.Context) error {
	snap := filepath.Dir(f.path)
	if filepath.Base(snap) != "snap" {
		return nil
	}
	segments, err := wal.Open(filepath.Join(filepath.Dir(snap), "wal"))
	if errors.Is(err, wal.ErrNoSegments) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ahead, last := 0, uint64(0)
	for put, err := range segments.Puts(ctx) {
		if err != nil {
			return err
		}
		if put.Index > f.applied {
			ahead, last = ahead+1, put.Index
		}
	}
	if ahead > 0 {
		return fmt.Errorf("the write-ahead log beside it goes on behind it: %d writes up to entry %d, where the database has entry %d last", ahead, last, f.applied)
	}
	if broken := segments.State().Damage; len(broken) > 0 {
		return fmt.Errorf("whether the write-ahead log beside it goes on behind it is not known: %s at byte %d: %w", broken[0].Segment, broken[0].Offset, broken[0].Cause)
	}
	return nil
}

// noKeys keeps bolt's check from quoting what it finds.
type noKeys struct{}

func (noKeys) KeyToString([]byte) string   { return "…" }
func (noKeys) ValueToString([]byte) string { return "…" }

// reopen opens the file once more, unless it was replaced.
func (f *File) reopen(path string, _ int, _ os.FileMode) (*os.File, error) {
	again, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := again.Stat(); err != nil || !os.SameFile(info, f.opened) {
		again.Close()
		return nil, ErrChanged
	}
	return again, nil
}

// walkAll walks every bucket, those of etcd's that are not read included, and the list of free pages.
func (f *File) walkAll(ctx context.Context) error {
	return guarded(func() error {
		reached, err := f.reached(ctx)
		if err != nil {
			return err
		}
		return f.checkFreelist(reached)
	})
}

// reached is every page that belongs to some bucket. The first page that cannot be read is an error.
func (f *File) reached(ctx context.Context) (pageSet, error) {
	var first error
	seen, err := f.reach(ctx, func(err error) {
		if first == nil {
			first = err
		}
	}, func(page) error { return nil })
	if err != nil {
		return nil, err
	}
	return seen, first
}

// reach walks every bucket and hands each page to visit, branches included, and each that cannot be read to broken. It returns the
// set of those pages.
func (f *File) reach(ctx context.Context, broken func(error), visit func(page) error) (pageSet, error) {
	seen := newPageSet(f.meta.pages)
	t := tree{bolt: f.bolt, seen: seen, broken: broken, branch: visit}
	t.visit = func(p page) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if p.id != 0 { // what an inline bucket leaves is inside of the page that has it
			if err := visit(p); err != nil {
				return err
			}
		}
		for i := range p.count {
			flags, _, value, err := p.leaf(i)
			if err == nil && flags&bucketLeaf != 0 {
				var inner bucket
				if inner, err = parseBucket(p, value); err == nil {
					err = t.walkBucket(inner)
				}
			}
			if err != nil {
				return t.tolerate(err)
			}
		}
		return nil
	}
	return seen, t.descend(f.meta.root, 0)
}

// checkFreelist makes sure that the list of free pages names pages of the file.
func (f *File) checkFreelist(reached pageSet) error {
	if f.meta.freelist == noFreelist {
		return nil
	}
	p, err := f.page(f.meta.freelist)
	if err != nil {
		return err
	}
	count, body := uint64(p.count), p.bytes[pageHeader:]
	if p.count == 0xffff && len(body) >= 8 {
		count, body = le64(body), body[8:]
	}
	if p.flags != freePage || count > uint64(len(body))/8 {
		return damaged(p.id, "it is no list of free pages")
	}
	for i := range count {
		if id := le64(body[8*i:]); id >= f.meta.pages || reached.has(id) {
			return damaged(p.id, "it lists page %d as free", id)
		}
	}
	return nil
}
