package storedversions

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/verify"
)

// place is the directory of one resource under one storage root. Two control planes may share an etcd.
type place struct {
	root     string
	resource verify.Resource
}

// counter counts what a scan meets of custom resources.
type counter struct {
	definitions map[verify.Resource]*crd.Definition
	holdings    map[place]*holding
}

func newCounter(definitions []*crd.Definition) *counter {
	c := &counter{definitions: make(map[verify.Resource]*crd.Definition)}
	for _, d := range definitions {
		c.definitions[resourceOf(d)] = d
	}
	return c
}

func resourceOf(d *crd.Definition) verify.Resource {
	return verify.Resource{Group: d.Group, Name: d.Plural}
}

func (c *counter) Begin() { c.holdings = make(map[place]*holding) }

func (c *counter) of(root string, r verify.Resource) *holding {
	at := place{root, r}
	h := c.holdings[at]
	if h == nil {
		h = &holding{stored: make(map[string]int64), names: make(map[string]bool)}
		c.holdings[at] = h
	}
	return h
}

// Take counts one object. A key that lies among the objects of a resource and names none of them is read by a LIST all the
// same, and nobody knows its version.
func (c *counter) Take(r *etcdscan.Record, _ *etcdscan.Entry) error {
	resource := verify.Resource{Group: r.Object.Group, Name: r.Object.Resource}
	if r.Object.Beside != "" {
		if beside, err := verify.ParseResource(r.Object.Beside); err == nil && c.definitions[beside] != nil {
			c.of(r.Object.Root, beside).unknown++
		}
		return nil
	}
	if resource.Name == "" || key.Builtin(resource.Group, resource.Name) {
		return nil
	}
	version, ok := strings.CutPrefix(r.Stored.APIVersion, resource.Group+"/")
	if !ok || r.Fault != etcdscan.NoFault {
		c.of(r.Object.Root, resource).unknown++
		return nil
	}
	c.of(r.Object.Root, resource).stored[version]++
	return nil
}

// Examine looks for managedFields of versions that are gone.
func (c *counter) Examine(r *etcdscan.Record, payload []byte) error {
	d := c.definitions[verify.Resource{Group: r.Object.Group, Name: r.Object.Resource}]
	if d == nil {
		return nil
	}
	_, _, managed, err := crd.Metadata(payload)
	if err != nil {
		return nil // Take has counted what cannot be read
	}
	h := c.of(r.Object.Root, resourceOf(d))
	gone := false
	for _, apiVersion := range managed {
		version, ours := strings.CutPrefix(apiVersion, d.Group+"/")
		if _, known := d.Version(version); ours && !known {
			h.names[version], gone = true, true
		}
	}
	if gone {
		h.managed++
	}
	return nil
}

// sight is what one scan saw.
type sight struct {
	*counter
	etcdscan.Result
	roots []string
	scope audit.Scope
}

// findRoots looks for the storage roots. There being none is audit.ErrNoRoot.
func findRoots(ctx context.Context, store Store) ([]string, error) {
	roots, err := etcdscan.Roots(ctx, store, 0)
	if err == nil && len(roots) == 0 {
		err = audit.ErrNoRoot
	}
	return roots, err
}

// look scans the directories of the definitions, and of resources that no definition declares, or with all everything under the
// storage roots.
func look(ctx context.Context, req Request, definitions []*crd.Definition, strange []verify.Resource, all bool) (*sight, error) {
	c := newCounter(definitions)
	prefixes, roots := slices.Clone(req.Prefixes), req.roots
	if len(prefixes) == 0 {
		for _, root := range roots {
			if all {
				prefixes = append(prefixes, root)
				continue
			}
			for _, d := range definitions {
				prefixes = append(prefixes, root+"/"+key.DirIn(root, d.Group, d.Plural))
			}
			for _, r := range strange {
				prefixes = append(prefixes, root+"/"+key.DirIn(root, r.Group, r.Name))
			}
		}
	}
	scope := etcdscan.NewScope(prefixes, roots)
	result, err := etcdscan.Scan(ctx, etcdscan.Reading{Source: req.Store, Scope: scope, Opener: req.Opener, Sample: req.Sample, Progress: req.Progress, Announce: req.Announce}, c)
	if err != nil {
		return nil, err
	}
	return &sight{counter: c, Result: result, roots: roots,
		scope: audit.Scope{Prefixes: scope.Prefixes, Found: len(req.Prefixes) == 0, Whole: result.Shortfall == nil}}, nil
}

// row describes one definition, whose objects lie under a storage root, as it was seen.
func (s *sight) row(d *crd.Definition, root string) Row {
	h := s.of(root, resourceOf(d))
	row := emptyRow(d.Name)
	row.State, row.Reason = judge(d, h, s.Shortfall)
	row.StorageVersion, row.Served, row.StoredVersions = d.Storage(), orEmpty(d.Served()), orEmpty(d.StoredVersions)
	row.Stored, row.Unknown, row.FromRevision = h.stored, h.unknown, s.Pin.Revision
	if root != "" {
		row.Dir = root + "/" + d.Group + "/" + d.Plural
	}
	row.ManagedFields = ManagedFields{Objects: h.managed, Versions: orEmpty(slices.Sorted(maps.Keys(h.names)))}
	return row
}

// emptyRow is of what nothing is known yet.
func emptyRow(name string) Row {
	return Row{Name: name, State: Blocked, Served: []string{}, StoredVersions: []string{}, Stored: map[string]int64{},
		ManagedFields: ManagedFields{Versions: []string{}}, Dropped: []string{}, PutBack: []string{}}
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
