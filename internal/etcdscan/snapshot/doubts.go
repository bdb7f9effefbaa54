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
	errTorn    = errors.New("etcd wrote to the file while it was copied: pages of different moments stand in it")
	errNoLog   = errors.New("it is a copy of a member's database without its write-ahead log: whether etcd wrote to it while it was copied nobody can tell")
	errMissing = errors.New("revisions are missing behind its last compaction: it was copied while etcd wrote to it, or is damaged")
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
		if err := f.checkRevisions(ctx); err != nil {
			return err
		}
		if known, err := f.checkLog(ctx); err != nil {
			return err
		} else if !known && f.ofMember() {
			return errNoLog
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
	again := reopened{of: f}
	db, err := bbolt.Open(f.path, 0, &bbolt.Options{ReadOnly: true, Timeout: time.Second, OpenFile: again.open})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return ErrChanged // an etcd has it
	}
	if err != nil {
		return fmt.Errorf("bolt does not open it: %w", err)
	}
	defer db.Close()
	again.release()
	return db.View(func(tx *bbolt.Tx) error {
		found := 0
		for range tx.Check() { // what it says quotes keys, and whatever it takes for one
			found++
		}
		if found > 0 {
			return fmt.Errorf("bolt's own check finds it damaged in %d places", found)
		}
		return nil
	})
}

// checkRevisions makes sure that every revision behind the last compaction is there: etcd leaves none out. A copy that was made while
// etcd wrote can be sound for bolt and lack some, where pages were used again between the reading of two of them.
func (f *File) checkRevisions(ctx context.Context) error {
	if _, err := f.indexAt(ctx, f.newest); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case len(f.problems) > 0:
		return several(f.problems)
	case f.missing != 0:
		return errMissing
	}
	return nil
}

// ofMember tells whether the file is one that etcd wrote to, and no snapshot that has lost its digest: etcd makes room behind the pages
// of its own, unless it runs with --unsafe-no-fsync.
func (f *File) ofMember() bool { return uint64(len(f.data)) > f.meta.pages*f.pageSize }

// checkLog makes sure that the write-ahead log beside a copied database ends with the last entry that the database has: an etcd that is
// started on both would have what comes behind it. That is also the only proof that etcd had stopped when both were copied. Known is
// false if there is no log.
func (f *File) checkLog(ctx context.Context) (known bool, err error) {
	snap := filepath.Dir(f.real)
	if filepath.Base(snap) != "snap" {
		return false, nil
	}
	segments, err := wal.Open(filepath.Join(filepath.Dir(snap), "wal"))
	if errors.Is(err, wal.ErrNoSegments) || errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	ahead, last := 0, uint64(0)
	for put, err := range segments.Puts(ctx) {
		if err != nil {
			return true, err
		}
		if put.Index > f.applied {
			ahead, last = ahead+1, put.Index
		}
	}
	if ahead > 0 {
		return true, fmt.Errorf("the write-ahead log beside it goes on behind it: %d writes up to entry %d, where the database has entry %d last", ahead, last, f.applied)
	}
	const unknown = "whether the write-ahead log beside it goes on behind it is not known: "
	switch state := segments.State(); {
	case len(state.Damage) > 0:
		b := state.Damage[0]
		return true, fmt.Errorf(unknown+"%s at byte %d: %w", b.Segment, b.Offset, b.Cause)
	case state.Torn != nil: // as a crash leaves it, and as damage does
		return true, fmt.Errorf(unknown+"%s at byte %d: %w", state.Torn.Segment, state.Torn.Offset, state.Torn.Cause)
	case state.LastIndex < f.applied:
		return true, fmt.Errorf(unknown+"it ends at entry %d, and the database has entry %d", state.LastIndex, f.applied)
	}
	return true, nil
}

// reopened is the file as bolt opens it once more, unless it was replaced.
type reopened struct {
	of   *File
	file *os.File
}

func (r *reopened) open(path string, _ int, _ os.FileMode) (*os.File, error) {
	again, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := again.Stat(); err != nil || !os.SameFile(info, r.of.opened) {
		again.Close()
		return nil, ErrChanged
	}
	r.file = again
	return again, nil
}

// release gives back the lock that bolt takes on the file: an etcd that is started meanwhile must not have to wait.
func (r *reopened) release() { unlock(r.file) }

// walkAll walks every bucket, those of etcd's that are not read included, the list of free pages, and the pages that are free.
func (f *File) walkAll(ctx context.Context) error {
	return guarded(func() error {
		reached, err := f.reached(ctx)
		if err != nil {
			return err
		}
		if err := f.checkFreelist(reached); err != nil {
			return err
		}
		if !f.ofMember() {
			return nil // etcd may have used free pages while it sent a snapshot
		}
		for id := uint64(2); id < uint64(len(f.data))/f.pageSize; id++ {
			if (id >= f.meta.pages || !reached.has(id)) && f.newer(id) {
				return errTorn
			}
		}
		return nil
	})
}

// newer tells whether a page that belongs to nothing holds what was written after all that does: etcd wrote to the file while it was
// copied, so that pages of different moments stand in it.
func (f *File) newer(id uint64) bool {
	p, overflow := parsePage(f.data[id*f.pageSize : (id+1)*f.pageSize])
	end := (id + 1 + overflow) * f.pageSize
	if p.id != id || p.flags != leafPage || overflow > uint64(len(f.data))/f.pageSize || end > uint64(len(f.data)) {
		return false
	}
	p.bytes = f.data[id*f.pageSize : end]
	if p.check() != nil {
		return false
	}
	for i := range p.count {
		_, key, value, err := p.leaf(i)
		if err != nil {
			return false
		}
		revision, is := parseRevision(key)
		compacted, was := parseRevision(value)
		switch {
		case is && revision.main > f.newest:
			return true
		case string(key) == consistentIndex && len(value) == 8 && be64(value) > f.applied:
			return true
		case (string(key) == scheduledCompact || string(key) == finishedCompact) && was && compacted.main > f.compacted:
			return true
		}
	}
	return false
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
			return damaged(p.id, "it lists a page as free that is not, or that the file does not have")
		}
	}
	return nil
}
