package storedversions

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/verify"
)

const ghost = `{"apiVersion":"gone.example.com/v1","kind":"Ghost","metadata":{"name":"a","namespace":"ns"}}`

// What a listing shows can be asked for by its name, and is refused rather than called unknown.
func TestOrphanByName(t *testing.T) {
	c := prunable(t)
	c.etcd.Put(t, "/registry/gone.example.com/ghosts/ns/a", ghost)
	c.etcd.Put(t, "/registry/gone.example.com/others/ns/a", ghost)
	for _, names := range [][]string{{"ghosts.gone.example.com"}, {"ghosts.gone.example.com", name}} {
		report, err := c.survey(names...)
		if err != nil {
			t.Fatal(err)
		}
		if row := report.CRDs[0]; len(report.CRDs) != len(names) || row.Name != "ghosts.gone.example.com" || row.State != Blocked || row.Stored["v1"] != 1 || row.Refused {
			t.Errorf("%v: %+v", names, report.CRDs)
		}
		req := c.pruneRequest()
		req.Names = names
		if report, err = Prune(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		if row := report.CRDs[0]; len(report.CRDs) != len(names) || !row.Refused || row.State != Blocked || row.Reason == "" {
			t.Errorf("%v: %+v", names, report.CRDs)
		}
	}
	c.wantStored("v2") // an orphan keeps nobody from pruning another
}

// A name that is of nothing is wrong usage, before anything is written, and the near ones are told.
func TestUnknownNames(t *testing.T) {
	c := prunable(t)
	for _, unknown := range []string{"selfierequest." + group, "SelfieRequest." + group, "selfierequests", "ghosts.gone.example.com", "deployments.apps", "ghosts"} {
		req := c.pruneRequest()
		req.Names = []string{name, unknown}
		_, err := Prune(t.Context(), req)
		_, surveyed := Survey(t.Context(), req.Request)
		for _, err := range []error{err, surveyed} {
			var e *UnknownError
			if !errors.As(err, &e) || e.Name != unknown {
				t.Errorf("%s: %v", unknown, err)
				continue
			}
			if near := slices.Contains(e.Near, name); near != (unknown[0] == 's' || unknown[0] == 'S') {
				t.Errorf("%s: near are %v", unknown, e.Near)
			}
		}
	}
	c.wantStored("v1", "v2")
	// Nor is it an orphan what an aggregated apiserver keeps in the same etcd.
	c.etcd.Put(t, "/registry/gone.example.com/ghosts/ns/a", ghost)
	req := c.request()
	req.Names = []string{"ghosts.gone.example.com"}
	req.Served = func(context.Context) (map[verify.Resource]bool, bool) {
		return map[verify.Resource]bool{{Group: "gone.example.com", Name: "ghosts"}: true}, true
	}
	var e *UnknownError
	if _, err := Survey(t.Context(), req); !errors.As(err, &e) {
		t.Errorf("%v, want no such definition", err)
	}
}

// What lies under the root of another control plane, or in another's etcd, is no orphan of this one.
func TestOrphanOfAnother(t *testing.T) {
	server := etcdtest.Start(t)
	a, b := clusterIn(t, server, "/a"), clusterIn(t, server, "/b")
	for _, c := range []*cluster{a, b} {
		server.Put(t, c.root+"/configmaps/ns/x", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"ns"}}`)
		server.Put(t, c.key(), definition("uid"+c.root, []string{"v2"}, "v2", "v1"))
	}
	server.Put(t, "/b/gone.example.com/ghosts/ns/a", ghost)
	var e *UnknownError
	if _, err := a.survey("ghosts.gone.example.com"); !errors.As(err, &e) {
		t.Errorf("%v, want no such definition", err)
	}
	if report, err := b.survey("ghosts.gone.example.com"); err != nil || len(report.CRDs) != 1 {
		t.Errorf("%v, %+v", err, report)
	}
	foreign := prunable(t).request()
	foreign.Store, foreign.Names = b.store, []string{"ghosts.gone.example.com"}
	if _, err := Survey(t.Context(), foreign); !errors.Is(err, ErrForeignEtcd) {
		t.Errorf("%v", err)
	}
}
