package storedversions

import (
	"context"
	"time"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/crd"
)

// longAgo is how long a definition has not changed when no request can be left that began before: much longer than any takes,
// than an apiserver takes to see a change, and than the clocks of apiservers are apart.
const longAgo = time.Hour

// accord is when every apiserver was first seen to agree on a definition.
type accord struct {
	uid        string
	generation int64
	since      time.Time
	late       bool // they did not all agree at first: one of them may only just have seen a change of long ago
}

// convene asks about each definition that is to be trimmed, so that there is one wait for all of them.
func (r *Report) convene(ctx context.Context, req PruneRequest, findings []finding) error {
	if req.DryRun {
		return nil
	}
	for _, f := range findings {
		if f.prunable() {
			r.note(f.o.d, req.Agreement(ctx, f.o.d), req.Force)
		}
	}
	return context.Cause(ctx)
}

// note remembers since when a definition is agreed on.
func (r *Report) note(d *crd.Definition, a apiservers.Agreement, force bool) {
	known, ok := r.agreed[d.Name]
	switch {
	case disagreement(a, d) != "" && !force:
		r.agreed[d.Name] = accord{late: true}
	case !ok || known.uid != d.UID || known.generation != d.Generation:
		r.agreed[d.Name] = accord{uid: d.UID, generation: d.Generation, since: time.Now(), late: known.late}
	}
}

// unsettled is how long to wait before d can be trimmed.
func (r *Report) unsettled(d *crd.Definition, settle time.Duration) time.Duration {
	known, ok := r.agreed[d.Name]
	switch {
	case !ok || known.uid != d.UID || known.generation != d.Generation:
		return settle
	case d.UnchangedFor >= longAgo && !known.late:
		return 0
	}
	return settle - time.Since(known.since)
}
