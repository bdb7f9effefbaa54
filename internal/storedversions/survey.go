package storedversions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/verify"
)

// ErrForeignEtcd means that the etcd that was read does not hold the definitions that the apiserver shows.
var ErrForeignEtcd = errors.New("this etcd is not the one of this apiserver")

// UnknownError tells that the apiserver has no CustomResourceDefinition of a name.
type UnknownError struct {
	Name string
	Near []string // names that contain it or that it contains
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("the apiserver has no CustomResourceDefinition %q", e.Name)
}

// Store is an etcd that can also be asked for single keys.
type Store interface {
	etcdscan.Source
	Look(ctx context.Context, key string) (kv etcdscan.KeyValue, found bool, err error)
}

// Request is what to look at.
type Request struct {
	Store       Store
	Origin      audit.Source
	Definitions *crd.Client
	// Served tells which resources the API serves besides those of CustomResourceDefinitions, and whether that is all of
	// them.
	Served   func(context.Context) (served map[verify.Resource]bool, whole bool)
	Prefixes []string // empty: the storage roots found in etcd
	Names    []string // of definitions; empty: all
	Version  string
	Now      func() time.Time
	Progress *etcdscan.Progress
}

// Survey compares every definition that was asked for with what etcd holds. An error means that no report could be made.
func Survey(ctx context.Context, req Request) (*Report, error) {
	report := newReport(req)
	definitions, err := definitions(ctx, req)
	if err != nil {
		return nil, err
	}
	seen, err := look(ctx, req, definitions, len(req.Names) == 0)
	if err != nil {
		return nil, err
	}
	report.describe(seen)
	foreign := 0
	for _, d := range definitions {
		row := seen.row(d)
		blocked, err := seen.unseen(ctx, req.Store, d)
		switch {
		case errors.Is(err, ErrForeignEtcd):
			foreign++
			row.State, row.Reason = Blocked, err.Error()
		case err != nil:
			return nil, err
		case blocked != "":
			row.State, row.Reason = Blocked, blocked
		}
		report.CRDs = append(report.CRDs, row)
	}
	if foreign > 0 && foreign == len(definitions) {
		return nil, ErrForeignEtcd
	}
	report.orphans(ctx, req, seen)
	slices.SortFunc(report.CRDs, func(a, b Row) int { return strings.Compare(a.Name, b.Name) })
	report.FinishedAt = req.Now().UTC()
	return report, nil
}

func newReport(req Request) *Report {
	report := &Report{APIVersion: audit.APIVersion, Kind: "CRDReport", Tool: audit.Tool{Version: req.Version}, Source: req.Origin,
		StartedAt: req.Now().UTC(), CRDs: []Row{}, Warnings: []string{}}
	report.Scope.Prefixes = []string{}
	if report.Source.Endpoints == nil {
		report.Source.Endpoints = []string{}
	}
	return report
}

func (r *Report) describe(seen *sight) {
	r.Source.Revision, r.Scope = seen.Pin.Revision, seen.scope
	if seen.Pin.ClusterID != 0 {
		r.Source.ClusterID = strconv.FormatUint(seen.Pin.ClusterID, 16)
	}
}

// definitions are those of the names, or all, without their schemas.
func definitions(ctx context.Context, req Request) ([]*crd.Definition, error) {
	var all, named []*crd.Definition
	for d, err := range req.Definitions.All(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, d.WithoutSchema())
	}
	if len(req.Names) == 0 {
		return all, nil
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(req.Names))) {
		i := slices.IndexFunc(all, func(d *crd.Definition) bool { return d.Name == name })
		if i < 0 {
			return nil, unknown(name, all)
		}
		named = append(named, all[i])
	}
	return named, nil
}

func unknown(name string, all []*crd.Definition) error {
	e := &UnknownError{Name: name}
	for _, d := range all {
		near := strings.HasPrefix(d.Name, name) || strings.HasPrefix(name, d.Plural) || strings.EqualFold(d.Kind, name)
		if near && len(e.Near) < 5 {
			e.Near = append(e.Near, d.Name)
		}
	}
	return e
}

// unseen tells why the scan says nothing about the objects of a definition, "" if it does: the definition itself lies in
// this etcd, under a storage root whose objects were in the scope.
func (s *sight) unseen(ctx context.Context, store Store, d *crd.Definition) (string, error) {
	root, _, err := Locate(ctx, store, s.roots, d)
	switch {
	case errors.Is(err, etcdscan.ErrPermission):
		return "etcd does not let this user read the CustomResourceDefinition, so that nobody can tell whether this is the apiserver's etcd", nil
	case err != nil:
		return "", err
	}
	dir := root + "/" + key.DirIn(root, d.Group, d.Plural)
	if !slices.ContainsFunc(s.scope.Prefixes, func(p string) bool { return strings.HasPrefix(dir, p) }) {
		return "its objects under " + dir + " were not in the scope", nil
	}
	return "", nil
}

// Locate finds the storage root under which a definition lies in this etcd, at the revision that the apiserver shows or at one
// that followed; then it is not current any more. ErrForeignEtcd means that it lies under none of the roots.
func Locate(ctx context.Context, store Store, roots []string, d *crd.Definition) (root string, current bool, err error) {
	for _, root := range roots {
		kv, here, err := store.Look(ctx, root+"/"+key.DirIn(root, "apiextensions.k8s.io", "customresourcedefinitions")+d.Name)
		switch {
		case err != nil:
			return "", false, err
		case !here:
			continue
		}
		// Etcd may have moved on since the definition was read, and never back.
		if at, err := strconv.ParseInt(d.ResourceVersion, 10, 64); err == nil && kv.CreateRevision <= at && at <= kv.ModRevision {
			return root, at == kv.ModRevision, nil
		}
	}
	return "", false, fmt.Errorf("%w: it does not hold CustomResourceDefinition %s as the apiserver shows it", ErrForeignEtcd, d.Name)
}

// orphans adds the resources whose definition is gone while their objects remain.
func (r *Report) orphans(ctx context.Context, req Request, seen *sight) {
	if len(req.Names) > 0 {
		return
	}
	var served map[verify.Resource]bool
	whole, asked := false, false
	for resource, h := range seen.holdings {
		if seen.definitions[resource] != nil {
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
		r.CRDs = append(r.CRDs, Row{Name: resource.String(), State: Blocked, Reason: reason, Served: []string{}, StoredVersions: []string{},
			Stored: h.stored, Unknown: h.unknown, ManagedFields: ManagedFields{Versions: []string{}}, FromRevision: seen.Pin.Revision,
			Dropped: []string{}, PutBack: []string{}})
	}
}
