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
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/expect"
)

// ErrForeignEtcd means that the etcd that was read does not hold the definitions that the apiserver shows.
var ErrForeignEtcd = expect.ErrForeignEtcd

// UnknownError tells that the apiserver has no CustomResourceDefinition of a name.
type UnknownError struct {
	Name string
	Near []string // names that contain it or that it contains
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("there is no CustomResourceDefinition %q", e.Name)
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
	Definitions Definitions
	// Served tells which resources the API serves besides those of CustomResourceDefinitions, and whether that is all of
	// them.
	Served   func(context.Context) (served map[verify.Resource]bool, whole bool)
	Prefixes []string        // empty: the storage roots found in etcd
	Names    []string        // of definitions; empty: all
	Opener   etcdscan.Opener // nil: ciphertext stays closed
	Sample   bool            // etcdscan.Reading's, as is the next
	Announce func(calls map[string]int64)
	Version  string
	Now      func() time.Time
	Progress *etcdscan.Progress

	roots []string // the storage roots in etcd, which are looked for once
}

// Survey compares every definition that was asked for with what etcd holds. An error means that no report could be made.
func Survey(ctx context.Context, req Request) (*Report, error) {
	report := newReport(req)
	l, err := list(ctx, req)
	if err != nil {
		return nil, err
	}
	if req.roots, err = findRoots(ctx, req.Store); err != nil {
		return nil, err
	}
	seen, findings, err := survey(ctx, req, l, len(req.Names) == 0)
	switch {
	case err != nil:
		return nil, err
	case len(req.Prefixes) > 0 && seen.Tally.Objects() == 0 && seen.Shortfall == nil:
		return nil, audit.ErrNothingFound
	}
	report.describe(seen)
	for _, f := range findings {
		report.CRDs = append(report.CRDs, f.row)
	}
	if err := report.orphans(ctx, req, l, seen, findings); err != nil {
		return nil, err
	}
	slices.SortFunc(report.CRDs, func(a, b Row) int { return strings.Compare(a.Name, b.Name) })
	report.FinishedAt = req.Now().UTC()
	return report, nil
}

// finding is what a survey found of one definition.
type finding struct {
	row Row
	o   *observation // nil where the definition is gone or not in this etcd; row.Reason says so
}

// survey looks at the definitions with one scan: of their directories, or with all of everything. The findings are in their order.
func survey(ctx context.Context, req Request, l listing, all bool) (*sight, []finding, error) {
	seen, err := look(ctx, req, l.found, l.strange, all)
	if err != nil {
		return nil, nil, err
	}
	var findings []finding
	foreign := 0
	for _, d := range l.found {
		o := observation{d: d, seen: seen}
		switch o.blocked, err = o.find(ctx, req.Store); {
		case err == nil && o.current:
		case err == nil, errors.Is(err, ErrForeignEtcd):
			// It was changed, deleted, or created anew since it was listed, or this is another etcd.
			o, err = again(ctx, req, d, err)
		}
		f := finding{row: emptyRow(d.Name)}
		switch {
		case errors.Is(err, ErrForeignEtcd):
			foreign++
			f.row.Reason = err.Error()
		case errors.Is(err, crd.ErrNotFound):
			f.row.Reason = "the CustomResourceDefinition was deleted meanwhile"
		case err != nil:
			return nil, nil, err
		default:
			f.row, f.o = o.row(), &o
		}
		findings = append(findings, f)
	}
	if foreign > 0 && foreign == len(l.found) {
		return nil, nil, ErrForeignEtcd
	}
	return seen, findings, nil
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
