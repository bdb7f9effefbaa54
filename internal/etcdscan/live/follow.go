package live

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

// watcher is the part of clientv3.Watcher that a reader may use.
type watcher interface {
	Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan
	RequestProgress(ctx context.Context) error
}

var errFollowEnded = errors.New("etcd ended a watch")

// Follow hands over each write to a key of the ranges that comes after a revision, until ctx ends, which is no error. Deletions
// are left out. It tells what came in time and no more: whether something came last, only a scan can tell. A value is valid
// until each returns.
func (s *Store) Follow(ctx context.Context, ranges []etcdscan.Range, after int64, each func(etcdscan.KeyValue) error) error {
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	responses := make(chan clientv3.WatchResponse)
	for _, r := range ranges {
		start, opts := rangeOptions(r, []clientv3.OpOption{clientv3.WithRev(after + 1), clientv3.WithFilterDelete()})
		watch := s.watch.Watch(clientv3.WithRequireLeader(following), start, opts...)
		go func() {
			for resp := range watch {
				select {
				case responses <- resp:
				case <-following.Done():
					return
				}
			}
			select {
			case responses <- clientv3.WatchResponse{Canceled: true}:
			case <-following.Done():
			}
		}()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case resp := <-responses:
			if err := s.hand(resp, each); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
		}
	}
}

func (s *Store) hand(resp clientv3.WatchResponse, each func(etcdscan.KeyValue) error) error {
	if err := resp.Err(); err != nil {
		return fmt.Errorf("following the writes to etcd: %w", classifyError(err))
	}
	if resp.Canceled {
		return errFollowEnded
	}
	if !s.Kine() {
		if err := s.cluster.check(resp.Header); err != nil {
			return err
		}
	}
	for _, e := range resp.Events {
		if e.Type != mvccpb.PUT {
			continue
		}
		if err := each(keyValue(e.Kv)); err != nil {
			return err
		}
	}
	return nil
}
