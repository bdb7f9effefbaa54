package storedversions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
)

// maxLooks bounds how often a definition that is changed meanwhile is looked at again.
const maxLooks = 5

// observation is one definition and a scan of its objects, put together.
type observation struct {
	d       *crd.Definition
	seen    *sight
	root    string // the storage root of both
	current bool   // the definition was in etcd as it is here when the scan had ended
	blocked string // why the scan says nothing about its objects, "" if it does
}

// observe reads a definition, scans its objects, and makes sure that the definition was the same all the while. Before is
// called with the definition ahead of the scan.
func observe(ctx context.Context, req Request, name string, before func(context.Context, *crd.Definition)) (observation, error) {
	req.Names = []string{name}
	for attempt := 1; ; attempt++ {
		d, err := req.Definitions.Get(ctx, name)
		if err != nil {
			return observation{}, err
		}
		o := observation{d: d.WithoutSchema()}
		if before != nil {
			before(ctx, o.d)
		}
		if o.seen, err = look(ctx, req, []*crd.Definition{o.d}, nil, false); err != nil {
			return observation{}, err
		}
		o.blocked, err = o.find(ctx, req.Store)
		if errors.Is(err, ErrForeignEtcd) && attempt < maxLooks {
			// One that was deleted and created again is not there as it was read either.
			if now, err := req.Definitions.Get(ctx, name); err != nil {
				return observation{}, err
			} else if now.ResourceVersion != d.ResourceVersion {
				continue
			}
		}
		switch {
		case err != nil:
			return observation{}, err
		case o.current || o.blocked != "":
			return o, nil
		case attempt == maxLooks:
			o.blocked = "the CustomResourceDefinition changes all the time"
			return o, nil
		}
	}
}

func (o *observation) holding() *holding { return o.seen.of(o.root, resourceOf(o.d)) }

func (o *observation) row() Row {
	row := o.seen.row(o.d, o.root)
	if o.blocked != "" {
		row.State, row.Reason = Blocked, o.blocked
	}
	return row
}

// rowWith is the row as it is once versions that etcd holds have been put back into storedVersions.
func (o *observation) rowWith(versions []string) Row {
	if o.blocked != "" || len(versions) == 0 {
		return o.row()
	}
	after := *o.d
	after.StoredVersions, _ = with(o.d, versions)
	row := o.seen.row(&after, o.root)
	row.StoredVersions = orEmpty(o.d.StoredVersions)
	return row
}

// find locates the definition in etcd, and tells why the scan says nothing about its objects, "" if it does.
func (o *observation) find(ctx context.Context, store Store) (blocked string, err error) {
	o.root, o.current, err = Locate(ctx, store, o.seen.roots, o.d)
	switch {
	case errors.Is(err, etcdscan.ErrPermission):
		o.current = true // as far as anybody can tell
		return "etcd does not let this user read the CustomResourceDefinition, so that nobody can tell whether this is the apiserver's etcd", nil
	case err != nil:
		return "", err
	}
	dir := o.d.Group + "/" + o.d.Plural + "/"
	if key.DirIn(o.root, o.d.Group, o.d.Plural) != dir {
		return "Kubernetes has a resource of that name itself: the objects of one that a CustomResourceDefinition declares are not counted", nil
	}
	dir = o.root + "/" + dir
	if !slices.ContainsFunc(o.seen.scope.Prefixes, func(p string) bool { return strings.HasPrefix(dir, p) }) {
		return "its objects under " + dir + " were not in the scope", nil
	}
	return "", nil
}

// Locate finds the storage root under which a definition lies in this etcd, at the revision that the apiserver shows or at one
// that followed; then it is not current any more. ErrForeignEtcd means that it lies under none of the roots, or that nobody can
// tell under which.
func Locate(ctx context.Context, store Store, roots []string, d *crd.Definition) (root string, current bool, err error) {
	at, err := strconv.ParseInt(d.ResourceVersion, 10, 64)
	if err != nil {
		return "", false, fmt.Errorf("%w: the resourceVersion of CustomResourceDefinition %s is no revision of etcd", ErrForeignEtcd, d.Name)
	}
	var moved []string
	var refused error
	for _, root := range roots {
		kv, here, err := store.Look(ctx, root+"/"+key.DirIn(root, "apiextensions.k8s.io", "customresourcedefinitions")+d.Name)
		switch {
		case errors.Is(err, etcdscan.ErrPermission):
			refused = err
		case err != nil:
			return "", false, err
		case !here || anotherUID(kv.Value, d.UID):
		case kv.ModRevision == at:
			return root, true, nil
		case kv.CreateRevision <= at && at < kv.ModRevision: // etcd may have moved on since it was read, and never back
			moved = append(moved, root)
		}
	}
	switch {
	case refused != nil:
		return "", false, refused
	case len(moved) == 0:
		return "", false, fmt.Errorf("%w: it does not hold CustomResourceDefinition %s as the apiserver shows it", ErrForeignEtcd, d.Name)
	case len(moved) > 1:
		return "", false, fmt.Errorf("%w, or nobody can tell: CustomResourceDefinition %s lies under each of %s", ErrForeignEtcd, d.Name, strings.Join(moved, ", "))
	}
	return moved[0], false, nil
}

// anotherUID tells whether a stored definition is known to be another than the one with the UID. Clusters that are set up alike
// have definitions of one name at the same revisions. Nothing is known of an encrypted one.
func anotherUID(value []byte, uid string) bool {
	v := atrest.Parse(value)
	if v.Encryption.Provider != atrest.Identity || v.Fault != "" {
		return false
	}
	var stored struct{ Metadata struct{ UID string } }
	return uid != "" && json.Unmarshal(v.Payload, &stored) == nil && stored.Metadata.UID != "" && stored.Metadata.UID != uid
}
