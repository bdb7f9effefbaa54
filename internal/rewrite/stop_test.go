package rewrite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStops(t *testing.T) {
	errStop := errors.New("stop")
	run := func(t *testing.T, opts Options, objects func(cancel func()) func(func(Object, error) bool), visitErr error) (map[string]Result, *fake, error) {
		f := newFake(t, func(name string, _ int) reply {
			if name == "o2" {
				return internal("x")
			}
			return reply{delay: 100 * time.Millisecond}
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		opts.Concurrency = 5
		p := mustPatcher(t, f.memory(), opts)
		results := map[string]Result{}
		err := p.Run(ctx, objects(cancel), func(r Result) error {
			results[r.Name] = r
			if visitErr != nil && len(results) >= 10 {
				return visitErr
			}
			return nil
		})
		// Whatever was sent has been visited.
		if len(results) != len(f.attempts) {
			t.Errorf("%d sent, %d visited", len(f.attempts), len(results))
		}
		if r := results["o2"]; r.Status != Failed || r.Failure.Kind != KindInterrupted || r.Failure.Code != 500 {
			t.Errorf("o2: %+v %+v", r, r.Failure)
		}
		if count(results, Rewritten) != len(results)-1 {
			t.Errorf("%+v", results)
		}
		return results, f, err
	}
	all := func(func()) func(func(Object, error) bool) { return named(1000) }
	t.Run("visit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if results, _, err := run(t, Options{}, all, errStop); !errors.Is(err, errStop) || len(results) > 20 {
				t.Errorf("%v, %d", err, len(results))
			}
		})
	})
	t.Run("sequence", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, _, err := run(t, Options{}, func(func()) func(func(Object, error) bool) {
				return func(yield func(Object, error) bool) {
					named(10)(yield)
					yield(Object{}, errStop)
				}
			}, nil)
			if !errors.Is(err, errStop) {
				t.Error(err)
			}
		})
	})
	t.Run("gate", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			_, f, err := run(t, Options{Gate: func(context.Context) error {
				if asked++; asked > 20 {
					return errStop
				}
				return nil
			}}, all, nil)
			if !errors.Is(err, errStop) || len(f.attempts) > 20 {
				t.Errorf("%v %d", err, len(f.attempts))
			}
		})
	})
	t.Run("context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			results, _, err := run(t, Options{}, func(cancel func()) func(func(Object, error) bool) {
				return func(yield func(Object, error) bool) {
					for o := range named(1000) {
						if o.Name == "o50" {
							cancel()
						}
						if !yield(o, nil) {
							return
						}
					}
				}
			}, nil)
			if !errors.Is(err, context.Canceled) || len(results) > 50 {
				t.Errorf("%v, %d", err, len(results))
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("took %s", d)
			}
		})
	})
}

func TestGraceIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f *fake
		f = newFake(t, func(string, int) reply {
			if f.total == 1 {
				return reply{}
			}
			return reply{delay: 40 * time.Second}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		results, err := runContext(t, ctx, mustPatcher(t, f.memory(), Options{Concurrency: 3}), named(10))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if d := time.Since(start); d != 11*time.Second {
			t.Errorf("took %s", d)
		}
		for _, r := range results {
			if r.Status == Failed && (!r.Uncertain || r.Failure.Kind != KindInterrupted) {
				t.Errorf("%+v %+v", r, r.Failure)
			}
		}
		if len(results) != 4 || count(results, Failed) != 3 {
			t.Errorf("%+v", results)
		}
	})
}

func TestGateBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, nil)
		open := make(chan struct{})
		asked := 0
		p := mustPatcher(t, f.memory(), Options{Concurrency: 4, Gate: func(ctx context.Context) error {
			if asked++; asked <= 10 {
				return nil
			}
			<-open
			return nil
		}})
		go func() {
			time.Sleep(time.Minute)
			f.mu.Lock()
			if f.total != 10 {
				t.Errorf("%d requests while the gate was shut", f.total)
			}
			f.mu.Unlock()
			if s := p.Status(); s.Done != 10 || s.InFlight != 0 {
				t.Errorf("%+v", s)
			}
			close(open)
		}()
		if results, err := runAll(t, p, named(30)); err != nil || len(results) != 30 {
			t.Errorf("%v", err)
		}
	})
}

func TestNothingIsLeftRunning(t *testing.T) {
	before := runtime.NumGoroutine()
	f := newFake(t, func(_ string, attempt int) reply {
		if attempt == 1 {
			return reply{err: errRefused}
		}
		return reply{}
	})
	for range 5 {
		p := mustPatcher(t, f.memory(), Options{})
		if _, err := runAll(t, p, named(3)); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestOneRunAtATime(t *testing.T) {
	f := newFake(t, nil)
	p := mustPatcher(t, f.memory(), Options{})
	err := p.Run(t.Context(), named(1), func(Result) error {
		return p.Run(t.Context(), named(1), func(Result) error { return nil })
	})
	if err == nil || !strings.Contains(err.Error(), "already running") {
		t.Error(err)
	}
	if err := p.Run(t.Context(), named(0), func(Result) error { return fmt.Errorf("none") }); err != nil {
		t.Error(err)
	}
	if _, err := NewPatcher(f.memory(), secrets, Options{QPS: -1}); err == nil {
		t.Error("negative QPS accepted")
	}
}
