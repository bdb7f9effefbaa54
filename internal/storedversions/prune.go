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
	Force  bool          // trim although the apiservers do not agree, or could not all be asked
	Settle time.Duration // between the write and the second scan, for requests that began before it
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

// prune does one definition.
func (r *Report) prune(ctx context.Context, req PruneRequest, name string) (Row, error) {
	for attempt := 1; ; attempt++ {
		var agreement apiservers.Agreement
		o, err := observe(ctx, req.Request, name, func(ctx context.Context, d *crd.Definition) {
			agreement = req.Agreement(ctx, d)
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
