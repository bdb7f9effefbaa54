package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// putAt writes an object into etcd as an apiserver that has not heard of the new storage version writes it.
func (c prunable) putAt(t *testing.T, ctx context.Context, name, version string) {
	t.Helper()
	value := fmt.Sprintf(`{"apiVersion":"%s/%s","kind":%q,"metadata":{"name":%q,"namespace":"default","uid":"5f0c7ff1-0000-4000-8000-000000000001","creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"note":%q}}`,
		prunableGroup, version, c.kind(), name, canaryInData)
	if _, err := c.p.etcd.Put(ctx, c.dir()+"default/"+name, value); err != nil && ctx.Err() == nil {
		t.Error(err)
	}
}

// TestPruneBehindController: the in-tree controller trims storedVersions by itself, and never looks into etcd.
func TestPruneBehindController(t *testing.T) {
	p := startPlane(t, "")
	c := p.pruneDefine(t, "gadgets")
	for n := range 20 {
		if err := c.write(t.Context(), fmt.Sprintf("gadget-%02d", n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.store(t.Context(), "v2"); err != nil {
		t.Fatal(err)
	}
	c.awaitWritten(t, "v2")
	p.restartControllers(t)
	migrate := func(t *testing.T, meanwhile func(context.Context)) result {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			meanwhile(ctx)
		}()
		run := p.start(t, "migrate", c.name(), "--backend", "svm", "--yes", "-o", "json", "--max-rounds", "1")
		stop := pulse(t, func(ctx context.Context, _ int) { _ = c.write(ctx, "pulse") })
		res := run.wait(t)
		stop()
		cancel()
		<-done
		return res
	}

	t.Run("an object is written at v1 once it has trimmed", func(t *testing.T) {
		trimmed := false
		res := migrate(t, func(ctx context.Context) {
			for ctx.Err() == nil {
				if named, _ := c.storedVersions(t); slices.Equal(named, []string{"v2"}) {
					trimmed = true
					c.putAt(t, ctx, "late", "v1")
					return
				}
				sleepUnder(ctx, 5*time.Millisecond)
			}
		})
		if !trimmed {
			t.Fatalf("the controller did not trim storedVersions, so that nothing is shown\n%s", res)
		}
		res.wantCode(t, 3)
		c.wantStoredVersions(t, "v1", "v2")
		if !strings.Contains(res.stdout, "put back") {
			t.Errorf("the report does not say that v1 was put back\n%s", res)
		}
		refused := p.svmctl(t, "crds", "prune", c.name())
		refused.wantCode(t, 3)
		refused.wantError(t, "1 object is stored at v1", pruneNextStep+c.name())
		c.wantStoredVersions(t, "v1", "v2")
	})

	t.Run("again", func(t *testing.T) {
		migrate(t, func(context.Context) {}).wantCode(t, 0)
		c.wantStoredVersions(t, "v2")
		res := p.svmctl(t, "crds", "prune", c.name(), "--settle", "1s", "-o", "json")
		res.wantCode(t, 0) // nothing is left to trim
		if row := res.pruneRows(t)[c.name()]; row.State != "Clean" || len(row.Dropped) > 0 {
			t.Errorf("%+v", row)
		}
	})

	t.Run("an object is written at v1 later", func(t *testing.T) {
		c.putAt(t, t.Context(), "later", "v1")
		res := p.svmctl(t, "crds", "prune", c.name(), "--settle", "1s", "-o", "json")
		res.wantCode(t, 3)
		if row := res.pruneRows(t)[c.name()]; !slices.Equal(row.PutBack, []string{"v1"}) || row.Stored["v1"] != 1 {
			t.Errorf("%+v", row)
		}
		c.wantStoredVersions(t, "v1", "v2")
	})
}
