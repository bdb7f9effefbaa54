package storedversions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/crd"
)

// PruneRequest is what to trim.
type PruneRequest struct {
	Request
	Client *crd.Client // writes; it shows the same definitions as Request.Definitions
	DryRun bool
	Force  bool // trim although the apiservers do not agree, or could not all be asked
	// Settle is how long a request may take that an apiserver began before it agreed: it may still write another version. So
	// long after that was first seen nothing is trimmed, unless the definition has not changed for an hour.
	Settle time.Duration
	// Waiting is told about such a wait; it may be nil.
	Waiting func(time.Duration)
	// Pruning is told ahead of each definition that a survey has shown to be prunable, the n-th of so many; it may be nil.
	Pruning func(name string, n, of int)
	// Agreement asks every apiserver at which version it stores the objects of a definition, as AskAPIServers does.
	Agreement func(context.Context, *crd.Definition) apiservers.Agreement
}

// Prune takes out of status.storedVersions what etcd does not hold. Of several definitions a survey finds those that can be
// trimmed. For each of them it asks every apiserver at which version it writes, scans, writes with the resourceVersion of the
// definition as the precondition, and scans again: a version found then, or that could not be ruled out then, is put back.
// Refusals are rows of the report; an error means that nothing was written and no report could be made. After an interruption
// nothing stays trimmed that was not scanned again.
func Prune(ctx context.Context, req PruneRequest) (*Report, error) {
	report := newReport(req.Request)
	report.DryRun, report.agreed = req.DryRun, make(map[string]accord)
	l, err := list(ctx, req.Request)
	if err != nil {
		return nil, err
	}
	if req.roots, err = findRoots(ctx, req.Store); err != nil {
		return nil, err
	}
	if len(l.found) == 1 && len(l.strange) == 0 {
		row, err := report.prune(ctx, req, l.found[0].Name, nil)
		switch {
		case errors.Is(err, crd.ErrNotFound):
			row = refused(emptyRow(l.found[0].Name), "the CustomResourceDefinition was deleted meanwhile")
		case err != nil:
			return nil, err
		}
		report.CRDs = append(report.CRDs, row)
	} else if err := report.pruneSeveral(ctx, req, l); err != nil {
		return nil, err
	}
	report.FinishedAt = req.Now().UTC()
	return report, nil
}

func (f finding) prunable() bool { return f.o != nil && f.row.State == Prunable }

// pruneSeveral surveys the definitions and does those of which there is something to write. An error after the first write stops
// it there, and the rows that follow say so.
func (r *Report) pruneSeveral(ctx context.Context, req PruneRequest, l listing) error {
	if len(l.found)+len(l.strange) == 0 {
		return nil // a cluster without any
	}
	seen, findings, err := survey(ctx, req.Request, l, false)
	if err != nil {
		return err
	}
	r.describe(seen)
	if err := r.orphans(ctx, req.Request, l, seen, findings); err != nil {
		return err
	}
	for i := range r.CRDs {
		r.CRDs[i].Refused = true
	}
	if err := r.convene(ctx, req, findings); err != nil {
		return err
	}
	due, n := 0, 0
	for _, f := range findings {
		if f.prunable() {
			due++
		}
	}
	var stopped error
	for _, f := range findings {
		row, settled := refused(f.row, f.row.Reason), true
		if f.o != nil {
			row, settled = r.settled(ctx, req, f.o, stopped == nil)
		}
		switch {
		case settled:
		case stopped != nil:
			row = refused(row, "not pruned: "+stopped.Error())
		default:
			if n++; req.Pruning != nil {
				req.Pruning(row.Name, n, due)
			}
			done, err := r.prune(ctx, req, row.Name, f.o)
			switch {
			case err == nil:
				row = done
			case errors.Is(err, crd.ErrNotFound):
				row = refused(emptyRow(row.Name), "the CustomResourceDefinition was deleted meanwhile")
			case errors.Is(err, ErrForeignEtcd):
				row = refused(emptyRow(row.Name), err.Error())
			case !r.wrote:
				return err
			default:
				stopped = err
				r.Warnings = append(r.Warnings, fmt.Sprintf("stopped at %s: %v", row.Name, err))
				row = refused(row, "not pruned: "+err.Error())
			}
		}
		r.CRDs = append(r.CRDs, row)
	}
	slices.SortFunc(r.CRDs, func(a, b Row) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

func refused(row Row, why string) Row {
	row.Refused, row.Reason = true, why
	return row
}

// settled gives the row of a definition of which nothing can be taken out, and tells whether that is so. With restore, versions
// that somebody took out while etcd holds them are put back, unless ctx is done.
func (r *Report) settled(ctx context.Context, req PruneRequest, o *observation, restore bool) (Row, bool) {
	row := o.row()
	if o.blocked != "" {
		return refused(row, row.Reason), true
	}
	missing := unnamed(o.d, o.holding())
	switch {
	case len(missing) > 0 && restore && !req.DryRun && !o.d.Terminating && ctx.Err() == nil:
		row = o.rowWith(missing)
		return r.putBack(ctx, req, refused(row, row.Reason), o.d, missing), true
	case row.State == NeedsMigration, row.State == Blocked:
		return refused(row, row.Reason), true
	case row.State == Clean:
		row.ToRevision = row.FromRevision
		return row, true
	}
	return row, false
}

// prune does one definition. What a survey saw of it is enough for a dry run; it may be nil.
func (r *Report) prune(ctx context.Context, req PruneRequest, name string, surveyed *observation) (Row, error) {
	for attempt := 1; ; attempt++ {
		var agreement *apiservers.Agreement
		ask := func(ctx context.Context, d *crd.Definition) {
			if agreement = nil; len(droppable(d)) == 0 {
				return // whatever they write, there is nothing to take out
			}
			answer := req.Agreement(ctx, d)
			agreement = &answer
			r.note(d, answer, req.Force)
		}
		var o observation
		var err error
		if req.DryRun && surveyed != nil {
			o = *surveyed
			ask(ctx, o.d)
		} else if o, err = observe(ctx, req.Request, name, ask); err == nil {
			r.describe(o.seen)
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return Row{}, err
		}
		if agreement != nil {
			r.APIServers = worst(r.APIServers, *agreement)
		}
		row, settled := r.settled(ctx, req, &o, true)
		if settled {
			return row, nil
		}
		d := o.d
		if why := disagreement(*agreement, d); why != "" {
			if !req.Force {
				return refused(row, why), nil
			}
			r.Warnings = append(r.Warnings, name+": went on by force: "+why)
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
		r.wrote = true
		written, err := req.Client.SetStoredVersions(ctx, d, []string{d.Storage()})
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
