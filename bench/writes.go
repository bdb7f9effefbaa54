package main

import (
	"context"
	"os/exec"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// heartbeat is the secret that is written to keep a cluster from being quiet. It is none of those that are counted.
const heartbeat = "heartbeat"

// span tells when writes of secrets were seen in etcd.
type span struct {
	first, last time.Time
	writes      int
}

// watchWrites watches the secrets in etcd, apart from the heartbeat, until stop is called.
func watchWrites(ctx context.Context, etcd *clientv3.Client) (stop func() span, begun <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	first := make(chan struct{})
	var seen span
	var wg sync.WaitGroup
	// Etcd sends what was written since the watch was created; it is created when this returns.
	watch := etcd.Watch(clientv3.WithRequireLeader(ctx), secretsPrefix+"team-", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-watch
	wg.Go(func() {
		for resp := range watch {
			now := time.Now()
			for range resp.Events {
				if seen.writes == 0 {
					seen.first = now
					close(first)
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
	}, first
}

// keepBusy writes the heartbeat secret each second until done is closed or stop is called.
func (p *plane) keepBusy(ctx context.Context, done <-chan struct{}) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-done:
				return
			case now := <-tick.C:
				cmd := exec.CommandContext(ctx, p.playground, "kubectl", "annotate", "secret", heartbeat, "--overwrite", "beat="+now.Format(time.RFC3339Nano))
				cmd.Env = p.env
				_ = cmd.Run() // one that fails is made up for by the next
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}
