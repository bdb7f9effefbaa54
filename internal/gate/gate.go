// Package gate tells before an upgrade what would become of a cluster that was given other CustomResourceDefinitions: whether
// the apiserver would accept them, and which objects in etcd would become unreadable or lose fields. It writes nothing anywhere.
package gate

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
	"github.com/svmctl/svmctl/internal/storedversions"
)

// Request is what to check.
type Request struct {
	Store       storedversions.Store
	Origin      audit.Source // named in the report; revision and cluster are filled in
	Definitions *crd.Client  // of the cluster; get is enough, and list where a definition is new and no other one is not
	Next        []*crd.Definition
	Skipped     int      // objects of other kinds in the files
	Prefixes    []string // empty: the storage roots found in etcd
	// NoneDefined confirms that the apiserver of this very etcd has no definition at all, by which the etcd could be known.
	// It may be nil.
	NoneDefined func(context.Context) bool
	Opener      etcdscan.Opener // nil: ciphertext stays closed
	Sample      bool            // etcdscan.Reading's, as is the next
	Announce    func(calls map[string]int64)
	Version     string // of svmctl
	Now         func() time.Time
	Progress    *etcdscan.Progress
}

// attempts bounds how often everything is looked at again because a definition was changed meanwhile.
const attempts = 3

// check is one look.
type check struct {
	Request
	subjects []*subject
	home     []string // storage roots of the apiserver; empty if nothing shows that this etcd is its
	stranger string   // why not
	changed  bool     // a definition is no longer the one that was compared with
}

// Run compares each definition with the cluster's, and reads all of their objects in one scan at one revision. An error means
// that no report could be made. The names in Next have to differ.
func Run(ctx context.Context, req Request) (*Report, error) {
	for attempt := 1; ; attempt++ {
		c := &check{Request: req}
		report, err := c.look(ctx)
		if err != nil || !c.changed || attempt == attempts {
			return report, err
		}
	}
}

func (c *check) look(ctx context.Context) (*Report, error) {
	report := &Report{APIVersion: audit.APIVersion, Kind: "CRDCheckReport", Tool: audit.Tool{Version: c.Version}, Source: c.Origin,
		StartedAt: c.Now().UTC(), CRDs: []Row{}, Skipped: c.Skipped}
	report.Scope.Prefixes = []string{}
	if report.Source.Endpoints == nil {
		report.Source.Endpoints = []string{}
	}
	for _, next := range c.Next {
		s, err := meet(ctx, c.Definitions, next)
		if err != nil {
			return nil, err
		}
		c.subjects = append(c.subjects, s)
	}
	roots, err := c.roots(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.findHome(ctx, roots); err != nil {
		return nil, err
	}
	if err := c.read(ctx, report, roots); err != nil {
		return nil, err
	}
	for _, s := range c.subjects {
		report.add(s)
	}
	report.Verdict = report.Result().String()
	report.FinishedAt = c.Now().UTC()
	return report, nil
}

// roots are those found in etcd, and those that the prefixes suggest beside them.
func (c *check) roots(ctx context.Context) ([]string, error) {
	roots, err := etcdscan.Roots(ctx, c.Store, 0)
	if err != nil && (len(c.Prefixes) == 0 || !errors.Is(err, etcdscan.ErrPermission) && !errors.Is(err, etcdscan.ErrTooManyDirectories)) {
		return nil, err
	}
	for _, p := range c.Prefixes {
		p = strings.TrimSuffix(p, "/") + "/"
		if slices.ContainsFunc(roots, func(root string) bool { return strings.HasPrefix(p, root+"/") || strings.HasPrefix(root+"/", p) }) {
			continue
		}
		root, ok := key.Root(p)
		if !ok {
			root = strings.TrimSuffix(p, "/")
		}
		roots = append(roots, root)
	}
	if len(roots) == 0 {
		return nil, audit.ErrNoRoot
	}
	return roots, nil
}

// read scans the directories of all definitions, and tells of each what the scan proves.
func (c *check) read(ctx context.Context, report *Report, roots []string) error {
	own := roots
	if len(c.home) > 0 {
		own = c.home // another root is another cluster's
	}
	sink := make(counter)
	var prefixes []string
	for _, s := range c.subjects {
		if s.resource.Name == "" {
			continue
		}
		sink[s.resource] = s
		for _, root := range own {
			prefixes = append(prefixes, within(s.dir(root), c.Prefixes)...)
		}
	}
	report.Scope.Found = len(c.Prefixes) == 0
	if len(prefixes) == 0 {
		for _, s := range c.subjects {
			s.doubt("none of its objects were in the scope")
		}
		return nil
	}
	scope := etcdscan.NewScope(prefixes, roots)
	result, err := etcdscan.Scan(ctx, etcdscan.Reading{Source: c.Store, Scope: scope, Opener: c.Opener, Sample: c.Sample, Progress: c.Progress, Announce: c.Announce}, sink)
	if err != nil {
		return err
	}
	report.Scope.Prefixes, report.Scope.Whole = scope.Prefixes, result.Shortfall == nil
	report.Source.Revision = result.Pin.Revision
	if result.Pin.ClusterID != 0 {
		report.Source.ClusterID = strconv.FormatUint(result.Pin.ClusterID, 16)
	}
	for _, s := range c.subjects {
		if s.resource.Name == "" {
			continue
		}
		s.result.AddUnknown(s.taken - s.examined)
		s.result.Counted = result.Shortfall == nil && len(c.home) > 0 && s.seen(scope, own)
		switch {
		case len(c.home) == 0:
			s.doubt("nothing shows that this etcd is the apiserver's: %s", c.stranger)
		case result.Shortfall != nil:
			s.doubt("not all of its objects were read: %v", result.Shortfall)
		case !s.result.Counted:
			s.doubt("not all of its objects were in the scope")
		}
		if err := c.recheck(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// recheck makes sure that the definition which was compared with is the one of the objects that were read.
func (c *check) recheck(ctx context.Context, s *subject) error {
	if s.present == nil || len(c.home) == 0 {
		return nil
	}
	switch _, current, err := storedversions.Locate(ctx, c.Store, c.home, s.present); {
	case errors.Is(err, storedversions.ErrForeignEtcd), errors.Is(err, etcdscan.ErrPermission):
		s.doubt("%v", err)
	case err != nil:
		return fmt.Errorf("reading CustomResourceDefinition %s in etcd: %w", s.next.Name, err)
	case !current:
		c.changed = true
		s.doubt("the cluster's definition was changed while etcd was read")
	}
	return nil
}

// within is what prefixes leave of a directory: all of it without any.
func within(dir string, prefixes []string) []string {
	if len(prefixes) == 0 {
		return []string{dir}
	}
	var out []string
	for _, p := range prefixes {
		switch p = strings.TrimSuffix(p, "/") + "/"; {
		case strings.HasPrefix(dir, p):
			return []string{dir}
		case strings.HasPrefix(p, dir):
			out = append(out, p)
		}
	}
	return out
}
