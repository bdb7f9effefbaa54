package storedversions

import (
	"errors"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
)

func (c *cluster) survey(names ...string) (*Report, error) {
	c.t.Helper()
	req := c.request()
	req.Names = names
	return Survey(c.t.Context(), req)
}

func (c *cluster) wantRow(r *Report, state State, says string) {
	c.t.Helper()
	for _, row := range r.CRDs {
		if row.Name == name {
			if row.State != state || !strings.Contains(row.Reason, says) {
				c.t.Errorf("%s: %s; want %s that says %q", row.State, row.Reason, state, says)
			}
			return
		}
	}
	c.t.Errorf("no row for %s", name)
}

func TestSurvey(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(c *cluster)
		state State
		says  string
	}{
		{"nothing is wrong", func(*cluster) {}, Prunable, "v1"},
		{"it was changed after it was listed", func(c *cluster) {
			c.onPin = func(n int) {
				if n == 1 {
					c.define([]string{"v2", "v1"}, "v1", "v2")
				}
			}
		}, NeedsMigration, "1 object is stored at v2"},
		{"it changes all the time", func(c *cluster) {
			c.onPin = func(int) { c.define([]string{"v2"}, "v2", "v1") }
		}, Blocked, "all the time"},
		{"it was deleted after it was listed", func(c *cluster) {
			c.onPin = func(n int) {
				if n == 1 {
					c.etcd.Client.Delete(c.t.Context(), c.key())
				}
			}
		}, Blocked, "deleted meanwhile"},
		{"it was deleted and created again", func(c *cluster) {
			c.onPin = func(n int) {
				if n == 1 {
					c.etcd.Client.Delete(c.t.Context(), c.key())
					c.etcd.Put(c.t, c.key(), definition("uid-2", []string{"v2"}, "v2"))
				}
			}
		}, Clean, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cl := prunable(t)
			c.spoil(cl)
			report, err := cl.survey()
			if err != nil {
				t.Fatal(err)
			}
			cl.wantRow(report, c.state, c.says)
		})
	}
}

// Two control planes share an etcd and have definitions of one name. What lies under the other's root is not this one's: neither
// must its old objects stain a clean definition, nor its clean directory stand for this one's.
func TestSharedEtcd(t *testing.T) {
	server := etcdtest.Start(t)
	a, b := clusterIn(t, server, "/a"), clusterIn(t, server, "/b")
	for _, c := range []*cluster{a, b} {
		server.Put(t, c.root+"/configmaps/ns/x", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"ns"}}`)
	}
	server.Put(t, a.key(), definition("uid-a", []string{"v2"}, "v2", "v1"))
	server.Put(t, b.key(), definition("uid-b", []string{"v1", "v2"}, "v2", "v1"))
	server.Put(t, a.key(), definition("uid-a", []string{"v2"}, "v2", "v1")) // now b's revision lies between a's first and last
	a.object("clean", "v2")
	b.object("old", "v1")
	for _, c := range []struct {
		c     *cluster
		state State
	}{{a, Clean}, {b, NeedsMigration}} {
		report, err := c.c.survey()
		if err != nil {
			t.Fatal(err)
		}
		c.c.wantRow(report, c.state, "")
		if len(report.CRDs) != 1 || len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0], "left out") {
			t.Errorf("%d rows and warnings %q, want the other root left out, and said", len(report.CRDs), report.Warnings)
		}
	}
	req := b.pruneRequest()
	req.Prefixes = []string{"/a"}
	if row := b.prune(t.Context(), req); !row.Refused || !strings.Contains(row.Reason, "not in the scope") {
		t.Error("the other's directory was taken for this one's")
	}
	b.wantStored("v1", "v2")
}

// Clusters that are set up alike have one definition at one revision. The UID tells.
func TestAnotherClustersEtcd(t *testing.T) {
	c := prunable(t)
	other := newCluster(t)
	other.etcd.Put(t, other.key(), definition("uid-2", []string{"v1", "v2"}, "v2", "v1"))
	req := c.request()
	req.Store = other.store
	for _, names := range [][]string{nil, {name}} {
		req.Names = names
		if _, err := Survey(t.Context(), req); !errors.Is(err, ErrForeignEtcd) {
			t.Errorf("%v: %v", names, err)
		}
	}
	prune := c.pruneRequest()
	prune.Store = other.store
	if _, err := Prune(t.Context(), prune); !errors.Is(err, ErrForeignEtcd) {
		t.Errorf("prune: %v", err)
	}
	c.wantStored("v1", "v2")
}

func TestOrphans(t *testing.T) {
	c := prunable(t)
	c.etcd.Put(t, "/registry/gone.example.com/things/ns/a", `{"apiVersion":"gone.example.com/v1","kind":"Thing","metadata":{"name":"a","namespace":"ns"}}`)
	report, err := c.survey()
	if err != nil {
		t.Fatal(err)
	}
	if len(report.CRDs) != 2 || report.CRDs[0].Name != name || report.CRDs[1].Name != "things.gone.example.com" ||
		report.CRDs[1].State != Blocked || report.CRDs[1].Stored["v1"] != 1 {
		t.Errorf("%+v", report.CRDs)
	}
}

// A scan that starts over is begun again: what was counted before is void, or objects would be counted twice.
func TestBeginAgain(t *testing.T) {
	c := newCounter([]*crd.Definition{{Group: group, Plural: "selfierequests"}})
	r := &etcdscan.Record{Object: key.Parse("/registry", "/registry/"+group+"/selfierequests/ns/a"), Stored: stored.Type{APIVersion: group + "/v1"}}
	for range 2 {
		c.Begin()
		if err := c.Take(r, nil); err != nil {
			t.Fatal(err)
		}
	}
	if h := c.of("/registry", resourceOf(&crd.Definition{Group: group, Plural: "selfierequests"})); h.stored["v1"] != 1 {
		t.Errorf("%d objects at v1, want 1", h.stored["v1"])
	}
}
