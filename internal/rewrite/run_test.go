package rewrite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func rbac(name string) reply {
	return refuse(403, metav1.StatusReasonForbidden,
		`secrets "`+name+`" is forbidden: User "eve" cannot patch resource "secrets" in API group "" in the namespace "ns"`)
}

func TestRequest(t *testing.T) {
	f := newFake(t, nil)
	p := mustPatcher(t, f.memory(), Options{DryRun: true})
	results, err := runAll(t, p, named(1))
	if err != nil {
		t.Fatal(err)
	}
	if r := results["o0"]; r.Status != Accepted || r.Attempts != 1 || r.Uncertain {
		t.Errorf("dry run: %+v", r)
	}
	if got, want := f.last.URL.String(), "https://fake/api/v1/namespaces/ns/secrets/o0?dryRun=All&fieldManager=svmctl&includeObject=None"; got != want {
		t.Errorf("url %s, want %s", got, want)
	}
	if f.lastBody != `{"apiVersion":"v1","kind":"Secret","metadata":{"resourceVersion":"1"}}` {
		t.Errorf("body %s", f.lastBody)
	}
	if f.last.Method != "PATCH" || f.last.Header.Get("Accept") != accept || f.last.Header.Get("Content-Type") != "application/merge-patch+json" {
		t.Errorf("%s %v", f.last.Method, f.last.Header)
	}

	group := Resource{Kind: "Deployment", Namespaced: true}
	group.Group, group.Version, group.GroupVersionResource.Resource = "apps", "v1", "deployments"
	c, err := newPatchClient(f.memory(), group, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	c.patch(t.Context(), Object{Namespace: "ns", Name: "a:b c", Revision: 5})
	if got, want := f.last.URL.String(), "https://fake/apis/apps/v1/namespaces/ns/deployments/a:b%20c?fieldManager=svmctl&includeObject=None"; got != want {
		t.Errorf("url %s, want %s", got, want)
	}
	results, err = runAll(t, mustPatcher(t, f.memory(), Options{}), func(yield func(Object, error) bool) {
		yield(Object{Namespace: "ns", Name: "a/b", Revision: 1}, nil)
	})
	if r := results["a/b"]; err != nil || r.Attempts != 0 || r.Failure.Kind != KindRequest {
		t.Errorf("%v %+v", err, r)
	}
	sent := f.total
	for _, o := range []Object{{Namespace: "ns", Name: "a/b", Revision: 1}, {Namespace: "ns", Name: "..", Revision: 1},
		{Name: "a", Revision: 1}, {Namespace: "ns", Name: "a"}, {Namespace: "ns", Revision: 1}} {
		if a := c.patch(t.Context(), o); a.status != Failed || a.failure.Kind != KindRequest || a.course != settled {
			t.Errorf("%+v: %+v", o, a)
		}
	}
	if f.total != sent {
		t.Error("an impossible name was sent")
	}
}

func TestEveryOutcomeIsVisited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(name string, attempt int) reply {
			switch name {
			case "o1":
				return reply{code: 200, body: table(2)}
			case "o2":
				return reply{code: 409, body: status(409, metav1.StatusReasonConflict, canary, name)}
			case "o3":
				return reply{code: 404, body: status(404, metav1.StatusReasonNotFound, canary, name)}
			case "o4":
				return refuse(403, metav1.StatusReasonForbidden, `admission webhook "w.example.com" denied the request: `+canary)
			case "o5":
				return reply{code: 200, body: `{"kind":"Table"}`}
			case "o6":
				return reply{code: 200, body: `{"kind":"Secret","data":{"p":"` + canary + `"},"metadata":{"resourceVersion":"99"}}`}
			case "o7":
				return refuse(413, metav1.StatusReasonRequestEntityTooLarge, "")
			}
			return reply{}
		})
		results, err := runAll(t, mustPatcher(t, f.memory(), Options{}), named(20))
		if err != nil || len(results) != 20 || f.total != 20 {
			t.Fatalf("%v, %d results, %d requests", err, len(results), f.total)
		}
		want := map[string]Status{"o0": Rewritten, "o1": Unchanged, "o2": Conflict, "o3": NotFound, "o4": Failed, "o5": Failed, "o6": Rewritten, "o7": Failed}
		for name, s := range want {
			if results[name].Status != s {
				t.Errorf("%s: %v, want %v", name, results[name].Status, s)
			}
		}
		if r := results["o5"]; r.Failure.Kind != KindAnswer || !r.Uncertain {
			t.Errorf("o5: %+v", r)
		}
		if r := results["o6"]; r.Revision != 99 {
			t.Errorf("o6: %+v", r)
		}
		if !strings.Contains(results["o4"].Failure.Message, canary) {
			t.Error("o4 lost its message")
		}
		if r := results["o7"]; r.Failure.Kind != KindTooLarge || r.Attempts != 1 {
			t.Errorf("o7: %+v", r)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(_ string, attempt int) reply {
			if attempt == 1 {
				r := refuse(429, metav1.StatusReasonTooManyRequests, "too many requests")
				r.header = map[string]string{"Retry-After": "7"}
				return r
			}
			return reply{}
		})
		start := time.Now()
		results, err := runAll(t, mustPatcher(t, f.memory(), Options{Concurrency: 1}), named(1))
		if err != nil || results["o0"].Status != Rewritten || results["o0"].Attempts != 2 || results["o0"].Uncertain {
			t.Fatalf("%v %+v", err, results)
		}
		if d := time.Since(start); d < 7*time.Second || d > 8*time.Second {
			t.Errorf("took %s", d)
		}
	})
}

func TestThrottlingHoldsEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(name string, attempt int) reply {
			if name == "o0" && attempt == 1 {
				r := refuse(429, metav1.StatusReasonTooManyRequests, "")
				r.header = map[string]string{"Retry-After": "3"}
				return r
			}
			return reply{}
		})
		start := time.Now()
		if _, err := runAll(t, mustPatcher(t, f.memory(), Options{Concurrency: 1}), named(50)); err != nil {
			t.Fatal(err)
		}
		for _, at := range f.times[1:] {
			if at.Sub(start) < 3*time.Second {
				t.Fatalf("request %s after the start", at.Sub(start))
			}
		}
	})
}

func TestFlakyWebhookIsOutlived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		f := newFake(t, func(name string, _ int) reply {
			if name == "o3" && time.Since(start) < 90*time.Second {
				return internal(`failed calling webhook "w.example.com": ` + canary)
			}
			return reply{}
		})
		var slowest time.Duration
		p := mustPatcher(t, f.memory(), Options{Concurrency: 2})
		err := p.Run(t.Context(), named(100), func(r Result) error {
			if r.Status != Rewritten {
				t.Errorf("%+v %+v", r, r.Failure)
			}
			if r.Name != "o3" {
				slowest = max(slowest, time.Since(start))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if slowest > time.Second {
			t.Errorf("others waited %s", slowest)
		}
		if f.attempts["o3"] > 60 {
			t.Errorf("%d attempts", f.attempts["o3"])
		}
	})
}

func TestObjectIsGivenUpAfterMaxOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(name string, _ int) reply {
			if name == "o3" {
				return internal(`failed calling webhook "w.example.com": ` + canary)
			}
			return reply{}
		})
		start := time.Now()
		results, err := runAll(t, mustPatcher(t, f.memory(), Options{Concurrency: 2}), named(10))
		if err != nil {
			t.Fatal(err)
		}
		r := results["o3"]
		if r.Status != Failed || r.Failure.Kind != KindWebhookDown || r.Failure.By != "w.example.com" || r.Attempts < 10 || r.Uncertain {
			t.Errorf("%+v %+v", r, r.Failure)
		}
		if d := time.Since(start); d < 2*time.Minute || d > 2*time.Minute+time.Second {
			t.Errorf("took %s", d)
		}
		if count(results, Rewritten) != 9 {
			t.Errorf("%d rewritten", count(results, Rewritten))
		}
	})
}

