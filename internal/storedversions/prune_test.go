package storedversions

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/crd"
)

// prunable is a cluster with nothing in the way.
func prunable(t *testing.T) *cluster {
	c := newCluster(t)
	c.define([]string{"v1", "v2"}, "v2", "v1")
	c.object("one", "v2")
	return c
}

func TestPrune(t *testing.T) {
	c := prunable(t)
	row := c.prune(t.Context(), c.pruneRequest())
	if row.Refused || row.State != Clean || row.ToRevision <= row.FromRevision || !slices.Equal(row.Dropped, []string{"v1"}) || !slices.Equal(row.StoredVersions, []string{"v2"}) {
		t.Error("not trimmed")
	}
	c.wantStored("v2")
	if c.pins != 2 {
		t.Errorf("%d scans, want one before the write and one after", c.pins)
	}
}

func TestPruneDryRun(t *testing.T) {
	c := prunable(t)
	req := c.pruneRequest()
	req.DryRun = true
	before := c.etcd.Revision(t)
	if row := c.prune(t.Context(), req); row.Refused || !slices.Equal(row.Dropped, []string{"v1"}) || row.ToRevision != 0 {
		t.Error("not what would be trimmed")
	}
	if after := c.etcd.Revision(t); after != before {
		t.Error("something was written")
	}
}

// TestPruneByForce goes on where the apiservers differ or cannot be asked, and nowhere else.
func TestPruneByForce(t *testing.T) {
	for _, agree := range []*bool{no, nil} {
		c := prunable(t)
		req := c.pruneRequest()
		req.Force, req.Agreement = true, agreed(agree)
		report, err := Prune(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if report.Refused() || len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0], "by force") || report.APIServers.Agree != agree {
			t.Errorf("refused %t, %q", report.Refused(), report.Warnings)
		}
		c.wantStored("v2")
		c.define([]string{"v1", "v2"}, "v2", "v1")
		c.object("old", "v1")
		if row := c.prune(t.Context(), req); !row.Refused {
			t.Error("an old object was passed over by force")
		}
		c.wantStored("v1", "v2")
	}
}

// TestPruneRefuses has what must keep it from writing at all.
func TestPruneRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(c *cluster, req *PruneRequest)
		says  string
	}{
		{"an old object", func(c *cluster, _ *PruneRequest) { c.object("two", "v1") }, "1 object is stored at v1"},
		{"an old object written after the definition was read", func(c *cluster, _ *PruneRequest) {
			c.onPin = func(n int) {
				if n == 1 {
					c.object("two", "v1")
				}
			}
		}, "1 object is stored at v1"},
		{"an encrypted object", func(c *cluster, _ *PruneRequest) {
			c.etcd.Put(c.t, "/registry/"+group+"/selfierequests/ns/two", "k8s:enc:aescbc:v1:key1:"+strings.Repeat("x", 48))
		}, "cannot be seen"},
		{"a key among the objects that names none", func(c *cluster, _ *PruneRequest) {
			c.etcd.Put(c.t, "/registry/"+group+"/selfierequests/ns/two/deep", `{"apiVersion":"`+group+`/v2","kind":"SelfieRequest"}`)
		}, "cannot be seen"},
		{"an object that lies at another's key", func(c *cluster, _ *PruneRequest) {
			c.etcd.Put(c.t, "/registry/"+group+"/selfierequests/ns/two", `{"apiVersion":"`+group+`/v2","kind":"SelfieRequest","metadata":{"name":"three","namespace":"ns"}}`)
		}, "cannot be seen"},
		{"an object of another group", func(c *cluster, _ *PruneRequest) {
			c.etcd.Put(c.t, "/registry/"+group+"/selfierequests/ns/two", `{"apiVersion":"other.example.com/v2","kind":"SelfieRequest","metadata":{"name":"two","namespace":"ns"}}`)
		}, "cannot be seen"},
		{"a narrow prefix", func(c *cluster, req *PruneRequest) {
			req.Prefixes = []string{"/registry/" + group + "/selfierequests/ns"}
		}, "not in the scope"},
		{"another prefix", func(c *cluster, req *PruneRequest) {
			c.etcd.Put(c.t, "/registry/pods/ns/a", "k8s\x00")
			req.Prefixes = []string{"/registry/pods"}
		}, "not in the scope"},
		{"apiservers that differ", func(_ *cluster, req *PruneRequest) { req.Agreement = agreed(no) }, "not every apiserver writes v2"},
		{"apiservers that cannot all be asked", func(_ *cluster, req *PruneRequest) { req.Agreement = agreed(nil) }, "could not be told"},
		{"a definition that changes all the time", func(c *cluster, _ *PruneRequest) {
			c.onPin = func(int) { c.define([]string{"v1", "v2"}, "v2", "v1") }
		}, "changes all the time"},
		{"a write that is never in time", func(c *cluster, _ *PruneRequest) {
			c.onPatch = func(int, http.ResponseWriter, func() int) bool {
				c.define([]string{"v1", "v2"}, "v2", "v1")
				return false
			}
		}, "changed meanwhile"},
		{"no permission to write", func(c *cluster, _ *PruneRequest) {
			c.onPatch = func(_ int, w http.ResponseWriter, _ func() int) bool { answer(w, 403); return true }
		}, "403 Forbidden"},
		{"an answer that was lost before anything was written", func(c *cluster, _ *PruneRequest) {
			c.onPatch = func(n int, _ http.ResponseWriter, _ func() int) bool {
				if n == 1 {
					panic(http.ErrAbortHandler)
				}
				return false
			}
		}, "was not written"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cl := prunable(t)
			req := cl.pruneRequest()
			c.spoil(cl, &req)
			row := cl.prune(t.Context(), req)
			if !row.Refused || !strings.Contains(row.Reason, c.says) || len(row.Dropped) > 0 || strings.Contains(row.Reason, "CANARY") {
				t.Errorf("want a refusal that says %q", c.says)
			}
			cl.wantStored("v1", "v2")
		})
	}
}

