package live

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

var (
	// ErrSeveralKine is returned by Open for several endpoints of kine, which does not tell one store from another: their
	// answers could not be kept apart.
	ErrSeveralKine = errors.New("kine does not say which store an endpoint serves, so that only one can be read")
	// ErrNoSnapshot is returned where a snapshot is asked of kine, which has none.
	ErrNoSnapshot = errors.New("kine gives no snapshot: its database has means of its own")

	errShortPage = errors.New("kine sent fewer keys of a page than it had named")
)

const (
	// lowest and highest bound what kine lists. A key beyond them is counted and never named, so that the sum shows it.
	lowest, highest = "\x00", "\x7f"
	// everything, as both ends of a range, has kine count all keys, by no order. The list of the same range at a revision
	// is empty.
	// https://github.com/k3s-io/kine/blob/v0.17.5/pkg/server/list.go
	everything = "\x00"
	// compactRevKey is kine's own row, which holds the revision that it has compacted to. The apiserver's key of that
	// name is kept under apiserverRevKey, and named like the first in every answer:
	// https://github.com/k3s-io/kine/blob/v0.17.5/pkg/server/kv.go
	compactRevKey   = "compact_rev_key"
	apiserverRevKey = "compact_rev_key_apiserver"
	// afterKey, appended to a key, ends a range that begins with the key. "\x00" would hold the key alone, but PostgreSQL
	// does not take it; and what is less than a blank would come before the key itself for MySQL.
	afterKey = "!"
	// settling is how long a revision is left alone before it is read. A database may show a row before one with a lower
	// number: the number is taken when a write begins. A write that takes longer than this, and is not over when all has
	// been read, counts as one that began later; kine gives up on it as well:
	// https://github.com/k3s-io/kine/blob/v0.17.5/pkg/logstructured/sqllog/sql.go (canSkipRevision)
	settling = time.Second
)

// kineState is what is known of a store that is kine.
type kineState struct {
	readable     atomic.Bool
	names        atomic.Pointer[names] // those read last since a revision was pinned
	hints        atomic.Pointer[names] // those read last
	namesPerPage int64                 // 0 = keysPerNamesPage
}

// Kine tells that the store is kine, the default store of k3s. Its Pin has no ClusterID, its keys no Version and a time
// to live as their Lease, its Health no alarms; and it gives no snapshots.
func (s *Store) Kine() bool { return s.cluster.kine.Load() }

// meet is told the header of the first answer.
func (s *Store) meet(resp *clientv3.GetResponse) error {
	if resp.Header != nil && resp.Header.ClusterId == 0 {
		s.cluster.kine.Store(true)
	}
	return s.cluster.check(resp.Header)
}

