package snapshot

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"sort"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

// Pin implements etcdscan.Source.
func (f *File) Pin(_ context.Context, _ etcdscan.Range, revision int64) (etcdscan.Pin, error) {
	revision, err := f.revision(revision)
	return etcdscan.Pin{Revision: revision}, err
}

// revision is the one that is meant; 0 for the newest.
func (f *File) revision(r int64) (int64, error) {
	switch {
	case r == 0:
		return f.newest, nil
	case r > f.newest:
		return 0, fmt.Errorf("revision %d: %w (the newest is %d)", r, etcdscan.ErrFutureRevision, f.newest)
	case r < f.compacted:
		return 0, fmt.Errorf("revision %d: %w", r, etcdscan.ErrCompacted)
	}
	return r, nil
}

// Count implements etcdscan.Source.
func (f *File) Count(ctx context.Context, r etcdscan.Range, revision int64) (int64, error) {
	_, from, to, err := f.find(ctx, r, revision)
	return int64(to - from), err
}

// First implements etcdscan.Source.
func (f *File) First(ctx context.Context, r etcdscan.Range, revision int64) (k string, found bool, err error) {
	ix, from, to, err := f.find(ctx, r, revision)
	if err != nil || from == to {
		return "", false, err
	}
	err = guarded(func() error {
		key, err := f.keyAt(ix.places[from])
		k = string(key)
		return err
	})
	return k, err == nil, err
}

// find is the places of a range in the index of a revision.
func (f *File) find(ctx context.Context, r etcdscan.Range, revision int64) (ix *index, from, to int, err error) {
	if revision, err = f.revision(revision); err != nil {
		return nil, 0, 0, err
	}
	if ix, err = f.indexAt(ctx, revision); err != nil {
		return nil, 0, 0, err
	}
	err = guarded(func() error {
		var err error
		if from, err = f.search(ix, r.Start); err != nil {
			return err
		}
		if to = len(ix.places); r.End != "" {
			to, err = f.search(ix, r.End)
		}
		to = max(from, to)
		return err
	})
	return ix, from, to, err
}

const manyKeys = 100_000

func (f *File) indexAt(ctx context.Context, revision int64) (*index, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.index == nil || f.index.revision != revision {
		f.index = nil // not two at a time
		ix, err := f.makeIndex(ctx, revision)
		if err != nil {
			return nil, err
		}
		f.index = ix
		if len(ix.places) > manyKeys {
			runtime.GC() // to make it took ten times what it takes: else the heap may grow by as much again before that is given back
		}
	}
	return f.index, nil
}

// search is the number of the first key that is not before k.
func (f *File) search(ix *index, k string) (int, error) {
	var failed error
	n := sort.Search(len(ix.places), func(i int) bool {
		key, err := f.keyAt(ix.places[i])
		if err != nil {
			failed = err
		}
		return string(key) >= k
	})
	return n, failed
}

// Read implements etcdscan.Source. What it yields is a copy: who opens a value may do so in its place, and the file may be cut off
// by somebody else.
func (f *File) Read(ctx context.Context, r etcdscan.Range, revision int64) iter.Seq2[[]etcdscan.KeyValue, error] {
	return func(yield func([]etcdscan.KeyValue, error) bool) {
		ix, from, to, err := f.find(ctx, r, revision)
		if err != nil {
			yield(nil, err)
			return
		}
		if places := ix.places[from:to]; len(places) > batchKeys {
			f.readAhead(ctx, places, yield)
		} else {
			f.read(ctx, places, yield)
		}
	}
}

var (
	_ etcdscan.Source  = (*File)(nil)
	_ etcdscan.Doubter = (*File)(nil)
)
