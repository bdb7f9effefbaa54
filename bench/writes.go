package main

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// span tells when writes of secrets were seen in etcd.
type span struct {
	first, last time.Time
	writes      int
}

// watchWrites watches the secrets in etcd until stop is called.
func watchWrites(ctx context.Context, etcd *clientv3.Client) (stop func() span) {
	ctx, cancel := context.WithCancel(ctx)
	var seen span
	var wg sync.WaitGroup
	// Etcd sends what was written since the watch was created; it is created when this returns.
	watch := etcd.Watch(clientv3.WithRequireLeader(ctx), secretsPrefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-watch
	wg.Go(func() {
		for resp := range watch {
			now := time.Now()
			for range resp.Events {
				if seen.writes == 0 {
					seen.first = now
				}
				seen.writes++
				seen.last = now
			}
		}
	})
	return func() span {
		cancel()
		wg.Wait()
		return seen
	}
}
