package rewrite

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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
	if f.last.Method != "PATCH" || f.last.Header.Get("Accept") != "application/json;as=Table;g=meta.k8s.io;v=v1" || f.last.Header.Get("Content-Type") != "application/merge-patch+json" {
		t.Errorf("%s %v", f.last.Method, f.last.Header)
	}

	group := Resource{Kind: "Deployment", Namespaced: true}
	group.Group, group.Version, group.GroupVersionResource.Resource = "apps", "v1", "deployments"
	c, err := newPatchClient(f.memory(), group, Options{Concurrency: 1})
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
