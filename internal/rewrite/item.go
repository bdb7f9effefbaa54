package rewrite

import (
	"errors"
	"time"
)

// item is an object that was taken up and is not settled.
type item struct {
	obj       Object
	attempts  int
	first     time.Time // of the first failure
	last      *Failure
	uncertain bool
}

func (it *item) result(s Status) Result {
	return Result{Object: it.obj, Status: s, Attempts: it.attempts, Uncertain: it.uncertain}
}

// leftover is the result of an object that was tried and not settled when the run stopped.
func leftover(it *item, cause error) Result {
	f := Failure{Kind: KindInterrupted}
	if it.last != nil {
		f = *it.last
		f.Kind = KindInterrupted
	}
	var outage *OutageError
	if errors.As(cause, &outage) {
		f.Kind = KindOutage
	}
	res := it.result(Failed)
	res.Failure = &f
	return res
}
