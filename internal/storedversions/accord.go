package storedversions

import (
	"context"
	"time"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/crd"
)

// longAgo is how long a definition has not changed when no request can be left that began before: much longer than any takes,
// and than an apiserver takes to see a change.
const longAgo = 5 * time.Minute

// accord is when every apiserver was first seen to agree on a definition.
type accord struct {
	generation int64
	since      time.Time
}

// convene asks about each definition that is to be trimmed, so that there is one wait for all of them.
func (r *Report) convene(ctx context.Context, req PruneRequest, findings []finding) error {
	if req.DryRun {
		return nil
	}
	for _, f := range findings {
		if f.prunable() && f.o.d.UnchangedFor < longAgo {
			r.note(f.o.d, req.Agreement(ctx, f.o.d), req.Force)
		}
	}
	return context.Cause(ctx)
}

// note remembers since when a definition is agreed on.
func (r *Report) note(d *crd.Definition, a apiservers.Agreement, force bool) {
	known, ok := r.agreed[d.Name]
	if disagreement(a, d) != "" && !force {
		delete(r.agreed, d.Name)
	} else if !ok || known.generation != d.Generation {
		r.agreed[d.Name] = accord{generation: d.Generation, since: time.Now()}
	}
}

// unsettled is how long to wait before d can be trimmed.
func (r *Report) unsettled(d *crd.Definition, settle time.Duration) time.Duration {
	known, ok := r.agreed[d.Name]
	switch {
	case d.UnchangedFor >= longAgo:
		return 0
	case !ok || known.generation != d.Generation:
		return settle
	}
	return settle - time.Since(known.since)
}
