package rewrite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	backoffBase = 250 * time.Millisecond
	backoffCap  = 5 * time.Second
	// settleTime is how long after the last sign of an outage a 403 of the authorizer or a 404 of the endpoint
	// is tried again: an apiserver that has just started serves requests before RBAC's informers and the
	// CRDs have come in. At any other time these answers are taken at their word.
	settleTime = 30 * time.Second
	// unservedRun is how many objects may fail one after another by the server's own errors, once such
	// errors were all it gave for MaxOutage, before the run gives up.
	unservedRun = 1000
)

// OutageError stops a run in which the apiserver decided about no object for MaxOutage.
type OutageError struct {
	Since    time.Time     // start of the first request without a decision
	Duration time.Duration // from Since to when the run gave up
	Failure  *Failure      // of the last attempt
}

// Error names the outage and its cause in words that are safe to show.
func (e *OutageError) Error() string {
	return fmt.Sprintf("apiserver out of service for %s: %v", e.Duration.Round(time.Millisecond), e.Failure)
}

// Unwrap gives the last attempt's Failure.
func (e *OutageError) Unwrap() error { return e.Failure }

// health is what all workers of a run know together about the apiserver. While it is down one request at a time is
// let through, at growing distances, until one is decided. A run begins in that state: otherwise each worker would
// dial a connection of its own before the first one turns out to carry them all.
type health struct {
	limit time.Duration // MaxOutage
	stop  func(error)

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when a waiter should look again
	silent   time.Time     // start of the first undecided request since the last decision; zero if decided
	decision time.Time     // the last one
	last     *Failure
	lastCrs  course
	timer    *time.Timer // at silent+limit
	isDown   bool        // or not known to be up
	rounds   int         // probes that failed in a row
	next     time.Time   // when the next probe may go out, while down
	hold     time.Time   // when the next request may go out, as the server asked for
	probing  bool
	lastDown time.Time
	given    int // objects given up since silent+limit
}

func newHealth(limit time.Duration, stop func(error)) *health {
	return &health{limit: limit, stop: stop, changed: make(chan struct{}), isDown: true}
}

// acquire waits until a request may be sent and tells whether it is the one probe of an outage. Whoever acquired
// calls exactly one of decided, undecided and release.
func (h *health) acquire(ctx context.Context) (probe bool, err error) {
	for {
		h.mu.Lock()
		wait := time.Until(h.hold)
		if h.isDown {
			wait = max(wait, time.Until(h.next))
		}
		free := wait <= 0 && !(h.isDown && h.probing)
		if free {
			h.probing = h.isDown
			probe = h.isDown
		}
		changed := h.changed
		h.mu.Unlock()
		if free {
			return probe, ctx.Err()
		}
		if err := sleep(ctx, wait, changed); err != nil {
			return false, err
		}
	}
}

// sleep waits for d (for ever if d is not positive), for wake, or for the end of ctx, which is the only error.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	var after <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		after = t.C
	}
	select {
	case <-after:
	case <-wake:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// up waits until the server is not known to be down.
func (h *health) up(ctx context.Context) error {
	for {
		h.mu.Lock()
		isDown, changed := h.isDown && !h.silent.IsZero(), h.changed
		h.mu.Unlock()
		if !isDown {
			return ctx.Err()
		}
		if err := sleep(ctx, 0, changed); err != nil {
			return err
		}
	}
}

// release gives a probe back that was not sent.
func (h *health) release(probe bool) {
	if !probe {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
	h.wake()
}

// decided records an answer that settles an object.
func (h *health) decided() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.silent, h.last, h.given, h.decision = time.Time{}, nil, 0, time.Now()
	if h.timer != nil {
		h.timer.Stop()
		h.timer = nil
	}
	if h.isDown {
		h.isDown, h.probing, h.rounds = false, false, 0
		h.wake()
	}
}

// undecided records a request that settled nothing. started is when it was sent.
func (h *health) undecided(a answer, started time.Time, probe bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.silent.IsZero() {
		h.silent = started
		if h.decision.After(started) {
			h.silent = h.decision
		}
		h.timer = time.AfterFunc(h.limit-now.Sub(h.silent), h.expired)
	}
	h.last, h.lastCrs = a.failure, a.course
	switch a.course {
	case down:
		h.lastDown = now
		if !h.isDown || probe {
			h.isDown = true
			h.next = now.Add(max(min(a.retryAfter, h.limit), backoff(h.rounds)))
			h.rounds++
		}
	case throttled:
		h.hold = now.Add(max(min(a.retryAfter, h.limit), backoff(0)))
	default:
		// The server is there and answers, if only with an error about this object.
		h.isDown, h.rounds = false, 0
	}
	if probe || !h.isDown {
		h.probing = false
	}
	h.wake()
	if now.Sub(h.silent) >= h.limit {
		h.giveUp(now)
	}
}

func (h *health) expired() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); !h.silent.IsZero() && now.Sub(h.silent) >= h.limit {
		h.giveUp(now)
	}
}

// giveUp stops the run if the last word was about the server rather than about an object.
func (h *health) giveUp(now time.Time) {
	if h.lastCrs == down || h.lastCrs == throttled || h.given >= unservedRun {
		h.stop(&OutageError{Since: h.silent, Duration: now.Sub(h.silent), Failure: h.last})
	}
}

// patience reports how much longer an object that failed first at the given time is tried: until MaxOutage is over
// for it, or at once where the server's errors have lasted that long already. Whoever gets 0 gives the object up.
func (h *health) patience(first time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	left := h.limit - time.Since(first)
	if !h.silent.IsZero() {
		left = min(left, h.limit-time.Since(h.silent))
	}
	if left > 0 {
		return left
	}
	h.given++
	return 0
}

// settling reports whether the server has been down so recently that it may not know all its rules yet.
func (h *health) settling() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.lastDown.IsZero() && time.Since(h.lastDown) < min(settleTime, h.limit)
}

// trouble reports since when nothing was decided and why, zero while the server decides.
func (h *health) trouble() (time.Time, *Failure) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// One undecided request between decided ones is no trouble of the server's.
	if h.silent.IsZero() || !h.isDown && time.Since(h.silent) < backoffCap {
		return time.Time{}, nil
	}
	return h.silent, h.last
}

// close ends the timer.
func (h *health) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.timer != nil {
		h.timer.Stop()
	}
}

// wake is called with mu held.
func (h *health) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// backoff is the wait after n failures in a row, spread over its upper half.
func backoff(n int) time.Duration {
	d := backoffCap
	if n < 5 {
		d = min(d, backoffBase<<n)
	}
	return d/2 + rand.N(d/2)
}
