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
	errNoLog   = errors.New("it is a copy of a member's database without its write-ahead log: whether etcd wrote to it while it was copied nobody can tell. Copy the whole data directory of a stopped member, or take a snapshot")
	errMissing = errors.New("revisions are missing: it was copied while etcd wrote to it, or is damaged")
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
	case f.missing != 0, f.compacted > f.written && f.written > 0:
		// The newest write may be a deletion that was compacted: that cannot be told from one that is lost.
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
		return true, fmt.Errorf("the write-ahead log beside it goes on behind it, up to entry %d (writes: %d), where the database has entry %d last", last, ahead, f.applied)
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
