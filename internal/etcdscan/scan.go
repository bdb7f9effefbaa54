package etcdscan

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// maxRestarts bounds how often a scan of the newest revision begins again because its revision was compacted.
const maxRestarts = 3

// Sink takes the records of a scan in key order; a record is valid until Take returns. Begin is called before the first
// record, and again when the scan has to start over at a newer revision: everything taken so far is then void.
type Sink interface {
	Begin()
	Take(*Record, *Entry) error
}

// Examiner is a Sink that looks at plaintext as well. What it keeps must hold no byte of a value.
type Examiner interface {
	Sink
	// Examine is given the payload of each object of the API that is not encrypted or was opened, after its Take. The payload
	// is valid until Examine returns.
	Examine(r *Record, payload []byte) error
}

// Reading is what a scan reads, and how.
type Reading struct {
	Source   Source
	Scope    Scope
	Revision int64     // 0: the newest
	Opener   Opener    // nil: ciphertext stays closed
	Sample   bool      // open some of the values under each key, and not all
	Progress *Progress // nil: nobody watches
	// Announce is told, before anything is opened, how often each KMS plugin may be asked at most. It may be nil.
	Announce func(calls map[string]int64)
}

// Result is what a scan saw. It speaks of Pin.Revision alone.
type Result struct {
	Pin       Pin
	Tally     *Tally
	Counted   int64 // the store's own count, over the scope, at the revision
	Shortfall error // why not every key was read, or the sums do not agree; nil when the scan is whole
}

// Progress can be read while a scan runs. Its zero value is ready.
type Progress struct{ read, total atomic.Int64 }

// Done is the number of keys read so far and, once it is known, of all keys.
func (p *Progress) Done() (read, total int64) { return p.read.Load(), p.total.Load() }

// Scan reads the scope at one revision and hands each record to sink. An error means that nothing can be said. A Result with
// a Shortfall is what was seen before the scan had to stop: what it does not count is unread, not absent.
func Scan(ctx context.Context, r Reading, sink Sink) (Result, error) {
	if r.Progress == nil {
		r.Progress = new(Progress)
	}
	if asker, ok := r.Opener.(Asker); ok && r.Announce != nil {
		calls, err := asker.Calls(ctx, r)
		if err != nil {
			return Result{}, err
		}
		if len(calls) > 0 {
			r.Announce(calls)
		}
	}
	for restart := 0; ; restart++ {
		res, err := scanOnce(ctx, r, sink)
		if err != nil {
			return Result{}, err
		}
		if r.Revision == 0 && restart < maxRestarts && errors.Is(res.Shortfall, ErrCompacted) {
			continue
		}
		return res, nil
	}
}

func scanOnce(ctx context.Context, reading Reading, sink Sink) (Result, error) {
	src, scope := reading.Source, reading.Scope
	res := Result{Tally: new(Tally)}
	if len(scope.Ranges) == 0 {
		return Result{}, errors.New("scanning: no range to read")
	}
	pin, err := src.Pin(ctx, scope.Ranges[len(scope.Ranges)-1], reading.Revision)
	if err != nil {
		return Result{}, fmt.Errorf("pinning a revision: %w", err)
	}
	res.Pin = pin
	reading.Progress.read.Store(0)
	sink.Begin()
	ranges, err := count(ctx, src, scope, &res)
	if err != nil {
		return shortOrFail(ctx, res, err)
	}
	reading.Progress.total.Store(res.Counted)
	s := newScanner(reading, &res, sink)
	for _, r := range ranges {
		if err := s.readRange(ctx, r); err != nil {
			var sinkErr *sinkError
			if errors.As(err, &sinkErr) {
				return Result{}, sinkErr.err
			}
			return shortOrFail(ctx, res, fmt.Errorf("reading %q at revision %d: %w", r.Start, pin.Revision, err))
		}
	}
	if res.Tally.Objects() != res.Counted {
		res.Shortfall = fmt.Errorf("read %d keys where the store counts %d at revision %d", res.Tally.Objects(), res.Counted, pin.Revision)
	}
	if doubter, ok := src.(Doubter); ok && res.Shortfall == nil {
		if err := doubter.Doubts(ctx); err != nil {
			return shortOrFail(ctx, res, err)
		}
	}
	res.Tally.Resolve()
	return res, nil
}

// count has the store count the ranges, and returns those that are to be read.
func count(ctx context.Context, src Source, scope Scope, res *Result) ([]Range, error) {
	var ranges []Range
	var refused error // of the key that bears the name of the prefix that follows
	for i, r := range scope.Ranges {
		n, err := src.Count(ctx, r, res.Pin.Revision)
		switch {
		case errors.Is(err, ErrPermission) && scope.besidePrefix(i):
			refused = err
			continue
		case err == nil && n == 0 && refused != nil:
			err = refused // the key was meant, or nobody can say
		}
		if err != nil {
			return nil, fmt.Errorf("counting %q at revision %d: %w", r.Start, res.Pin.Revision, err)
		}
		// Who may read a directory that holds keys need not be allowed to read a key of its name.
		refused = nil
		ranges = append(ranges, r)
		res.Counted += n
	}
	return ranges, nil
}

// shortOrFail keeps what was read when the store failed under way; an interruption by the caller is an error.
func shortOrFail(ctx context.Context, res Result, err error) (Result, error) {
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	if errors.Is(err, ErrPermission) {
		return Result{}, err
	}
	res.Shortfall = err
	res.Tally.Resolve()
	return res, nil
}
