package storedversions

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/crd"
)

// prove scans again after storedVersions of d was written, and puts back what was found or could not be ruled out.
func (r *Report) prove(ctx context.Context, req PruneRequest, row Row, d, written *crd.Definition) Row {
	row.StoredVersions = orEmpty(written.StoredVersions)
	doubt := func(why string) Row {
		row.State = Blocked
		return r.putBack(ctx, req, refused(row, why), d, row.Dropped)
	}
	if ctx.Err() != nil {
		return doubt("interrupted before etcd was read again")
	}
	o, err := observe(ctx, req.Request, d.Name, nil)
	switch {
	case errors.Is(err, crd.ErrNotFound), err == nil && o.d.UID != d.UID:
		row.State, row.StoredVersions = Blocked, []string{}
		if err == nil {
			row.StoredVersions = orEmpty(o.d.StoredVersions)
		}
		return refused(row, "the CustomResourceDefinition was deleted after the write")
	case err != nil:
		return doubt("etcd could not be read again after the write: " + err.Error())
	case o.blocked != "":
		return doubt("etcd could not be read again after the write: " + o.blocked)
	}
	r.describe(o.seen)
	h := o.holding()
	back := unnamed(o.d, h)
	for _, v := range row.Dropped {
		if h.stored[v] > 0 && !slices.Contains(back, v) {
			back = append(back, v)
		}
	}
	after := o.rowWith(back)
	after.FromRevision, after.ToRevision, after.Dropped = row.FromRevision, o.seen.Pin.Revision, row.Dropped
	row = after
	switch {
	case o.seen.Shortfall != nil || h.unknown > 0:
		return doubt(after.Reason)
	case row.State == Clean && len(back) == 0 && o.d.Storage() == d.Storage():
		again := req.Agreement(ctx, o.d)
		r.APIServers = worst(r.APIServers, again)
		if why := disagreement(again, o.d); why != "" && !req.Force {
			return doubt(why)
		}
		if ctx.Err() != nil {
			return doubt("interrupted before every apiserver was asked again")
		}
		return row
	case o.d.Storage() != d.Storage():
		row.Reason = "the storage version was changed to " + o.d.Storage() + " meanwhile"
		if after.Reason != "" {
			row.Reason += ": " + after.Reason
		}
	case row.State == Prunable:
		row.Reason = "the CustomResourceDefinition was changed meanwhile: storedVersions names " + strings.Join(droppable(o.d), ", ") + " again"
	}
	return r.putBack(ctx, req, refused(row, row.Reason), d, back)
}

// settle finds out what became of a write whose answer was lost. It may be done yet, as long as its precondition holds: so the
// definition is changed, which ends that, before anything is said of it.
func (r *Report) settle(ctx context.Context, req PruneRequest, row Row, d *crd.Definition, lost error) Row {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	now, err := fence(grace, req.Client, d)
	switch {
	case errors.Is(err, crd.ErrNotFound), err == nil && now.UID != d.UID:
		row.State = Blocked
		return refused(row, "the CustomResourceDefinition was deleted meanwhile")
	case err != nil:
		row.State = Blocked
		r.warnByHand(row, row.Dropped, err)
		row.StoredVersions = []string{} // nobody knows
		return refused(row, "nobody can tell whether storedVersions was written: "+lost.Error())
	}
	row.StoredVersions = orEmpty(now.StoredVersions)
	gone := slices.DeleteFunc(slices.Clone(row.Dropped), func(v string) bool { return slices.Contains(now.StoredVersions, v) })
	if len(gone) == 0 {
		row.Dropped = []string{}
		return refused(row, "storedVersions was not written: "+lost.Error())
	}
	row.Dropped = gone
	return r.prove(ctx, req, row, d, now)
}

// pause waits, and tells whether it was not interrupted.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
