package live

import (
	"context"
	"fmt"
	"hash/maphash"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

// progressEvery is how often etcd is asked how far a watch has come.
const progressEvery = 100 * time.Millisecond

// History implements etcdscan.Historian. What was written after the last compaction is watched twice, first for what each key has in
// the end; what lay there at that compaction is read. Each key that was written since takes some 40 bytes. Etcd before 3.4.25 and
// 3.5.8 may say too early that a watch has come to its end, and then not all is counted.
func (s *Store) History(ctx context.Context, ranges []etcdscan.Range, revision int64, each func(etcdscan.KeyValue) error) (int64, error) {
	if s.Kine() {
		return 0, etcdscan.ErrNoHistory
	}
	compacted, err := s.compacted(ctx, ranges[0])
	if err != nil {
		return 0, err
	}
	if revision < compacted {
		return 0, fmt.Errorf("revision %d: %w", revision, etcdscan.ErrCompacted)
	}
	seed := maphash.MakeSeed()
	last := make(map[uint64]int64) // what each key has that was written since, by its hash; 0 for nothing
	for _, r := range ranges {
		err := s.replay(ctx, r, compacted, revision, func(kv etcdscan.KeyValue, deleted bool) error {
			at := kv.ModRevision
			if deleted {
				at = 0
			}
			last[maphash.String(seed, kv.Key)] = at
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	for _, r := range ranges {
		err := s.replay(ctx, r, compacted, revision, func(kv etcdscan.KeyValue, deleted bool) error {
			if deleted || last[maphash.String(seed, kv.Key)] == kv.ModRevision {
				return nil
			}
			return each(kv)
		})
		if err != nil {
			return 0, err
		}
		if compacted == 0 {
			continue
		}
		for batch, err := range s.Read(ctx, r, compacted) {
			if err != nil {
				return 0, err
			}
			for _, kv := range batch {
				if _, written := last[maphash.String(seed, kv.Key)]; !written {
					continue
				}
				if err := each(kv); err != nil {
					return 0, err
				}
			}
		}
	}
	return compacted, nil
}

// Changes implements etcdscan.Changer.
func (s *Store) Changes(ctx context.Context, ranges []etcdscan.Range, after int64, each func(etcdscan.KeyValue) error) (int64, error) {
	if s.Kine() {
		return 0, etcdscan.ErrNoHistory
	}
	head, err := s.Revision(ctx)
	if err != nil {
		return 0, err
	}
	for _, r := range ranges {
		err := s.replay(ctx, r, after, head, func(kv etcdscan.KeyValue, deleted bool) error {
			if deleted {
				return nil
			}
			return each(kv)
		})
		if err != nil {
			return 0, err
		}
	}
	return head, nil
}

// compacted is the revision up to which etcd was compacted, which it tells to a watch that wants more.
func (s *Store) compacted(ctx context.Context, r etcdscan.Range) (compacted int64, err error) {
	err = s.watchPast(ctx, r, 1, func(resp clientv3.WatchResponse) (done bool, err error) {
		compacted = resp.CompactRevision
		return true, nil
	})
	return compacted, err
}

// replay hands over what was written to a range after one revision and up to another.
func (s *Store) replay(ctx context.Context, r etcdscan.Range, after, upTo int64, each func(kv etcdscan.KeyValue, deleted bool) error) error {
	if after >= upTo {
		return nil
	}
	return s.watchPast(ctx, r, after+1, func(resp clientv3.WatchResponse) (done bool, err error) {
		switch {
		case resp.CompactRevision > 0:
			return false, etcdscan.ErrCompacted
		case resp.IsProgressNotify():
			return resp.Header.Revision >= upTo, nil
		}
		for _, e := range resp.Events {
			if e.Kv.ModRevision > upTo {
				return true, nil
			}
			if err := each(keyValue(e.Kv), e.Type == mvccpb.DELETE); err != nil {
				return false, err
			}
		}
		return false, nil
	})
}

// watchPast hands over what etcd says to a watch that begins at a revision of the past, until take is done. Etcd is asked again and
// again how far it has come: it does not answer while the watch is behind.
func (s *Store) watchPast(ctx context.Context, r etcdscan.Range, from int64, take func(clientv3.WatchResponse) (done bool, err error)) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	start, opts := rangeOptions(r, []clientv3.OpOption{clientv3.WithRev(from), clientv3.WithFragment()})
	watch := s.watch.Watch(ctx, start, opts...)
	progress := time.NewTicker(progressEvery)
	defer progress.Stop()
	silence := time.NewTimer(s.timeout)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-silence.C:
			return fmt.Errorf("watching older revisions: %w", errStalled)
		case <-progress.C:
			if err := s.watch.RequestProgress(ctx); err != nil {
				return fmt.Errorf("watching older revisions: %w", classifyError(err))
			}
		case resp, open := <-watch:
			silence.Reset(s.timeout)
			if err := resp.Err(); err != nil && resp.CompactRevision == 0 {
				return fmt.Errorf("watching older revisions: %w", classifyError(err))
			}
			if !open {
				return errFollowEnded
			}
			if done, err := take(resp); done || err != nil {
				return err
			}
		}
	}
}

var _ etcdscan.Historian = (*Store)(nil)
