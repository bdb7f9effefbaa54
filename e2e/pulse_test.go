package e2e

import (
	"context"
	"testing"
	"time"
)

// pulse writes something now and then until stop is called. The in-tree controller waits for the garbage collector's cache
// of the resource to move on, and on a quiet cluster that stands still for minutes. n counts the writes; nobody cares
// whether one succeeds, as the next one may.
func pulse(t *testing.T, write func(ctx context.Context, n int)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			write(ctx, n)
			sleepUnder(ctx, 500*time.Millisecond)
		}
	}()
	return func() { cancel(); <-done }
}

func sleepUnder(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// restartControllers has the garbage collector know the definitions that there are: it looks for new ones when it starts and every
// 30 s, and the in-tree controller waits for it.
func (p *plane) restartControllers(t *testing.T) {
	t.Helper()
	p.playground(t, "restart", "kube-controller-manager")
}
