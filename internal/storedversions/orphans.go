package storedversions

import (
	"context"
	"maps"
	"slices"

	"github.com/svmctl/svmctl/internal/verify"
)

// orphans adds the resources whose definition is gone while their objects remain: all of them, or those of the names. A name
// that is of neither is an UnknownError. What lies under another storage root than the definitions is another apiserver's.
func (r *Report) orphans(ctx context.Context, req Request, l listing, seen *sight, findings []finding) error {
	named := len(req.Names) > 0
	if named && len(l.strange) == 0 {
		return nil
	}
	var home []string
	for _, f := range findings {
		if f.o != nil {
			home = append(home, f.o.root)
		}
	}
	if named && len(home) == 0 {
		var err error
		if home, err = l.home(ctx, req); err != nil {
			return err
		}
	}
	var served map[verify.Resource]bool
	whole, asked := false, false
	elsewhere, there := map[string]bool{}, map[verify.Resource]bool{}
	for at, h := range seen.holdings {
		resource := at.resource
		if len(home) > 0 && !slices.Contains(home, at.root) {
			elsewhere[at.root] = true
			continue
		}
		if seen.definitions[resource] != nil || named && !slices.Contains(l.strange, resource) {
			continue
		}
		if !asked {
			served, whole = req.Served(ctx)
			asked = true
		}
		if served[resource] {
			continue // by an aggregated apiserver that shares the etcd
		}
		reason := "no CustomResourceDefinition declares it: its objects remain in etcd, and no API serves them"
		if !whole {
			reason = "no CustomResourceDefinition declares it; whether another API serves it could not be told"
		}
		there[resource] = true
		row := emptyRow(resource.String())
		row.Dir = at.root + "/" + resource.Group + "/" + resource.Name
		row.Reason, row.Stored, row.Unknown, row.FromRevision = reason, h.stored, h.unknown, seen.Pin.Revision
		r.CRDs = append(r.CRDs, row)
	}
	for _, resource := range l.strange {
		if !there[resource] {
			return l.unknown(resource.String())
		}
	}
	for _, root := range slices.Sorted(maps.Keys(elsewhere)) {
		if !named {
			r.Warnings = append(r.Warnings, "custom resources under "+root+" are left out: no CustomResourceDefinition of this apiserver lies there")
		}
	}
	return nil
}
