package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// pruneNextStep is what a refusal names where objects are left.
const pruneNextStep = "svmctl migrate "

// TestPruneRefuses has three definitions of which one is not migrated. It is refused with its count and the next step, nothing is
// written of it, and it keeps nobody from pruning the others.
func TestPruneRefuses(t *testing.T) {
	p := startPlane(t, "", "--without-controller-manager")
	moved, stuck, empty := p.pruneDefine(t, "gadgets"), p.pruneDefine(t, "widgets"), p.pruneDefine(t, "relics")
	for _, c := range []prunable{moved, stuck} {
		for _, object := range []string{"a", "b", "c"} {
			if err := c.write(t.Context(), object); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []prunable{moved, stuck, empty} {
		if err := c.store(t.Context(), "v2"); err != nil {
			t.Fatal(err)
		}
		c.awaitWritten(t, "v2")
		c.wantStoredVersions(t, "v1", "v2")
	}
	if err := stuck.write(t.Context(), "a"); err != nil { // two of three are left at v1
		t.Fatal(err)
	}

	t.Run("unmigrated", func(t *testing.T) {
		before := p.revision(t)
		res := p.svmctl(t, "crds", "prune", stuck.name(), "-o", "json")
		res.wantCode(t, 3)
		res.wantError(t, "2 objects are stored at v1", pruneNextStep+stuck.name())
		row := res.pruneRows(t)[stuck.name()]
		if row.State != "NeedsMigration" || !row.Refused || row.Stored["v1"] != 2 || row.Stored["v2"] != 1 || len(row.Dropped) > 0 || row.FromRevision < before {
			t.Errorf("%+v", row)
		}
		stuck.wantStoredVersions(t, "v1", "v2")
	})

	migrated := p.svmctl(t, "migrate", moved.name(), "--yes", "-o", "json")
	migrated.wantCode(t, 0)
	moved.wantStoredVersions(t, "v1", "v2") // the migration alone trims nothing

	t.Run("dry run", func(t *testing.T) {
		var before []int64
		for _, c := range []prunable{moved, stuck, empty} {
			_, revision := c.storedVersions(t)
			before = append(before, revision)
		}
		res := p.svmctl(t, "crds", "prune", moved.name(), empty.name(), "--dry-run", "-o", "json")
		res.wantCode(t, 0)
		for _, row := range res.pruneRows(t) {
			if !slices.Equal(row.Dropped, []string{"v1"}) || row.Refused || row.State != "Prunable" {
				t.Errorf("%+v", row)
			}
		}
		p.svmctl(t, "crds", "prune", "--all", "--dry-run").wantCode(t, 3) // one would be refused
		for i, c := range []prunable{moved, stuck, empty} {
			if _, revision := c.storedVersions(t); revision != before[i] {
				t.Errorf("a dry run wrote %s", c.name())
			}
		}
	})

	t.Run("narrowed scope", func(t *testing.T) {
		res := p.svmctl(t, "crds", "prune", moved.name(), "--prefix", moved.dir()+"elsewhere", "-o", "json")
		res.wantCode(t, 3) // what was not read is not empty
		res.wantError(t, "not in the scope")
		moved.wantStoredVersions(t, "v1", "v2")
	})

	t.Run("interrupted while it waits", func(t *testing.T) {
		run := p.start(t, "crds", "prune", empty.name(), moved.name())
		time.Sleep(2 * time.Second)
		if err := run.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		res := run.wait(t)
		res.wantCode(t, 130)
		res.wantError(t, "the same command goes on")
		empty.wantStoredVersions(t, "v1", "v2")
	})

	t.Run("all", func(t *testing.T) {
		res := p.svmctl(t, "crds", "prune", "--all", "--settle", "0s", "-o", "json")
		res.wantCode(t, 3)
		res.wantError(t, stuck.name(), pruneNextStep+stuck.name())
		if strings.Contains(res.stderr, "more") {
			t.Errorf("one is refused, and more are spoken of\n%s", res)
		}
		rows := res.pruneRows(t)
		for _, c := range []prunable{moved, empty} {
			if row := rows[c.name()]; row.Refused || row.State != "Clean" || row.ToRevision <= row.FromRevision {
				t.Errorf("%+v", row)
			}
			c.wantStoredVersions(t, "v2")
		}
		if !rows[stuck.name()].Refused {
			t.Errorf("%+v", rows[stuck.name()])
		}
		stuck.wantStoredVersions(t, "v1", "v2")
		table := p.svmctl(t, "crds", "prune", moved.name(), "--settle", "1s")
		table.wantCode(t, 0) // again: there is nothing left to trim
		table.wantStdout(t, "Clean")
	})

	t.Run("trimmed by somebody who did not look", func(t *testing.T) {
		p.kubectl(t, "", "patch", "crd", stuck.name(), "--subresource=status", "--type=merge", "-p", `{"status": {"storedVersions": ["v2"]}}`)
		res := p.svmctl(t, "crds", "prune", stuck.name(), "-o", "json")
		res.wantCode(t, 3)
		if row := res.pruneRows(t)[stuck.name()]; !slices.Equal(row.PutBack, []string{"v1"}) || !slices.Contains(row.StoredVersions, "v1") {
			t.Errorf("%+v", row)
		}
		stuck.wantStoredVersions(t, "v1", "v2")
	})

	t.Run("an orphan", func(t *testing.T) {
		ghost := "/registry/" + prunableGroup + "/ghosts"
		p.etcdctl(t, "put", ghost+"/default/a", `{"apiVersion":"`+prunableGroup+`/v1","kind":"Ghost","metadata":{"name":"a","namespace":"default"}}`)
		name := "ghosts." + prunableGroup
		res := p.svmctl(t, "crds", "prune", name, stuck.name(), "-o", "json")
		res.wantCode(t, 3)
		res.wantError(t, name, "no CustomResourceDefinition", "and 1 more", "--prefix "+ghost)
		if row := res.pruneRows(t)[name]; !row.Refused || row.State != "Blocked" || row.Stored["v1"] != 1 {
			t.Errorf("%+v", row)
		}
		p.etcdctl(t, "del", ghost+"/default/a")
		p.svmctl(t, "crds", "prune", name).wantCode(t, 2)
	})

	t.Run("usage", func(t *testing.T) {
		none := p.svmctl(t, "crds", "prune", "gadget.prune.example.com")
		none.wantCode(t, 2)
		none.wantError(t, "gadget.prune.example.com", "did you mean "+moved.name())
		if strings.Contains(none.stdout, "Clean") {
			t.Errorf("a report of nothing\n%s", none)
		}
	})
}
