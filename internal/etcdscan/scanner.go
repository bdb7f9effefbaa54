package etcdscan

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// scanner reads ranges into a Result, at one revision.
type scanner struct {
	Reading
	result   *Result
	sink     Sink
	examiner Examiner // the sink, if it is one
	workers  int      // that look at values at once
	sampled  map[sample]int
	records  []classified
}

func newScanner(r Reading, result *Result, sink Sink) *scanner {
	s := &scanner{Reading: r, result: result, sink: sink, workers: runtime.GOMAXPROCS(0), sampled: make(map[sample]int)}
	s.examiner, _ = sink.(Examiner)
	return s
}

type sinkError struct{ err error }

func (e *sinkError) Error() string { return e.err.Error() }

func (s *scanner) readRange(ctx context.Context, r Range) error {
	last := ""
	for batch, err := range s.Source.Read(ctx, r, s.result.Pin.Revision) {
		if err != nil {
			return err
		}
		for i := range batch {
			kv := &batch[i]
			// Order makes the count a proof: a key read twice could stand for one that was not read.
			if kv.Key <= last && last != "" {
				return fmt.Errorf("key %q came after %q: out of order", kv.Key, last)
			}
			if kv.Key < r.Start || (r.End != "" && kv.Key >= r.End) {
				return fmt.Errorf("key %q is outside of the range asked for", kv.Key)
			}
			if kv.ModRevision > s.result.Pin.Revision {
				return fmt.Errorf("key %q was written at revision %d, after the pinned one", kv.Key, kv.ModRevision)
			}
			last = kv.Key
		}
		if err := s.take(ctx, batch); err != nil {
			return err
		}
		s.Progress.read.Add(int64(len(batch)))
		if s.Opener != nil && ctx.Err() != nil {
			return context.Cause(ctx) // what was to be opened meanwhile was not
		}
	}
	return nil
}

// take classifies a batch, many values at once, and hands on its records in their order.
func (s *scanner) take(ctx context.Context, batch []KeyValue) error {
	if cap(s.records) < len(batch) {
		s.records = make([]classified, len(batch))
	}
	records := s.records[:len(batch)]
	defer func() {
		for i := range records {
			records[i].clear()
		}
	}()
	s.classify(ctx, batch, records)
	for i := range records {
		c := &records[i]
		s.result.Tally.Census.Add(c.value)
		if err := s.sink.Take(&c.Record, s.result.Tally.Add(&c.Record)); err != nil {
			return &sinkError{err}
		}
		if s.examiner != nil && c.payload != nil {
			if err := s.examiner.Examine(&c.Record, c.payload); err != nil {
				return &sinkError{err}
			}
		}
	}
	return nil
}

// atOnce is how many values a worker takes at a time.
const atOnce = 16

func (s *scanner) classify(ctx context.Context, batch []KeyValue, records []classified) {
	one := func(i int) {
		kv := &batch[i]
		records[i] = classified{}
		records[i].classify(ctx, s.Scope.Root(kv.Key), kv, s.Opener, s.wanted(kv))
		if s.examiner == nil {
			records[i].clear() // plaintext lives only while its header is read
		}
	}
	if s.workers == 1 || s.Sample || len(batch) <= atOnce {
		for i := range batch {
			one(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(s.workers, len(batch)/atOnce) {
		wg.Go(func() {
			for {
				end := int(next.Add(atOnce))
				for i := end - atOnce; i < min(end, len(batch)); i++ {
					one(i)
				}
				if end >= len(batch) {
					return
				}
			}
		})
	}
	wg.Wait()
}

const (
	sampleFirst = 16  // values under each key that a sample opens first
	sampleEvery = 100 // and of the rest each one of so many
)

// sample is what a sample is taken of.
type sample struct {
	root, group, resource string
	provider, key, keyID  string
}

// wanted tells whether a value is to be opened.
func (s *scanner) wanted(kv *KeyValue) bool {
	if s.Opener == nil || !s.Sample {
		return true
	}
	c := classify(context.Background(), s.Scope.Root(kv.Key), kv, s.Opener, false)
	of := sample{c.Object.Root, c.Object.Group, c.Object.Resource, string(c.AtRest.Provider), c.AtRest.Key, c.AtRest.KeyID}
	if len(s.sampled) >= maxGroups {
		return false
	}
	n := s.sampled[of]
	s.sampled[of]++
	return n < sampleFirst || n%sampleEvery == 0
}
