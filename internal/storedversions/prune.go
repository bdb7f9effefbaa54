package storedversions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/crd"
)

// PruneRequest is what to trim.
type PruneRequest struct {
	Request
	DryRun bool
	Force  bool // trim although the apiservers do not agree, or could not all be asked
	// Settle is how long a request may take that an apiserver began before it agreed: it may still write another version. So
	// long after that was first seen nothing is trimmed, unless the definition has not changed for some minutes.
	Settle time.Duration
	// Waiting is told about such a wait; it may be nil.
	Waiting func(time.Duration)
	// Agreement asks every apiserver at which version it stores the objects of a definition, as AskAPIServers does.
	Agreement func(context.Context, *crd.Definition) apiservers.Agreement
}

// Prune takes out of status.storedVersions what etcd does not hold. For each definition it asks every apiserver at which
// version it writes, scans, writes with the resourceVersion of the definition as the precondition, and scans again: a
// version found then, or that could not be ruled out then, is put back. Refusals are rows of the report; an error means that
// nothing was written and no report could be made. After an interruption nothing stays trimmed that was not scanned again.
func Prune(ctx context.Context, req PruneRequest) (*Report, error) {
	report := newReport(req.Request)
	report.DryRun = req.DryRun
	found, err := definitions(ctx, req.Request)
	if err != nil {
		return nil, err
	}
	if err := report.convene(ctx, req, found); err != nil {
		return nil, err
	}
	var stopped error
	for _, d := range found {
		row := emptyRow(d.Name)
		if stopped == nil {
			done, err := report.prune(ctx, req, d.Name)
			switch {
			case err == nil:
				row = done
			case errors.Is(err, crd.ErrNotFound):
				row = refused(row, "the CustomResourceDefinition was deleted meanwhile")
			case len(report.CRDs) == 0:
				return nil, err
			case errors.Is(err, ErrForeignEtcd):
				row = refused(row, err.Error())
			default:
				stopped = err
				report.Warnings = append(report.Warnings, fmt.Sprintf("stopped at %s: %v", d.Name, err))
			}
		}
		if stopped != nil {
			row = refused(row, "not looked at: "+stopped.Error())
		}
		report.CRDs = append(report.CRDs, row)
	}
	report.FinishedAt = req.Now().UTC()
	return report, nil
}

func refused(row Row, why string) Row {
	row.Refused, row.Reason = true, why
	return row
}

// longAgo is how long a definition has not changed when no request can be left that began before: much longer than any takes,
// and than an apiserver takes to see a change.
const longAgo = 5 * time.Minute

// accord is when every apiserver was first seen to agree on a definition.
type accord struct {
	generation int64
	since      time.Time
}

// convene asks about each definition that may be trimmed, so that there is one wait for all of them.
func (r *Report) convene(ctx context.Context, req PruneRequest, definitions []*crd.Definition) error {
	r.agreed = make(map[string]accord)
	if req.DryRun || len(definitions) < 2 {
		return nil
	}
	for _, d := range definitions {
		if len(droppable(d)) > 0 && d.UnchangedFor < longAgo {
			r.note(d, req.Agreement(ctx, d), req.Force)
		}
	}
	return ctx.Err()
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

// prune does one definition.
func (r *Report) prune(ctx context.Context, req PruneRequest, name string) (Row, error) {
	for attempt := 1; ; attempt++ {
		var agreement apiservers.Agreement
		o, err := observe(ctx, req.Request, name, func(ctx context.Context, d *crd.Definition) {
			agreement = req.Agreement(ctx, d)
			r.note(d, agreement, req.Force)
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return Row{}, err
		}
		d, row := o.d, o.row()
		r.APIServers = worst(r.APIServers, agreement)
		r.describe(o.seen)
		if o.blocked != "" {
			return refused(row, row.Reason), nil
		}
		// Somebody trimmed what etcd holds.
		if missing := unnamed(d, o.holding()); len(missing) > 0 && !req.DryRun && !d.Terminating {
			return r.putBack(ctx, req, refused(row, row.Reason), d, missing), nil
		}
		if row.State == NeedsMigration || row.State == Blocked {
			return refused(row, row.Reason), nil
		}
		if why := disagreement(agreement, d); why != "" {
			if !req.Force {
				return refused(row, why), nil
			}
			r.Warnings = append(r.Warnings, name+": went on by force: "+why)
		}
		if row.State == Clean {
			row.ToRevision = row.FromRevision
			return row, nil
		}
		row.Dropped = droppable(d)
		if req.DryRun {
			return row, nil
		}
		if wait := r.unsettled(d, req.Settle); wait > 0 {
			if req.Waiting != nil {
				req.Waiting(wait)
			}
			switch {
			case attempt == maxLooks:
				return refused(row, "the CustomResourceDefinition changes all the time"), nil
			case !pause(ctx, wait):
				return Row{}, context.Cause(ctx)
			}
			continue
		}
		written, err := req.Definitions.SetStoredVersions(ctx, d, []string{d.Storage()})
		switch {
		case err == nil:
			return r.prove(ctx, req, row, d, written), nil
		case errors.Is(err, crd.ErrConflict) && attempt < maxLooks:
			continue
		case declined(err):
			row.Dropped = []string{}
			return refused(row, "storedVersions was not written: "+err.Error()), nil
		}
		return r.settle(ctx, req, row, d, err), nil
	}
}

// declined tells whether an error means that the apiserver did not write and will not. An answer of 500 and above, as when etcd
// was slow, or none at all says neither.
func declined(err error) bool {
	var refusal *crd.RefusedError
	return errors.Is(err, crd.ErrConflict) || errors.Is(err, crd.ErrNotFound) ||
		errors.As(err, &refusal) && refusal.Code >= 400 && refusal.Code < 500 && refusal.Code != 408
}
