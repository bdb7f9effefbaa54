package storedversions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/verify"
)

const (
	// pruneAttempts bounds how often a definition that was changed meanwhile is looked at again.
	pruneAttempts = 5
	// aftermath bounds what still has to be done once storedVersions was written, interrupted or not.
	aftermath = 5 * time.Minute
)

// PruneRequest is what to trim.
type PruneRequest struct {
	Request
	DryRun bool
	Force  bool          // trim although the apiservers do not agree, or could not all be asked
	Settle time.Duration // between the write and the second scan, for requests that began before it
	// Agreement asks every apiserver at which version it stores a resource, as AskAPIServers does.
	Agreement func(context.Context, verify.Resource) apiservers.Agreement
}

// AskAPIServers asks the apiservers at the addresses, or those that can be found, each itself.
func AskAPIServers(cfg *rest.Config, addresses []string) func(context.Context, verify.Resource) apiservers.Agreement {
	return func(ctx context.Context, r verify.Resource) apiservers.Agreement {
		resources := []schema.GroupResource{{Group: r.Group, Resource: r.Name}}
		survey := apiservers.Ask(ctx, apiservers.Request{Config: cfg, Addresses: addresses, Resources: resources})
		return survey.Agreement(resources, apiservers.StorageVersion)
	}
}

// Prune takes out of status.storedVersions what etcd does not hold. For each definition it asks every apiserver at which
// version it writes, scans, writes with the resourceVersion of the definition as the precondition, and scans again: a
// version found then is put back. Refusals are rows of the report; an error means that nothing was written and no report
// could be made.
func Prune(ctx context.Context, req PruneRequest) (*Report, error) {
	report := newReport(req.Request)
	report.DryRun = req.DryRun
	found, err := definitions(ctx, req.Request)
	if err != nil {
		return nil, err
	}
	for _, d := range found {
		row, err := report.prune(ctx, req, d.Name)
		if err != nil && len(report.CRDs) == 0 {
			return nil, err
		}
		if err != nil {
			report.Warnings = append(report.Warnings, fmt.Sprintf("stopped at %s: %v", d.Name, err))
			report.CRDs = append(report.CRDs, refused(Row{Name: d.Name, State: Blocked, Served: []string{}, StoredVersions: []string{},
				Stored: map[string]int64{}, ManagedFields: ManagedFields{Versions: []string{}}, Dropped: []string{}, PutBack: []string{}},
				"not looked at: "+err.Error()))
			break
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
		d, err := req.Definitions.Get(ctx, name)
		if err != nil {
			return Row{}, err
		}
		d = d.WithoutSchema()
		agreement := req.Agreement(ctx, resourceOf(d))
		r.APIServers = worst(r.APIServers, agreement)
		one := req.Request
		one.Names = []string{name}
		seen, err := look(ctx, one, []*crd.Definition{d}, false)
		if err != nil {
			return Row{}, err
		}
		r.describe(seen)
		row := seen.row(d)
		blocked, err := seen.unseen(ctx, req.Store, d)
		if err != nil {
			return Row{}, err
		}
		changed := false
		if blocked == "" {
			if changed, err = seen.changed(ctx, req.Store, d); err != nil {
				return Row{}, err
			}
		}
		switch {
		case blocked != "":
			row.State = Blocked
			return refused(row, blocked), nil
		case changed && attempt < pruneAttempts:
			continue
		case changed:
			return refused(row, "the CustomResourceDefinition changes all the time"), nil
		case row.State == NeedsMigration:
			if missing := unnamed(d, seen.of(resourceOf(d))); len(missing) > 0 && !req.DryRun {
				return r.putBack(ctx, req, refused(row, row.Reason), missing), nil
			}
			return refused(row, row.Reason), nil
		case row.State == Blocked:
			return refused(row, row.Reason), nil
		}
		if why := disagreement(agreement, d); why != "" {
			if !req.Force {
				return refused(row, why), nil
			}
			r.Warnings = append(r.Warnings, "trimmed by force: "+why)
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
		if errors.Is(err, crd.ErrConflict) && attempt < pruneAttempts {
			continue
		}
		var refusal *crd.RefusedError
		if errors.Is(err, crd.ErrConflict) || errors.As(err, &refusal) {
			row.Dropped = []string{}
			return refused(row, "storedVersions was not written: "+err.Error()), nil
		}
		// From here on the write may have been done, whatever its answer: etcd has to be looked at again.
		return r.afterwards(ctx, req, row, d, written, err), nil
	}
}

// afterwards scans again and puts back what was found or could not be ruled out. It goes on when the caller is interrupted.
func (r *Report) afterwards(ctx context.Context, req PruneRequest, row Row, d, written *crd.Definition, lost error) Row {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), aftermath)
	defer cancel()
	if lost != nil {
		row = refused(row, "nobody can tell whether storedVersions was written: "+lost.Error())
		row.State = Blocked
		return r.putBack(ctx, req, row, row.Dropped)
	}
	row.StoredVersions = written.StoredVersions
	select {
	case <-time.After(req.Settle):
	case <-ctx.Done(): // its own time is up, and the scan below says so
	}
	one := req.Request
	one.Names = []string{d.Name}
	seen, err := look(ctx, one, []*crd.Definition{written}, false)
	if err == nil {
		// The definition that was written has to be in the etcd that is read, or the scan speaks of another cluster.
		var blocked string
		if blocked, err = seen.unseen(ctx, req.Store, written); blocked != "" {
			err = errors.New(blocked)
		}
	}
	if err == nil {
		err = seen.Shortfall
	}
	if err != nil {
		row.State = Blocked
		return r.putBack(ctx, req, refused(row, "etcd could not be read again after the write: "+err.Error()), row.Dropped)
	}
	r.describe(seen)
	after := seen.row(written)
	row.State, row.Reason, row.Stored, row.Unknown, row.ToRevision = after.State, after.Reason, after.Stored, after.Unknown, seen.Pin.Revision
	switch {
	case after.Unknown > 0:
		return r.putBack(ctx, req, refused(row, after.Reason), row.Dropped)
	case after.State == Clean:
		if again := req.Agreement(ctx, resourceOf(d)); again.Agree != nil && !*again.Agree && !req.Force {
			return r.putBack(ctx, req, refused(row, disagreement(again, d)), row.Dropped)
		}
		return row
	}
	var back []string
	for _, v := range row.Dropped {
		if after.Stored[v] > 0 {
			back = append(back, v)
		}
	}
	return r.putBack(ctx, req, refused(row, after.Reason), back)
}

