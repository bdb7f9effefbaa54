package storedversions

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/svmctl/svmctl/internal/crd"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// TestProve has what goes wrong between the write and the proof. In each case v1 must be in storedVersions in the end: a naive
// prune would exit 0.
func TestProve(t *testing.T) {
	second := func(c *cluster, do func()) {
		c.onPin = func(n int) {
			if n == 2 {
				do()
			}
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(c *cluster, req *PruneRequest, cancel func())
		state State
		says  string
	}{
		{"an object is written at v1", func(c *cluster, _ *PruneRequest, _ func()) { second(c, func() { c.object("two", "v1") }) }, NeedsMigration, "1 object is stored at v1"},
		{"an encrypted object appears", func(c *cluster, _ *PruneRequest, _ func()) {
			second(c, func() {
				c.etcd.Put(c.t, "/registry/"+group+"/selfierequests/ns/two", "k8s:enc:aescbc:v1:key1:"+strings.Repeat("x", 48))
			})
		}, Blocked, "cannot be seen"},
		{"the storage version flips, and back, and nothing is written", func(c *cluster, _ *PruneRequest, _ func()) {
			second(c, func() { c.define([]string{"v2", "v1"}, "v2", "v1") })
		}, Prunable, "names v1 again"},
		{"the storage version flips", func(c *cluster, _ *PruneRequest, _ func()) {
			second(c, func() { c.define([]string{"v2", "v1"}, "v1", "v2") })
		}, NeedsMigration, "changed to v1"},
		{"another apiserver shows up with another version", func(_ *cluster, req *PruneRequest, _ func()) { req.Agreement = agreed(yes, no) }, Blocked, "not every apiserver"},
		{"the apiservers cannot all be asked again", func(_ *cluster, req *PruneRequest, _ func()) { req.Agreement = agreed(yes, nil) }, Blocked, "could not be told"},
		{"interrupted while it writes", func(c *cluster, _ *PruneRequest, cancel func()) {
			c.onPatch = func(n int, _ http.ResponseWriter, apply func() int) bool {
				if n == 1 {
					apply()
					cancel()
					time.Sleep(50 * time.Millisecond)
				}
				return n == 1
			}
		}, Blocked, "interrupted"},
		{"interrupted while it scans", func(c *cluster, _ *PruneRequest, cancel func()) { second(c, cancel) }, Blocked, "could not be read again"},
		{"the definition is deleted", func(c *cluster, _ *PruneRequest, _ func()) {
			c.onGet = func(n int) int {
				if n == 2 {
					c.etcd.Client.Delete(context.Background(), c.key())
				}
				return 0
			}
		}, Blocked, "deleted after the write"},
		{"the definition is created again", func(c *cluster, _ *PruneRequest, _ func()) {
			second(c, func() {
				c.etcd.Client.Delete(context.Background(), c.key())
				c.etcd.Put(c.t, c.key(), definition("uid-2", []string{"v1", "v2"}, "v2", "v1"))
			})
		}, Blocked, "deleted after the write"},
		{"etcd is a copy that the apiserver does not write to", func(c *cluster, req *PruneRequest, _ func()) {
			copied := prunable(c.t) // the same keys at the same revisions
			req.Store = copied.store
		}, Blocked, "could not be read again"},
		{"the put-back conflicts", func(c *cluster, _ *PruneRequest, _ func()) {
			second(c, func() { c.object("two", "v1") })
			c.onPatch = func(n int, _ http.ResponseWriter, _ func() int) bool {
				if n == 2 {
					c.define([]string{"v2"}, "v2", "v1")
				}
				return false
			}
		}, NeedsMigration, "1 object"},
		{"the answer to the put-back is lost", func(c *cluster, _ *PruneRequest, _ func()) {
			second(c, func() { c.object("two", "v1") })
			c.onPatch = func(n int, _ http.ResponseWriter, apply func() int) bool {
				if n == 2 {
					apply()
				}
				if n == 2 || n == 3 {
					panic(http.ErrAbortHandler)
				}
				return false
			}
		}, NeedsMigration, "1 object"},
		{"the apiserver is out for the put-back", func(c *cluster, _ *PruneRequest, _ func()) {
			second(c, func() { c.object("two", "v1") })
			c.onGet = func(n int) int {
				if n > 2 && n < 6 {
					return http.StatusServiceUnavailable
				}
				return 0
			}
		}, NeedsMigration, "1 object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cl := prunable(t)
			req := cl.pruneRequest()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c.spoil(cl, &req, cancel)
			row := cl.prune(ctx, req)
			if !row.Refused || row.State != c.state || !strings.Contains(row.Reason, c.says) {
				t.Errorf("want a refusal, %s, that says %q", c.state, c.says)
			}
			if at, _ := cl.read(); at == 0 {
				return // there is nothing to put back into
			}
			cl.wantStored("v1", "v2")
			if !slices.Contains(row.StoredVersions, "v1") {
				t.Error("the report does not say that storedVersions names v1")
			}
		})
	}
}

