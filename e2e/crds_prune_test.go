package e2e

import (
	"context"
	"slices"
	"testing"
	"time"
)

// TestPruneUnderFlips: while a loop flips the storage version and writes an object each time, 50 runs or more of crds prune. Whenever
// one exits 0, the revision that it names holds no object of what it dropped; otherwise it exits 3, and storedVersions names all
// that it found. A prune that looks before it writes alone, or only once, fails here.
func TestPruneUnderFlips(t *testing.T) {
	const least = 50
	p := startPlane(t, "", "--without-controller-manager")
	c := p.pruneDefine(t, "gadgets")
	stop := c.flip(t)

	var runs, trimmed, clean, refused, putBack int
	reasons := make(map[string]int)
	// Which way a run ends is a matter of moments, and on a slow machine the rarest may take more runs.
	started := time.Now()
	for ; runs < least || (trimmed == 0 || refused == 0 || putBack == 0) && time.Since(started) < 2*time.Minute; runs++ {
		res := p.svmctl(t, "crds", "prune", c.name(), "-o", "json", "--settle", "200ms")
		row, there := res.pruneRows(t)[c.name()]
		if !there {
			t.Fatalf("no row\n%s", res)
		}
		switch res.code {
		case 0:
			if row.Refused || row.FromRevision == 0 || row.ToRevision < row.FromRevision {
				t.Errorf("exit status 0 with refused %t from revision %d to %d\n%s", row.Refused, row.FromRevision, row.ToRevision, res)
			}
			for object, version := range c.stored(t, row.ToRevision) {
				if slices.Contains(row.Dropped, version) {
					t.Errorf("exit status 0, and etcd holds %s at %s at revision %d\n%s", object, version, row.ToRevision, res)
				}
			}
			if len(row.Dropped) > 0 {
				trimmed++
			} else {
				clean++
			}
		case 3:
			named, _ := c.storedVersions(t)
			for version, n := range row.Stored {
				if n > 0 && !slices.Contains(named, version) {
					t.Errorf("exit status 3, and storedVersions %v does not name %s, which was found\n%s", named, version, res)
				}
			}
			if !row.Refused {
				t.Errorf("exit status 3 without a refusal\n%s", res)
			}
			refused++
			reasons[row.State]++
			if len(row.Dropped) > 0 {
				putBack++
			}
		default:
			t.Fatalf("exit status %d\n%s", res.code, res)
		}
	}
	flips := stop()
	t.Logf("%d runs during %d flips: %d trimmed, %d had nothing to trim, %d refused (%v), of which %d had written already", runs, flips, trimmed, clean, refused, reasons, putBack)
	if trimmed == 0 || refused == 0 || putBack == 0 {
		t.Error("each way to end has to occur, or nothing is shown")
	}
}

// flip flips the storage version and writes an object each time, with pauses of several lengths: some are long enough for a
// prune, and most are not. Stop tells how often it flipped.
func (c prunable) flip(t *testing.T) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	flips := 0
	go func() {
		defer close(done)
		objects := []string{"a", "b", "c"}
		// A prune takes 0.1 s until it writes, and 0.3 s in all. Calm are the times in which v1 can be dropped: some are long
		// enough for the whole of it, some end between its write and its proof.
		busy := []time.Duration{0, 20, 60, 120}
		calm := []time.Duration{90, 160, 800, 120, 240, 200, 500}
		for n := 0; ctx.Err() == nil; n++ {
			for _, version := range []string{"v1", "v2"} {
				if err := c.store(ctx, version); err != nil {
					c.report(ctx, t, err)
					continue
				}
				flips++
				c.report(ctx, t, c.write(ctx, objects[n%len(objects)]))
				sleepUnder(ctx, busy[n%len(busy)]*time.Millisecond)
			}
			for _, name := range objects {
				c.report(ctx, t, c.write(ctx, name))
			}
			sleepUnder(ctx, calm[n%len(calm)]*time.Millisecond)
		}
	}()
	return func() int { cancel(); <-done; return flips }
}

func (c prunable) report(ctx context.Context, t *testing.T, err error) {
	if err != nil && ctx.Err() == nil {
		t.Errorf("the loop: %v", err)
	}
}