// putBack writes versions into storedVersions again, beside whatever is there by now.
func (r *Report) putBack(ctx context.Context, req PruneRequest, row Row, versions []string) Row {
	now, err := PutBack(ctx, req.Definitions, row.Name, versions)
	if err != nil {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s: %s could not be put back into storedVersions: %v; do so by hand", row.Name, strings.Join(versions, ", "), err))
		row.State, row.Reason = Blocked, row.Reason+"; "+strings.Join(versions, ", ")+" could not be put back into storedVersions"
		return row
	}
	row.StoredVersions = now.StoredVersions
	row.PutBack = orEmpty(versions)
	return row
}

// PutBack makes storedVersions name versions that etcd was seen to hold. Versions that are there already are left as they
// are; one that spec.versions no longer has cannot be put back, and is an error.
func PutBack(ctx context.Context, client *crd.Client, name string, versions []string) (*crd.Definition, error) {
	for attempt := 1; ; attempt++ {
		d, err := client.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		missing := slices.DeleteFunc(slices.Clone(versions), func(v string) bool { return slices.Contains(d.StoredVersions, v) })
		if len(missing) == 0 {
			return d, nil
		}
		written, err := client.SetStoredVersions(ctx, d, append(slices.Clone(d.StoredVersions), missing...))
		if errors.Is(err, crd.ErrConflict) && attempt < 4*pruneAttempts {
			continue
		}
		return written, err
	}
}

// changed tells whether the definition in etcd is no longer the one that was read before the scan.
func (s *sight) changed(ctx context.Context, store Store, d *crd.Definition) (bool, error) {
	for _, root := range s.roots {
		kv, found, err := store.Look(ctx, root+"/"+key.DirIn(root, "apiextensions.k8s.io", "customresourcedefinitions")+d.Name)
		if err != nil {
			return false, err
		}
		if found && strconv.FormatInt(kv.ModRevision, 10) == d.ResourceVersion {
			return false, nil
		}
	}
	return true, nil
}

// disagreement tells why the apiservers cannot be trusted to write the storage version, "" if they all do.
func disagreement(a apiservers.Agreement, d *crd.Definition) string {
	switch {
	case a.Agree == nil:
		return "whether every apiserver writes " + d.Storage() + " could not be told: " + a.Summary()
	case !*a.Agree:
		return "the apiservers do not agree: " + a.Summary()
	}
	return ""
}

// worst keeps the agreement that gives the most reason to doubt.
func worst(kept *apiservers.Agreement, next apiservers.Agreement) *apiservers.Agreement {
	rank := func(a apiservers.Agreement) int {
		switch {
		case a.Agree == nil:
			return 1
		case !*a.Agree:
			return 2
		}
		return 0
	}
	if kept == nil || rank(next) > rank(*kept) {
		return &next
	}
	return kept
}
