package live

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

const (
	// keysPerIndexPage bounds the keys whose names are held at once, some 10 MiB of them at 100 bytes a key.
	keysPerIndexPage = 50_000
	firstPageKeys    = 64
	maxPageKeys      = 10_000
)

// readPages reads a range by unary requests. etcd counts every remaining key of the range for a page that is bounded
// by a limit, so the pages of values are bounded by their end key instead: the names are read first, many at a time,
// and the values then between two of them, as many as bring about pageBytes. Each page must hold exactly the keys that
// were named, at the revisions that were named.
func (s *Store) readPages(ctx context.Context, r etcdscan.Range, revision int64, deliver func([]etcdscan.KeyValue) bool) error {
	pageKeys := firstPageKeys
	for {
		resp, err := s.get(ctx, r, clientv3.WithKeysOnly(), clientv3.WithLimit(keysPerIndexPage), clientv3.WithRev(revision))
		if err != nil {
			return err
		}
		names := make([]keyRevision, len(resp.Kvs))
		for i, kv := range resp.Kvs {
			names[i] = keyRevision{string(kv.Key), kv.ModRevision}
		}
		if resp.More && len(names) == 0 {
			return errors.New("etcd names no key of a range that it says holds more")
		}
		more := resp.More
		resp = nil
		for len(names) > 0 {
			n := min(pageKeys, len(names))
			batch, err := s.readPage(ctx, names[:n], revision)
			if errors.Is(err, errTooLarge) && n > 1 {
				pageKeys = n / 2
				continue
			}
			if err != nil {
				return err
			}
			if !deliver(batch) {
				return nil
			}
			r.Start = names[n-1].key + "\x00"
			names = names[n:]
			pageKeys = nextPageKeys(n, batch, s.pageBytes)
		}
		if !more {
			return nil
		}
	}
}

type keyRevision struct {
	key      string
	revision int64
}

func (s *Store) readPage(ctx context.Context, names []keyRevision, revision int64) ([]etcdscan.KeyValue, error) {
	page := etcdscan.Range{Start: names[0].key, End: names[len(names)-1].key + "\x00"}
	resp, err := s.get(ctx, page, clientv3.WithRev(revision))
	if err != nil {
		return nil, err
	}
	if len(resp.Kvs) != len(names) || resp.More {
		return nil, fmt.Errorf("etcd sent %d keys of a page for which it named %d", len(resp.Kvs), len(names))
	}
	batch := make([]etcdscan.KeyValue, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		if string(kv.Key) != names[i].key || kv.ModRevision != names[i].revision {
			return nil, fmt.Errorf("etcd named %q and then sent another key or revision in its place", names[i].key)
		}
		batch[i] = keyValue(kv)
	}
	return batch, nil
}

// nextPageKeys sizes the next page by the average of the last one, at most four times as many keys as it had.
func nextPageKeys(n int, batch []etcdscan.KeyValue, pageBytes int) int {
	size := 0
	for i := range batch {
		size += len(batch[i].Value)
	}
	average := size/n + 1
	return max(1, min(pageBytes/average, 4*n, maxPageKeys))
}
