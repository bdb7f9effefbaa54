package rewrite

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func rbac(name string) reply {
	return refuse(403, metav1.StatusReasonForbidden,
		`secrets "`+name+`" is forbidden: User "eve" cannot patch resource "secrets" in API group "" in the namespace "ns"`)
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
