package rewrite

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
)

// window is how many objects may be taken up and unsettled for a number of workers: the workers' own, and as many
// again that wait for a retry as keep memory bounded and a few bad objects from holding up the others.
func window(concurrency int) int { return concurrency + max(256, 4*concurrency) }

// run is one call of Patcher.Run.
type run struct {
	p      *Patcher
	parent context.Context
	ctx    context.Context // ends when the run stops
	stop   context.CancelCauseFunc
	send   context.Context // of the requests: outlives ctx by the grace
	abort  context.CancelFunc
	health *health

	fresh   chan *item // untried, unbuffered: Gate has been asked for at most one object that nobody works on
	due     chan *item // to be tried again
	slots   chan struct{}
	results chan Result
	queue   workqueue.TypedDelayingInterface[*item]

	mu       sync.Mutex
	waiting  map[*item]struct{}
	done     int
	inFlight int
	open     int           // taken up, unsettled
	fed      bool          // nothing more comes
	finished chan struct{} // closed when fed and nothing is open
}

func newRun(ctx context.Context, p *Patcher) *run {
	r := &run{
		p:        p,
		parent:   ctx,
		fresh:    make(chan *item),
		due:      make(chan *item),
		slots:    make(chan struct{}, window(p.opts.Concurrency)),
		results:  make(chan Result),
		waiting:  make(map[*item]struct{}),
		finished: make(chan struct{}),
	}
	r.ctx, r.stop = context.WithCancelCause(ctx)
	r.send, r.abort = context.WithCancel(context.WithoutCancel(ctx))
	r.health = newHealth(p.opts.MaxOutage, func(err error) { r.stop(err) })
	return r
}

func (r *run) run(objects iter.Seq2[Object, error], visit func(Result) error) error {
	defer r.abort()
	defer r.stop(nil)
	defer r.health.close()
	r.queue = workqueue.NewTypedDelayingQueue[*item]()
	grace := context.AfterFunc(r.ctx, func() {
		select {
		case <-r.send.Done():
		case <-time.After(r.p.opts.Grace):
			r.abort()
		}
	})
	defer grace()

	var feeder, workers, pump sync.WaitGroup
	feeder.Go(func() {
		if err := r.feed(objects); err != nil {
			r.stop(err)
		}
	})
	for range r.p.opts.Concurrency {
		workers.Go(r.work)
	}
	pump.Go(r.pump)
	go func() {
		feeder.Wait()
		workers.Wait()
		close(r.results)
	}()

	for res := range r.results {
		r.report(res, visit)
	}
	r.queue.ShutDown()
	err := context.Cause(r.ctx) // nil if everything is settled
	if r.parent.Err() != nil && errors.Is(err, context.Cause(r.parent)) {
		err = r.parent.Err()
	}
	for _, it := range r.unsettled() {
		r.report(leftover(it, err), visit)
	}
	r.stop(nil)
	pump.Wait()
	return err
}

// unsettled empties the set of waiting objects and gives those that were tried.
func (r *run) unsettled() []*item {
	r.mu.Lock()
	defer r.mu.Unlock()
	var items []*item
	for it := range r.waiting {
		if it.attempts > 0 {
			items = append(items, it)
		}
	}
	clear(r.waiting)
	return items
}

// report hands a result to visit.
func (r *run) report(res Result, visit func(Result) error) {
	r.mu.Lock()
	r.done++
	r.mu.Unlock()
	if err := visit(res); err != nil {
		r.stop(err)
	}
}

// feed takes objects up. An object that finds the run stopped is dropped untried.
func (r *run) feed(objects iter.Seq2[Object, error]) error {
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.fed = true
		if r.open == 0 {
			close(r.finished)
		}
	}()
	for obj, err := range objects {
		if r.ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case r.slots <- struct{}{}:
		case <-r.ctx.Done():
			return nil
		}
		if r.p.opts.Gate != nil {
			if err := r.p.opts.Gate(r.ctx); err != nil {
				return err
			}
		}
		if r.health.up(r.ctx) != nil {
			return nil
		}
		r.mu.Lock()
		r.open++
		r.mu.Unlock()
		select {
		case r.fresh <- &item{obj: obj}:
		case <-r.ctx.Done():
			return nil
		}
	}
	return nil
}

// pump moves objects whose time has come from the queue to the workers.
func (r *run) pump() {
	for {
		it, shutdown := r.queue.Get()
		if shutdown {
			return
		}
		r.queue.Done(it)
		select {
		case r.due <- it:
		case <-r.ctx.Done():
		}
	}
}

func (r *run) work() {
	for {
		var it *item
		select {
		case <-r.ctx.Done():
			return
		case <-r.finished:
			return
		case it = <-r.due:
		case it = <-r.fresh:
		}
		r.try(it)
	}
}

// try makes one attempt and settles the object or puts it back.
func (r *run) try(it *item) {
	probe, err := r.health.acquire(r.ctx)
	if err == nil && r.p.limiter != nil {
		err = r.p.limiter.Wait(r.ctx)
	}
	if err != nil {
		r.health.release(probe)
		r.park(it)
		return
	}
	r.count(it, +1)
	started := time.Now()
	ctx, cancel := context.WithTimeout(r.send, r.p.opts.AttemptTimeout)
	a := r.p.client.patch(ctx, it.obj)
	cancel()
	r.count(it, -1)

	if a.unsent {
		r.health.release(probe)
		res := it.result(a.status)
		res.Failure = a.failure
		r.settle(it, res)
		return
	}
	it.attempts++
	it.uncertain = it.uncertain || a.uncertain
	if a.course == unsettled {
		a.course = settled
		if r.health.settling() {
			a.course = again
		}
	}
	if a.course == settled {
		r.health.decided()
		res := it.result(a.status)
		res.Revision, res.Failure = a.revision, a.failure
		r.settle(it, res)
		return
	}
	if it.first.IsZero() {
		it.first = started
	}
	it.last = a.failure
	r.health.undecided(a, started, probe)
	if r.ctx.Err() != nil {
		r.park(it)
		return
	}
	left := r.health.patience(it.first)
	if left <= 0 {
		res := it.result(Failed)
		res.Failure = a.failure
		r.settle(it, res)
		return
	}
	r.park(it)
	r.queue.AddAfter(it, min(max(a.retryAfter, backoff(it.attempts-1)), left))
}

// count books the start (+1) or the end (-1) of a request.
func (r *run) count(it *item, by int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight += by
	delete(r.waiting, it)
}

// park keeps an object for its next attempt, or for the end of the run.
func (r *run) park(it *item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[it] = struct{}{}
}

func (r *run) settle(it *item, res Result) {
	r.results <- res
	r.mu.Lock()
	r.open--
	if r.fed && r.open == 0 {
		close(r.finished)
	}
	r.mu.Unlock()
	<-r.slots
}

func (r *run) progress() Progress {
	since, trouble := r.health.trouble()
	r.mu.Lock()
	defer r.mu.Unlock()
	return Progress{Done: r.done, InFlight: r.inFlight, Waiting: len(r.waiting), OutageSince: since, Trouble: trouble}
}