// The answer is lost, and the write is done: the proof decides, in both directions.
func TestLostAnswer(t *testing.T) {
	for _, code := range []int{0, http.StatusGatewayTimeout, http.StatusInternalServerError} {
		for _, late := range []bool{false, true} {
			t.Run(strconv.Itoa(code)+strconv.FormatBool(late), func(t *testing.T) {
				t.Parallel()
				c := prunable(t)
				c.onPatch = func(n int, w http.ResponseWriter, apply func() int) bool {
					if n > 1 {
						return false
					}
					apply()
					if late {
						c.object("two", "v1")
					}
					if code == 0 {
						panic(http.ErrAbortHandler)
					}
					answer(w, code)
					return true
				}
				row := c.prune(t.Context(), c.pruneRequest())
				if row.Refused != late || !slices.Equal(row.Dropped, []string{"v1"}) || row.ToRevision == 0 {
					t.Error("the proof was not made")
				}
				if late {
					c.wantStored("v1", "v2")
				} else {
					c.wantStored("v2")
				}
			})
		}
	}
}

// The answer is lost, the write is still under way, and is done after svmctl has looked: the definition has to be changed first,
// or the trim comes behind the last look. An object is written at v1 as well.
func TestLateWrite(t *testing.T) {
	c := prunable(t)
	var late func() int
	c.onPatch = func(n int, _ http.ResponseWriter, apply func() int) bool {
		if n == 1 {
			late = apply
			panic(http.ErrAbortHandler)
		}
		return false
	}
	row := c.prune(t.Context(), c.pruneRequest())
	if !row.Refused || len(row.Dropped) > 0 {
		t.Error("want a refusal")
	}
	c.object("two", "v1")
	if code := late(); code != http.StatusConflict {
		t.Errorf("the late write got %d, want a conflict", code)
	}
	c.wantStored("v1", "v2")
}

// Nobody can tell what became of the write: the apiserver does not come back.
func TestNobodyKnows(t *testing.T) {
	if testing.Short() {
		t.Skip("waits 13 s for an apiserver")
	}
	t.Parallel()
	c := prunable(t)
	c.onPatch = func(int, http.ResponseWriter, func() int) bool { panic(http.ErrAbortHandler) }
	report, err := Prune(t.Context(), c.pruneRequest())
	if err != nil {
		t.Fatal(err)
	}
	row := report.CRDs[0]
	if !row.Refused || row.State != Blocked || !strings.Contains(row.Reason, "nobody can tell") || len(report.Warnings) != 1 {
		t.Errorf("%+v %q", row, report.Warnings)
	}
}

// A version that cannot be put back must not keep the others from it, and is named.
func TestPutBackOfWhatIsGone(t *testing.T) {
	c := newCluster(t)
	c.define([]string{"v3"}, "v3", "v2")
	d, err := PutBack(t.Context(), c.request().Definitions.(*crd.Client), name, []string{"v1", "v2"})
	if err == nil || !strings.Contains(err.Error(), "v1") || strings.Contains(err.Error(), "v2") || d == nil || !slices.Equal(d.StoredVersions, []string{"v3", "v2"}) {
		t.Errorf("%+v, %v", d, err)
	}
	c.wantStored("v2", "v3")
}

// storedVersions is trimmed, v1 leaves spec.versions at once, and an object at v1 appears: it has to be said.
func TestPutBackWithoutTheVersion(t *testing.T) {
	c := prunable(t)
	c.onPin = func(n int) {
		if n == 2 {
			c.object("two", "v1")
			c.define([]string{"v2"}, "v2")
		}
	}
	row := c.prune(t.Context(), c.pruneRequest())
	if !row.Refused || row.State != Blocked || len(row.PutBack) > 0 || !strings.Contains(row.Reason, "could not be put back") {
		t.Error("want it to be blocked, with v1 that could not be put back")
	}
}

// The apiserver refuses the put-back: no claim that it was done.
func TestPutBackRefused(t *testing.T) {
	c := prunable(t)
	c.onPin = func(n int) {
		if n == 2 {
			c.object("two", "v1")
		}
	}
	c.onPatch = func(n int, w http.ResponseWriter, _ func() int) bool {
		if n > 1 {
			answer(w, 403)
		}
		return n > 1
	}
	row := c.prune(t.Context(), c.pruneRequest())
	if !row.Refused || row.State != Blocked || len(row.PutBack) > 0 || !strings.Contains(row.Reason, "could not be put back") {
		t.Error("want it to be blocked, with v1 that could not be put back")
	}
	c.wantStored("v2")
}
