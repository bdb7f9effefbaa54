package live

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

// keysPerNamesPage is large, because kine sorts and counts all keys that follow for each page: some 30 MiB at 100 bytes
// a key.
const keysPerNamesPage = 200_000

// names are the keys of the whole store at one revision, in their order.
//
// They are all there are, and that is the proof for whatever is read of kine. It counts the rows of a revision in one
// statement that knows no range and no order. The names ascend, so none is there twice; and they are as many as were
// counted, so none is missing, whatever the pages left out, and however the database sorts and compares. Of the values
// of a range each page has then to hold exactly the keys that were named, at the revisions that were named, and in the
// end as many have to be counted once more.
// https://github.com/k3s-io/kine/blob/v0.17.5/pkg/drivers/generic/generic.go (CountAllRevisionSQL, ListFmt)
type names struct {
	revision int64
	keys     []keyRevision
}

// namesAt returns the names at a revision, the newest one if it is 0. It keeps them for the next call.
func (s *Store) namesAt(ctx context.Context, revision int64) (*names, error) {
	if revision == 0 {
		var err error
		if revision, err = s.newestOfKine(ctx); err != nil {
			return nil, err
		}
	}
	if n := s.kine.names.Load(); n != nil && n.revision == revision {
		return n, nil
	}
	n, err := s.readNames(ctx, revision)
	if err == nil {
		s.kine.names.Store(n)
	}
	return n, err
}

func (s *Store) readNames(ctx context.Context, revision int64) (*names, error) {
	if err := s.readable(ctx); err != nil {
		return nil, err
	}
	total, err := s.countKine(ctx, everything, everything, revision)
	if err != nil {
		return nil, err
	}
	n := &names{revision: revision}
	start, limit, more := lowest, s.kine.namesPerPage, true
	if limit == 0 {
		limit = keysPerNamesPage
	}
	for (more || int64(len(n.keys)) < total) && int64(len(n.keys)) <= total {
		resp, err := s.request(ctx, start, clientv3.WithRange(highest), clientv3.WithKeysOnly(), clientv3.WithLimit(limit), clientv3.WithRev(revision))
		if errors.Is(err, errTooLarge) && limit > 2 {
			limit /= 2
			continue
		}
		if err != nil {
			return nil, err
		}
		before := len(n.keys)
		if err := n.add(resp.Kvs); err != nil {
			return nil, err
		}
		if len(n.keys) == before {
			break
		}
		more = resp.More
		start = n.keys[len(n.keys)-1].key
	}
	if err := n.agree(total); err != nil {
		return nil, err
	}
	s.kine.hints.Store(n)
	return n, nil
}

func (n *names) agree(total int64) error {
	if int64(len(n.keys)) != total {
		return fmt.Errorf("kine names %d keys where it counts %d at revision %d", len(n.keys), total, n.revision)
	}
	return nil
}

// add takes a page, which begins with the last key of the one before: what follows a key could be asked for only by a
// "\x00", which not every database takes as it is.
func (n *names) add(page []*mvccpb.KeyValue) error {
	for i, kv := range page {
		k := string(kv.Key)
		if len(n.keys) > 0 {
			last := n.keys[len(n.keys)-1]
			if i == 0 && last.answers(kv) {
				continue
			}
			if k = unalias(k, last.key >= compactRevKey); i == 0 || k <= last.key {
				return fmt.Errorf("kine sent key %q after %q: out of order", k, last.key)
			}
		}
		if kv.ModRevision > n.revision {
			return fmt.Errorf("key %q was written at revision %d, after %d", k, kv.ModRevision, n.revision)
		}
		n.keys = append(n.keys, keyRevision{k, kv.ModRevision})
	}
	return nil
}

// within tells which of the keys lie in r.
func (n *names) within(r etcdscan.Range) (from, to int) {
	from = n.search(r.Start)
	if r.End == "" {
		return from, len(n.keys)
	}
	return from, max(from, n.search(r.End))
}

func (n *names) search(k string) int {
	return sort.Search(len(n.keys), func(i int) bool { return n.keys[i].key >= k })
}

func (n *names) first(r etcdscan.Range) (string, bool) {
	from, to := n.within(r)
	if from == to {
		return "", false
	}
	return n.keys[from].key, true
}

// readKine reads the values of a range, between the names of a page and the one that follows: kine has then no more to
// sort than the page.
func (s *Store) readKine(ctx context.Context, r etcdscan.Range, revision int64, deliver func([]etcdscan.KeyValue) bool) error {
	if revision == 0 && r == etcdscan.Key(r.Start) {
		kv, found, err := s.lookKine(ctx, r.Start)
		if found {
			deliver([]etcdscan.KeyValue{kv})
		}
		return err
	}
	n, err := s.namesAt(ctx, revision)
	if err != nil {
		return err
	}
	pageKeys := firstPageKeys
	for from, to := n.within(r); from < to; {
		until := min(from+pageKeys, to)
		end := highest
		if until < len(n.keys) {
			end = n.keys[until].key
		}
		batch, err := s.readKinePage(ctx, n.keys[from:until], end, n.revision)
		if errors.Is(err, errTooLarge) && until-from > 1 {
			pageKeys = (until - from) / 2
			continue
		}
		if err != nil {
			return err
		}
		if !deliver(batch) {
			return nil
		}
		pageKeys = nextPageKeys(until-from, batch, s.pageBytes)
		from = until
	}
	// A row that came late, with a number that the revision covers, would be in no page.
	total, err := s.countKine(ctx, everything, everything, n.revision)
	if err != nil {
		return err
	}
	return n.agree(total)
}

func (s *Store) readKinePage(ctx context.Context, page []keyRevision, end string, revision int64) ([]etcdscan.KeyValue, error) {
	batch := make([]etcdscan.KeyValue, len(page))
	err := s.retry(ctx, func() error {
		resp, err := s.send(ctx, page[0].key, clientv3.WithRange(end), clientv3.WithRev(revision))
		if err != nil {
			return err
		}
		if len(resp.Kvs) < len(page) {
			return errShortPage
		}
		if len(resp.Kvs) > len(page) || resp.More {
			return fmt.Errorf("kine sent %d keys of a page for which it named %d", len(resp.Kvs), len(page))
		}
		for i, kv := range resp.Kvs {
			if !page[i].answers(kv) {
				return fmt.Errorf("kine named %q and then sent another key or revision in its place", page[i].key)
			}
			batch[i] = keyValue(kv)
			batch[i].Key = page[i].key
		}
		return nil
	})
	return batch, err
}

// answers tells whether an answer of kine is this key at this revision.
func (k keyRevision) answers(kv *mvccpb.KeyValue) bool {
	key := k.key
	if key == apiserverRevKey {
		key = compactRevKey
	}
	return string(kv.Key) == key && kv.ModRevision == k.revision
}

// unalias is the name in the database of a key that kine sent, behind its own compactRevKey or not.
func unalias(k string, behind bool) string {
	if k == compactRevKey && behind {
		return apiserverRevKey
	}
	return k
}

// listable is the least range that kine can list and that holds r. A trailing "\x00" in its start is left out.
func listable(r etcdscan.Range) (start, end string) {
	start, end = strings.TrimSuffix(r.Start, "\x00"), r.End
	if start == "" {
		start = lowest
	}
	if end == "" {
		end = highest
	}
	return start, end
}
