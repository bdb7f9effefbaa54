package storedversions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/crd"
)

// another adds a definition with storage version v2, and objects at the versions.
func (c *cluster) another(plural string, stored []string, objects ...string) {
	c.t.Helper()
	text := strings.ReplaceAll(definition("uid-"+plural, stored, "v2", "v1"), "selfierequests", plural)
	c.etcd.Put(c.t, c.keyOf(plural+"."+group), text)
	c.others = append(c.others, plural)
	for i, version := range objects {
		n := fmt.Sprint("o", i)
		c.etcd.Put(c.t, c.root+"/"+group+"/"+plural+"/ns/"+n,
			fmt.Sprintf(`{"apiVersion":%q,"kind":"SelfieRequest","metadata":{"name":%q,"namespace":"ns"}}`, group+"/"+version, n))
	}
}

func (r *Report) rowOf(t *testing.T, plural string) Row {
	t.Helper()
	i := slices.IndexFunc(r.CRDs, func(row Row) bool { return row.Name == plural+"."+group })
	if i < 0 {
		t.Fatalf("no row for %s", plural)
	}
	return r.CRDs[i]
}

// several is a cluster with many definitions that are clean, and one of each other state.
func several(t *testing.T) *cluster {
	c := prunable(t)
	for i := range 20 {
		c.another(fmt.Sprintf("clean%02d", i), []string{"v2"}, "v2")
	}
	c.another("stale", []string{"v1", "v2"}, "v1", "v2")
	c.another("trimmed", []string{"v2"}, "v1")
	c.another("sealed", []string{"v1", "v2"})
	c.etcd.Put(t, "/registry/"+group+"/sealed/ns/a", "k8s:enc:aescbc:v1:key1:"+strings.Repeat("x", 48))
	return c
}

