package storedversions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan"
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
	var home []string
	foreign := 0
	for _, d := range definitions {
		o := observation{d: d, seen: seen}
		switch o.blocked, err = o.find(ctx, req.Store); {
		case err == nil && o.current:
		case err == nil, errors.Is(err, ErrForeignEtcd):
			// It was changed, deleted, or created anew since it was listed, or this is another etcd.
			o, err = again(ctx, req, d, err)
		}
		row := emptyRow(d.Name)
		switch {
		case errors.Is(err, ErrForeignEtcd):
			foreign++
			row.Reason = err.Error()
		case errors.Is(err, crd.ErrNotFound):
			row.Reason = "the CustomResourceDefinition was deleted meanwhile"
		case err != nil:
			return nil, err
		default:
			row = o.row()
			home = append(home, o.root)
		}
		report.CRDs = append(report.CRDs, row)
	}
	if foreign > 0 && foreign == len(definitions) {
		return nil, ErrForeignEtcd
	}
	report.orphans(ctx, req, seen, home)
	slices.SortFunc(report.CRDs, func(a, b Row) int { return strings.Compare(a.Name, b.Name) })
	report.FinishedAt = req.Now().UTC()
	return report, nil
}

// again looks once more at a definition that etcd does not hold as it was listed. One that the apiserver still shows so is
// not in this etcd at all.
func again(ctx context.Context, req Request, listed *crd.Definition, foreign error) (observation, error) {
	d, err := req.Definitions.Get(ctx, listed.Name)
	switch {
	case err != nil:
		return observation{}, err
	case foreign != nil && d.ResourceVersion == listed.ResourceVersion:
		return observation{}, foreign
	}
	return observe(ctx, req, listed.Name, nil)
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

// orphans adds the resources whose definition is gone while their objects remain. Home are the storage roots of this
// apiserver, as far as they are known: what lies under another root is another's.
func (r *Report) orphans(ctx context.Context, req Request, seen *sight, home []string) {
	if len(req.Names) > 0 {
		return
	}
	var served map[verify.Resource]bool
	whole, asked := false, false
	strange := map[string]bool{}
	for at, h := range seen.holdings {
		resource := at.resource
		if len(home) > 0 && !slices.Contains(home, at.root) {
			strange[at.root] = true
			continue
		}
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
		row := emptyRow(resource.String())
		row.Reason, row.Stored, row.Unknown, row.FromRevision = reason, h.stored, h.unknown, seen.Pin.Revision
		r.CRDs = append(r.CRDs, row)
	}
	for _, root := range slices.Sorted(maps.Keys(strange)) {
		r.Warnings = append(r.Warnings, "custom resources under "+root+" are left out: no CustomResourceDefinition of this apiserver lies there")
	}
}