// A definition that was changed between reading it and the write is looked at anew: the storage version is v1 by then.
func TestPruneConflict(t *testing.T) {
	c := prunable(t)
	c.onPatch = func(n int, _ http.ResponseWriter, _ func() int) bool {
		if n == 1 {
			c.define([]string{"v2", "v1"}, "v1", "v2")
		}
		return false
	}
	if row := c.prune(t.Context(), c.pruneRequest()); !row.Refused || row.StorageVersion != "v1" || row.State != NeedsMigration {
		t.Error("want a refusal: the storage version is v1 now, and an object is stored at v2")
	}
	c.wantStored("v1", "v2")
}

// Somebody else has trimmed what etcd still holds, as the in-tree controller does.
func TestPruneRestoresWhatOthersTrimmed(t *testing.T) {
	c := newCluster(t)
	c.define([]string{"v2"}, "v2", "v1")
	c.object("one", "v1")
	dry := c.pruneRequest()
	dry.DryRun = true
	if row := c.prune(t.Context(), dry); !row.Refused || len(row.PutBack) > 0 {
		t.Error("a dry run wants a refusal and writes nothing")
	}
	c.wantStored("v2")
	// Also where the apiservers do not agree, and another object cannot be seen.
	req := c.pruneRequest()
	req.Agreement = agreed(no)
	c.etcd.Put(t, "/registry/"+group+"/selfierequests/ns/two", "")
	if row := c.prune(t.Context(), req); !row.Refused || !slices.Equal(row.PutBack, []string{"v1"}) {
		t.Error("want v1 put back")
	}
	c.wantStored("v1", "v2")
}

// Of two definitions the first is deleted meanwhile, and etcd fails at the last. None is left out.
func TestPruneLeavesNoRowOut(t *testing.T) {
	c := prunable(t)
	ctx, cancel := context.WithCancel(t.Context())
	req := c.pruneRequest()
	c.onGet = func(n int) int { return http.StatusNotFound }
	row := c.prune(ctx, req)
	if !row.Refused || row.State != Blocked || !strings.Contains(row.Reason, "deleted") {
		t.Error("want the definition in the report, as deleted")
	}
	cancel()
	if _, err := Prune(ctx, req); err == nil {
		t.Error("an interruption before anything was done is an error")
	}
}

// Kubernetes keeps its own resources in directories that bear no group. Nothing is known of a definition of such a name.
func TestBuiltinNameIsBlocked(t *testing.T) {
	o := observation{d: &crd.Definition{Name: "storageversionmigrations.storagemigration.k8s.io", Group: "storagemigration.k8s.io", Plural: "storageversionmigrations", ResourceVersion: "1",
		Versions: []crd.Version{{Name: "v1", Storage: true}}, StoredVersions: []string{"v1"}}}
	c := newCluster(t)
	at := c.etcd.Put(t, "/registry/apiextensions.k8s.io/customresourcedefinitions/"+o.d.Name, "{}")
	o.d.ResourceVersion = itoa(at)
	req := c.request()
	req.roots = []string{"/registry"}
	seen, err := look(t.Context(), req, []*crd.Definition{o.d}, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	o.seen = seen
	if o.blocked, err = o.find(t.Context(), c.store); err != nil || o.row().State != Blocked {
		t.Errorf("%v, %+v", err, o.row())
	}
}