// One scan shows which definitions are to be looked at on their own. A version that scans and asks the apiservers for each takes
// a minute for 300 of them.
func TestPruneAllSurveysOnce(t *testing.T) {
	for _, dry := range []bool{true, false} {
		c := several(t)
		req := c.pruneRequest()
		req.DryRun = dry
		asked, steps := map[string]int{}, []string{}
		req.Agreement = func(_ context.Context, d *crd.Definition) apiservers.Agreement {
			asked[d.Name]++
			return apiservers.Agreement{Known: 1, Asked: 1, Agree: yes}
		}
		req.Pruning = func(name string, n, of int) { steps = append(steps, fmt.Sprintf("%s %d of %d", name, n, of)) }
		report, err := Prune(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		scans := 3 // the survey, and one on either side of the write
		if dry {
			scans = 1
		}
		if c.pins != scans {
			t.Errorf("dry run %t: %d scans, want %d", dry, c.pins, scans)
		}
		if len(asked) != 1 || asked[name] == 0 || !slices.Equal(steps, []string{name + " 1 of 1"}) {
			t.Errorf("asked about %v, told of %q: want the prunable one alone", asked, steps)
		}
		if len(report.CRDs) != 24 || !slices.IsSortedFunc(report.CRDs, func(a, b Row) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%d rows, want 24 by name", len(report.CRDs))
		}
		if row := report.rowOf(t, "clean07"); row.Refused || row.State != Clean || row.FromRevision == 0 || row.ToRevision != row.FromRevision {
			t.Errorf("%+v", row)
		}
		if row := report.rowOf(t, "selfierequests"); row.Refused || !slices.Equal(row.Dropped, []string{"v1"}) {
			t.Errorf("%+v", row)
		}
		if row := report.rowOf(t, "stale"); !row.Refused || row.State != NeedsMigration || len(row.PutBack) > 0 {
			t.Errorf("%+v", row)
		}
		if row := report.rowOf(t, "sealed"); !row.Refused || row.State != Blocked {
			t.Errorf("%+v", row)
		}
		row := report.rowOf(t, "trimmed")
		if !row.Refused || row.State != NeedsMigration || slices.Equal(row.PutBack, []string{"v1"}) == dry {
			t.Errorf("%+v", row)
		}
		if says := strings.Contains(row.Reason, "does not name"); says != dry {
			t.Errorf("of a row with storedVersions %v the reason is %q", row.StoredVersions, row.Reason)
		}
	}
}

// A definition that is changed after the survey is not trimmed by what the survey saw.
func TestPruneAllLooksAgain(t *testing.T) {
	c := several(t)
	c.onPin = func(n int) {
		if n == 2 {
			c.object("late", "v1")
		}
	}
	report, err := Prune(t.Context(), c.pruneRequest())
	if err != nil {
		t.Fatal(err)
	}
	if row := report.rowOf(t, "selfierequests"); !row.Refused || row.State != NeedsMigration {
		t.Errorf("%+v", row)
	}
	c.wantStored("v1", "v2")
}

// An interruption ends what is to be written, also the putting back, and is an error as long as nothing was.
func TestPruneAllInterrupted(t *testing.T) {
	c := several(t)
	ctx, cancel := context.WithCancel(t.Context())
	req := c.pruneRequest()
	req.Pruning = func(string, int, int) { cancel() }
	if _, err := Prune(ctx, req); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want an interruption", err)
	}
	c.wantStored("v1", "v2")

	// "allowed" comes before the one that is interrupted, and was trimmed by somebody.
	c.another("allowed", []string{"v2"}, "v1")
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	req.Names = []string{"allowed." + group, name, "trimmed." + group}
	report, err := Prune(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if row := report.rowOf(t, "allowed"); !slices.Equal(row.PutBack, []string{"v1"}) {
		t.Errorf("%+v", row)
	}
	if row := report.rowOf(t, "selfierequests"); !row.Refused || !strings.Contains(row.Reason, "not pruned") {
		t.Errorf("%+v", row)
	}
	if row := report.rowOf(t, "trimmed"); !row.Refused || len(row.PutBack) > 0 || !strings.Contains(row.Reason, "does not name v1") {
		t.Errorf("%+v", row)
	}
}

// Where there is nothing to drop it does not matter what the apiservers write.
func TestCleanWhateverTheApiserversSay(t *testing.T) {
	for _, agree := range []*bool{no, nil} {
		c := newCluster(t)
		c.define([]string{"v2"}, "v2", "v1")
		c.object("one", "v2")
		req := c.pruneRequest()
		req.Agreement = agreed(agree)
		if row := c.prune(t.Context(), req); row.Refused || row.State != Clean || row.ToRevision != row.FromRevision || row.ToRevision == 0 {
			t.Errorf("%+v", row)
		}
	}
}

// The reason fits the row that is shown: what was put back is named again.
func TestReasonAfterPutBack(t *testing.T) {
	for _, tc := range []struct {
		stored  []string
		objects []string
		want    State
		says    string
	}{
		{[]string{"v2"}, []string{"v1"}, NeedsMigration, "1 object is stored at v1"},
		{[]string{"v1"}, []string{"v2"}, Prunable, "storedVersions lists v1"},
	} {
		c := newCluster(t)
		c.define(tc.stored, "v2", "v1")
		for _, v := range tc.objects {
			c.object("o"+v, v)
		}
		row := c.prune(t.Context(), c.pruneRequest())
		if !row.Refused || len(row.PutBack) == 0 || row.State != tc.want || !strings.Contains(row.Reason, tc.says) || strings.Contains(row.Reason, "does not name") {
			t.Errorf("%+v", row)
		}
	}
	// So it is where an object came between the two scans.
	c := prunable(t)
	c.onPin = func(n int) {
		if n == 2 {
			c.object("late", "v1")
		}
	}
	if row := c.prune(t.Context(), c.pruneRequest()); row.Reason != "1 object is stored at v1" || !slices.Equal(row.PutBack, []string{"v1"}) {
		t.Errorf("%+v", row)
	}
}

func TestNothingUnderThePrefix(t *testing.T) {
	c := prunable(t)
	req := c.request()
	req.Prefixes = []string{"/nothing"}
	for _, names := range [][]string{nil, {name}} {
		req.Names = names
		if _, err := Survey(t.Context(), req); !errors.Is(err, audit.ErrNothingFound) {
			t.Errorf("%v: %v, want that there is nothing", names, err)
		}
	}
}