// readable returns etcdscan.ErrUnsupportedStore for a kine that is not of the kind whose answers names relies on. Before
// 0.16 a range was rounded to a directory, and before 0.16.5 and 0.17.1 nothing counted all keys. Kine on NATS drops old
// values of a key that is written often, at a revision that it says it has; only on SQL does it keep compactRevKey.
// https://github.com/k3s-io/kine/blob/v0.14.12/pkg/server/list.go
// https://github.com/k3s-io/kine/blob/v0.17.5/pkg/drivers/nats/kv.go
func (s *Store) readable(ctx context.Context) error {
	if s.kine.readable.Load() {
		return nil
	}
	// No directory, and without apiserverRevKey.
	resp, err := s.request(ctx, compactRevKey, clientv3.WithRange(compactRevKey+"_"), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	if len(resp.Kvs) == 0 || string(resp.Kvs[0].Key) != compactRevKey {
		return fmt.Errorf("%w: it is older than 0.16.5, or keeps its keys elsewhere than in a SQL database", etcdscan.ErrUnsupportedStore)
	}
	all, err := s.countKine(ctx, everything, everything, 0)
	if err != nil {
		return err
	}
	if all == 0 {
		return fmt.Errorf("%w: it is 0.17.0, or older than 0.16.5", etcdscan.ErrUnsupportedStore)
	}
	s.kine.readable.Store(true)
	return nil
}

func (s *Store) countKine(ctx context.Context, start, end string, revision int64) (int64, error) {
	resp, err := s.request(ctx, start, clientv3.WithRange(end), clientv3.WithCountOnly(), clientv3.WithRev(revision))
	if err != nil {
		return 0, err
	}
	return resp.Count, nil
}

// newestOfKine is the newest revision. A count reads it in the statement that counts; a list that finds nothing may tell
// an older one.
func (s *Store) newestOfKine(ctx context.Context) (int64, error) {
	if err := s.readable(ctx); err != nil {
		return 0, err
	}
	resp, err := s.request(ctx, contactKey, clientv3.WithRange(contactKey+afterKey), clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

func (s *Store) pinKine(ctx context.Context, revision int64) (etcdscan.Pin, error) {
	newest, err := s.newestOfKine(ctx)
	if err != nil {
		return etcdscan.Pin{}, err
	}
	switch {
	case revision > newest:
		return etcdscan.Pin{}, fmt.Errorf("revision %d: %w (the newest is %d)", revision, etcdscan.ErrFutureRevision, newest)
	case revision > 0:
		if _, err := s.countKine(ctx, contactKey, contactKey+afterKey, revision); err != nil {
			return etcdscan.Pin{}, fmt.Errorf("revision %d: %w", revision, err)
		}
		newest = revision
	}
	select {
	case <-time.After(settling):
	case <-ctx.Done():
		return etcdscan.Pin{}, context.Cause(ctx)
	}
	s.kine.names.Store(nil) // they may be of this revision, before it had settled
	return etcdscan.Pin{Revision: newest}, nil
}

func (s *Store) countKineRange(ctx context.Context, r etcdscan.Range, revision int64) (int64, error) {
	n, err := s.namesAt(ctx, revision)
	if err != nil {
		return 0, err
	}
	from, to := n.within(r)
	return int64(to - from), nil
}

func (s *Store) firstOfKine(ctx context.Context, r etcdscan.Range, revision int64) (string, bool, error) {
	switch {
	case revision == 0 && r == etcdscan.Key(r.Start):
		kv, found, err := s.lookKine(ctx, r.Start)
		return kv.Key, found, err
	case revision == 0:
		return s.firstNow(ctx, r)
	}
	n, err := s.namesAt(ctx, revision)
	if err != nil {
		return "", false, err
	}
	k, found := n.first(r)
	return k, found, nil
}

// firstNow asks for the first key as it is now. Kine sorts all keys of a range to tell the first, so a name that is known
// to have been there narrows the range.
func (s *Store) firstNow(ctx context.Context, r etcdscan.Range) (string, bool, error) {
	known := s.kine.hints.Load()
	if known == nil {
		newest, err := s.newestOfKine(ctx)
		if err != nil {
			return "", false, err
		}
		if known, err = s.readNames(ctx, newest); err != nil {
			return "", false, err
		}
	}
	start, end := listable(r)
	if k, ok := known.first(r); ok {
		k, found, err := s.firstListed(ctx, r, start, k+afterKey)
		if found || err != nil {
			return k, found, err
		}
	}
	return s.firstListed(ctx, r, start, end)
}

// firstListed is the first key of r in a range of kine that holds no key before r but, it may be, the start. That there
// is none is believed if it is counted as well: a list that the database broke off looks like one that is whole.
// https://github.com/k3s-io/kine/blob/v0.17.5/pkg/logstructured/sqllog/sql.go (RowsToEvents)
func (s *Store) firstListed(ctx context.Context, r etcdscan.Range, start, end string) (string, bool, error) {
	var found string
	err := s.retry(ctx, func() error {
		found = ""
		resp, err := s.send(ctx, start, clientv3.WithRange(end), clientv3.WithKeysOnly(), clientv3.WithLimit(2))
		if err != nil {
			return err
		}
		last := ""
		for _, kv := range resp.Kvs {
			k := unalias(string(kv.Key), start > compactRevKey || last >= compactRevKey)
			if k < start || k <= last || k >= end {
				return fmt.Errorf("kine sent %q as the first key from %q", k, start)
			}
			if last = k; k >= r.Start {
				if r.End == "" || k < r.End {
					found = k
				}
				return nil
			}
		}
		counted, err := s.send(ctx, start, clientv3.WithRange(end), clientv3.WithCountOnly())
		if err == nil && counted.Count != int64(len(resp.Kvs)) {
			err = errShortPage
		}
		return err
	})
	return found, found != "", err
}

// lookKine reads one key as it is now.
func (s *Store) lookKine(ctx context.Context, k string) (kv etcdscan.KeyValue, found bool, err error) {
	if err := s.readable(ctx); err != nil {
		return etcdscan.KeyValue{}, false, err
	}
	err = s.retry(ctx, func() error {
		found = false
		resp, err := s.send(ctx, k)
		if err != nil {
			return err
		}
		if len(resp.Kvs) == 0 {
			// As for firstListed: what is counted has to be seen.
			if resp, err = s.send(ctx, k, clientv3.WithRange(k+afterKey)); err != nil {
				return err
			}
			counted, err := s.send(ctx, k, clientv3.WithRange(k+afterKey), clientv3.WithCountOnly())
			if err != nil {
				return err
			}
			if counted.Count != int64(len(resp.Kvs)) {
				return errShortPage
			}
		}
		for _, each := range resp.Kvs {
			if string(each.Key) == k {
				kv, found = keyValue(each), true
			}
		}
		return nil
	})
	return kv, found, err
}