func TestOutageWithinLimitIsOutlived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		down := func() bool { d := time.Since(start); return d > time.Second && d < 100*time.Second }
		var during int
		f := newFake(t, func(string, int) reply {
			if down() {
				during++
				return reply{err: errRefused}
			}
			return reply{delay: 10 * time.Millisecond}
		})
		p := mustPatcher(t, f.memory(), Options{Concurrency: 8})
		results, err := runAll(t, p, named(2000))
		if err != nil || count(results, Rewritten) != 2000 {
			t.Fatalf("%v, %d rewritten", err, count(results, Rewritten))
		}
		// 99 s of one probe each 2.5 to 5 s, and the 8 that found out.
		if during > 60 {
			t.Errorf("%d requests during the outage", during)
		}
	})
}

func TestOutageBeyondLimitStopsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		f := newFake(t, func(string, int) reply {
			if time.Since(start) > time.Second {
				return reply{err: errRefused}
			}
			return reply{delay: 10 * time.Millisecond}
		})
		p := mustPatcher(t, f.memory(), Options{Concurrency: 8, MaxOutage: 20 * time.Second})
		results, err := runAll(t, p, named(2000))
		var outage *OutageError
		if !errors.As(err, &outage) {
			t.Fatalf("%v", err)
		}
		if outage.Duration < 20*time.Second || outage.Duration > 21*time.Second || outage.Failure.Kind != KindTransport ||
			outage.Since.Sub(start) > 1100*time.Millisecond {
			t.Errorf("%+v %+v", outage, outage.Failure)
		}
		lost := 0
		for _, r := range results {
			if r.Status == Failed {
				lost++
				if r.Failure.Kind != KindOutage || r.Attempts == 0 || !r.Uncertain {
					t.Errorf("%+v %+v", r, r.Failure)
				}
			}
		}
		if lost == 0 || lost > 16 || len(results) != lost+count(results, Rewritten) {
			t.Errorf("%d lost, %d results", lost, len(results))
		}
		if s := p.Status(); s.Done != len(results) || s.InFlight != 0 || s.Waiting != 0 || s.OutageSince.IsZero() {
			t.Errorf("%+v", s)
		}
	})
}

func TestServerErrorsForAllGiveUpFastAndThenStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(string, int) reply { return internal("etcdserver: no leader") })
		p := mustPatcher(t, f.memory(), Options{Concurrency: 8})
		start := time.Now()
		results, err := runAll(t, p, named(100_000))
		var outage *OutageError
		if !errors.As(err, &outage) || outage.Failure.Kind != KindServer {
			t.Fatalf("%v", err)
		}
		if d := time.Since(start); d > 3*time.Minute {
			t.Errorf("took %s", d)
		}
		if len(results) < unservedRun || len(results) > unservedRun+2*window(8) {
			t.Errorf("%d results", len(results))
		}
	})
}

// A namespace whose webhook is down must not keep others from being rewritten.
func TestBadNamespaceDoesNotHoldUpTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(name string, _ int) reply {
			if len(name) <= 4 { // o0 … o999
				return internal(`failed calling webhook "w.example.com": x`)
			}
			return reply{}
		})
		start := time.Now()
		var last time.Duration
		failed, rewritten := 0, 0
		err := mustPatcher(t, f.memory(), Options{Concurrency: 8}).Run(t.Context(), named(3000), func(r Result) error {
			switch r.Status {
			case Rewritten:
				rewritten++
				last = time.Since(start)
			case Failed:
				failed++
			}
			return nil
		})
		if err != nil || failed != 1000 || rewritten != 2000 {
			t.Fatalf("%v, %d failed, %d rewritten", err, failed, rewritten)
		}
		if last > 125*time.Second {
			t.Errorf("the others took %s", last)
		}
	})
}

func TestForbiddenIsFinalExceptAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(name string, _ int) reply { return rbac(name) })
		results, err := runAll(t, mustPatcher(t, f.memory(), Options{}), named(5))
		if err != nil || count(results, Failed) != 5 || f.total != 5 || results["o0"].Failure.Kind != KindForbidden {
			t.Fatalf("%v %+v", err, results)
		}
		start := time.Now()
		f = newFake(t, func(name string, _ int) reply {
			switch d := time.Since(start); {
			case d < 3*time.Second:
				return reply{err: io.ErrUnexpectedEOF}
			case d < 12*time.Second:
				return rbac(name)
			}
			return reply{}
		})
		if results, err = runAll(t, mustPatcher(t, f.memory(), Options{}), named(50)); err != nil || count(results, Rewritten) != 50 {
			t.Fatalf("%v %+v", err, results)
		}
		start = time.Now()
		f = newFake(t, func(name string, _ int) reply {
			if time.Since(start) < 3*time.Second {
				return reply{err: io.ErrUnexpectedEOF}
			}
			return rbac(name)
		})
		results, err = runAll(t, mustPatcher(t, f.memory(), Options{}), named(5))
		if err != nil || count(results, Failed) != 5 || results["o0"].Failure.Kind != KindForbidden {
			t.Fatalf("%v %+v", err, results)
		}
		if d := time.Since(start); d > 40*time.Second {
			t.Errorf("took %s", d)
		}
	})
}

func TestCredentialsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		f := newFake(t, func(string, int) reply {
			if d := time.Since(start); d < 50*time.Second {
				return refuse(401, metav1.StatusReasonUnauthorized, "Unauthorized")
			}
			return reply{}
		})
		results, err := runAll(t, mustPatcher(t, f.memory(), Options{}), named(50))
		if err != nil || count(results, Rewritten) != 50 {
			t.Fatalf("%v", err)
		}
		start = start.Add(time.Hour)
		f.revision = map[string]int64{}
		_, err = runAll(t, mustPatcher(t, f.memory(), Options{MaxOutage: 30 * time.Second}), named(50))
		var outage *OutageError
		if !errors.As(err, &outage) || outage.Failure.Kind != KindUnauthorized {
			t.Fatalf("%v", err)
		}
	})
}

func TestHangingRequestTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(name string, attempt int) reply {
			if name == "o0" && attempt == 1 {
				return reply{delay: time.Hour}
			}
			return reply{}
		})
		start := time.Now()
		results, err := runAll(t, mustPatcher(t, f.memory(), Options{Concurrency: 2}), named(100))
		if err != nil || count(results, Rewritten) != 100 {
			t.Fatalf("%v", err)
		}
		if r := results["o0"]; !r.Uncertain || r.Attempts != 2 {
			t.Errorf("%+v", r)
		}
		if d := time.Since(start); d < 45*time.Second || d > 46*time.Second {
			t.Errorf("took %s", d)
		}
	})
}

func TestMemoryIsBoundedWithAStuckObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100_000
		f := newFake(t, func(name string, attempt int) reply {
			if name == "o5" && attempt < 8 {
				return internal("stuck")
			}
			return reply{}
		})
		var visited atomic.Int64
		taken, most := int64(0), int64(0)
		objects := func(yield func(Object, error) bool) {
			for o := range named(n) {
				taken++
				most = max(most, taken-visited.Load())
				if !yield(o, nil) {
					return
				}
			}
		}
		err := mustPatcher(t, f.memory(), Options{Concurrency: 4}).Run(t.Context(), objects, func(Result) error {
			visited.Add(1)
			return nil
		})
		if err != nil || visited.Load() != n {
			t.Fatalf("%v, %d visited", err, visited.Load())
		}
		if most > int64(window(4))+1 {
			t.Errorf("%d objects at once", most)
		}
	})
}

func TestConcurrencyAndQPS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(string, int) reply { return reply{delay: 20 * time.Millisecond} })
		if _, err := runAll(t, mustPatcher(t, f.memory(), Options{Concurrency: 7}), named(500)); err != nil {
			t.Fatal(err)
		}
		if f.most != 7 {
			t.Errorf("%d in flight", f.most)
		}
		f = newFake(t, func(_ string, attempt int) reply {
			if attempt == 1 {
				return internal("x")
			}
			return reply{}
		})
		start := time.Now()
		if _, err := runAll(t, mustPatcher(t, f.memory(), Options{QPS: 50}), named(500)); err != nil {
			t.Fatal(err)
		}
		// 1,000 requests with the retries, 5 of them at once.
		if d := time.Since(start); d < 19890*time.Millisecond || d > 21*time.Second {
			t.Errorf("took %s", d)
		}
		for i := 50 + 5; i < len(f.times); i++ {
			if d := f.times[i].Sub(f.times[i-55]); d < 990*time.Millisecond {
				t.Fatalf("55 requests within %s", d)
			}
		}
	})
}

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
