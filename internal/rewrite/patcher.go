package rewrite

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/client-go/rest"
)

// Options of a Patcher. The zero value is usable.
type Options struct {
	// Concurrency is how many requests are in flight at most, 16 if zero.
	Concurrency int
	// QPS is how many requests are sent per second at most, retries included; 0 means no limit. At most a
	// tenth of a second's worth is sent in one burst.
	QPS float64
	// MaxOutage bounds how long one object is tried from its first failure on, and how long a run goes on
	// while the apiserver decides about no object at all. 2 minutes if zero.
	MaxOutage time.Duration
	// AttemptTimeout bounds one request. 45 s if zero: an apiserver itself ends a patch after 34 s.
	AttemptTimeout time.Duration
	// Grace bounds how long requests in flight may take to finish once a run stops, 10 s if zero.
	Grace time.Duration
	// DryRun sends every patch with dryRun=All: admission and validation answer, nothing is written.
	DryRun bool
	// Subresource is "status" to patch that instead of the object, "" for the object itself. It rewrites all of the
	// object, and is for those whom admission refuses: what was registered for the resource alone does not see it.
	// A 404 is then a Failure of KindUnserved, never NotFound, because no answer tells an object that is gone from
	// a resource without the subresource; etcd does.
	Subresource string
	// Gate, if set, is asked before an object is taken up, one call at a time, and may block; its error
	// stops the run. Retries do not ask again: while Gate blocks, at most Concurrency requests in flight and
	// the objects that wait for a retry go on.
	Gate func(context.Context) error
}

// Progress is a snapshot of a run.
type Progress struct {
	Done     int // objects with a final result
	InFlight int // requests sent and not answered
	Waiting  int // objects that wait for another attempt
	// OutageSince is when the apiserver last stopped deciding about objects, zero while it does decide;
	// Trouble is why.
	OutageSince time.Time
	Trouble     *Failure
}

// Patcher rewrites objects of one resource, each with one merge patch that changes nothing and names the revision
// at which the object was seen.
type Patcher struct {
	client  *patchClient
	opts    Options
	limiter *rate.Limiter // nil if there is no limit
	current atomic.Pointer[run]
	busy    atomic.Bool
}

// NewPatcher prepares a Patcher; it sends nothing. Of cfg it uses address, credentials and user agent; cfg's QPS,
// Burst, RateLimiter, Timeout and WarningHandler do not apply.
func NewPatcher(cfg *rest.Config, res Resource, opts Options) (*Patcher, error) {
	if opts.Concurrency < 0 || opts.QPS < 0 || opts.MaxOutage < 0 || opts.AttemptTimeout < 0 || opts.Grace < 0 {
		return nil, errors.New("preparing to rewrite: negative limit")
	}
	if opts.Subresource != "" && opts.Subresource != "status" {
		return nil, fmt.Errorf("preparing to rewrite: no patches are sent to the subresource %q", opts.Subresource)
	}
	if opts.Concurrency == 0 {
		opts.Concurrency = 16
	}
	if opts.MaxOutage == 0 {
		opts.MaxOutage = 2 * time.Minute
	}
	if opts.AttemptTimeout == 0 {
		opts.AttemptTimeout = 45 * time.Second
	}
	if opts.Grace == 0 {
		opts.Grace = 10 * time.Second
	}
	client, err := newPatchClient(cfg, res, opts)
	if err != nil {
		return nil, err
	}
	p := &Patcher{client: client, opts: opts}
	if opts.QPS > 0 {
		p.limiter = rate.NewLimiter(rate.Limit(opts.QPS), max(1, int(opts.QPS/10)))
	}
	return p, nil
}

// Run patches each object of the sequence until it is settled. visit gets every final result, one call at a time; an
// error of visit, of the sequence or of Gate stops the run and is returned, as is ctx's.
//
// The sequence is read in a goroutine of its own, at most a few objects ahead of the requests, and has to end when
// ctx does. Objects are not settled in the order they came. The first request goes alone; the others follow once
// it is answered.
//
// Refusals (4xx) are settled at once. What may pass, such as a lost connection, 429, any 5xx or a webhook that is
// down, is tried again for at most MaxOutage per object, while other objects go on. If a connection, a proxy, the
// credentials or throttling is what keeps the apiserver from deciding about any object for MaxOutage, the run stops
// with *OutageError; if its own 5xx errors are, objects are then given up at their first such error, and the run stops
// after a thousand of these in a row.
//
// When a run stops, nothing new is sent; requests in flight are given Options.Grace and visited with what they
// brought; objects that had been tried and are not settled are visited as Failed, with KindOutage or KindInterrupted in
// place of the Kind of their last Failure; the others are not visited at all. visit is called for these even if it was
// its own error that stopped the run.
//
// A Patcher does one Run at a time.
func (p *Patcher) Run(ctx context.Context, objects iter.Seq2[Object, error], visit func(Result) error) error {
	if !p.busy.CompareAndSwap(false, true) {
		return fmt.Errorf("rewriting %s: already running", p.client.res.GroupResource())
	}
	defer p.busy.Store(false)
	r := newRun(ctx, p)
	p.current.Store(r)
	if err := r.run(objects, visit); err != nil {
		return fmt.Errorf("rewriting %s: %w", p.client.res.GroupResource(), err)
	}
	return nil
}

// Status is a snapshot of the present or last Run. It may be called at any time.
func (p *Patcher) Status() Progress {
	r := p.current.Load()
	if r == nil {
		return Progress{}
	}
	return r.progress()
}
