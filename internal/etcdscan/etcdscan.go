// Package etcdscan reads every key of a scope at one revision and tells, per object, how it is encrypted and at which
// apiVersion it is stored. It never keeps or returns a byte of a value, and it never writes.
package etcdscan

import (
	"context"
	"errors"
	"iter"
)

var (
	// ErrCompacted is returned by a Source when the revision asked for is no longer kept. A scan of the newest
	// revision starts again at a newer one.
	ErrCompacted = errors.New("the revision has been compacted")
	// ErrFutureRevision is returned by a Source when the revision asked for does not exist yet.
	ErrFutureRevision = errors.New("the revision does not exist yet")
	// ErrUnsupportedStore is returned by a Source that recognised a store whose answers cannot carry a proof.
	ErrUnsupportedStore = errors.New("the store is a kine that cannot be read safely")
	// ErrPermission is returned by a Source when the credentials may not read the range.
	ErrPermission = errors.New("permission denied")
)

// KeyValue is one key as it is at the pinned revision. Value belongs to the Source: it is only valid until the next
// step of the iteration.
type KeyValue struct {
	Key            string
	Value          []byte
	CreateRevision int64
	ModRevision    int64
	Version        int64 // writes since the key was created, from 1
	Lease          int64 // 0 for none
}

// Range holds the keys k with Start <= k < End. An empty End means no upper bound.
type Range struct{ Start, End string }

// Prefix is the range of all keys that begin with p.
func Prefix(p string) Range { return Range{Start: p, End: prefixEnd(p)} }

// Key is the range that holds k alone.
func Key(k string) Range { return Range{Start: k, End: k + "\x00"} }

func prefixEnd(p string) string {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] < 0xff {
			return p[:i] + string([]byte{p[i] + 1})
		}
	}
	return ""
}

// Pin is the state of the store that a scan reads.
type Pin struct {
	Revision  int64  // every read of the scan is at this revision
	ClusterID uint64 // 0 for a file
}

// Source is a store that can be read at one revision. Implementations retry what can be retried without harm to the
// proof; an error from any method means that the store could not be looked at.
type Source interface {
	// Pin fixes a revision: the newest one, linearizably, or the one given if it is not 0. The range is one that the
	// caller may read.
	Pin(ctx context.Context, r Range, revision int64) (Pin, error)
	// Count is the store's own count of the keys in r, taken apart from any Read.
	Count(ctx context.Context, r Range, revision int64) (int64, error)
	// First is the first key in r.
	First(ctx context.Context, r Range, revision int64) (key string, found bool, err error)
	// Read yields all keys in r in their order, in batches whose size in memory is bounded. After an error it ends.
	Read(ctx context.Context, r Range, revision int64) iter.Seq2[[]KeyValue, error]
}

// Doubter is a Source that can tell, once it was read, why what it gave is no proof.
type Doubter interface {
	Source
	// Doubts is nil if everything that was read is what was once written, and all of it. A scan that cannot say so is not whole.
	Doubts(ctx context.Context) error
}
