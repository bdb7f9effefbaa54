package etcdscan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
)

const (
	maxProbes    = 20_000 // reads spent on looking for roots before a prefix has to be given
	maxRootDepth = 3      // segments of a storage root that can be found without being told
	maxUnknown   = 1000   // directories beside those of resources that a root may hold
	samples      = 8      // values looked at in a directory
)

// ErrTooManyDirectories means that the store holds too much beside Kubernetes to look through for storage roots.
var ErrTooManyDirectories = errors.New("too many directories to look through for storage roots")

// knownRoots are taken as they are: garbage below them must not hide them.
var knownRoots = []string{"/registry", "/kubernetes.io", "/openshift.io"}

// Roots finds the storage roots in the store: the well-known ones, and any directory in which a resource directory of
// Kubernetes holds a value in storage format. With credentials that may not list everything, only the well-known ones
// can be found.
func Roots(ctx context.Context, src Source, revision int64) ([]string, error) {
	finder := rootFinder{src: src, revision: revision, resourceDirs: key.Dirs()}
	roots, err := finder.below(ctx, "", maxRootDepth)
	if !errors.Is(err, ErrPermission) {
		return roots, err
	}
	roots = nil
	for _, root := range knownRoots {
		_, found, err := src.First(ctx, Prefix(root+"/"), revision)
		if err != nil && !errors.Is(err, ErrPermission) {
			return nil, fmt.Errorf("looking for %s: %w", root, err)
		}
		if found {
			roots = append(roots, root)
		}
	}
	if len(roots) == 0 {
		return nil, fmt.Errorf("looking for storage roots: %w", ErrPermission)
	}
	return roots, nil
}

type rootFinder struct {
	src          Source
	revision     int64
	resourceDirs []string
	probes       int
}

// below returns the roots at and below dir, which ends in a slash, or is empty for the store. A root may hold another: only
// what Kubernetes itself has in a root is not looked into.
func (f *rootFinder) below(ctx context.Context, dir string, depth int) ([]string, error) {
	root := strings.TrimSuffix(dir, "/")
	isRoot := slices.Contains(knownRoots, root)
	var unknown []string
	for next := Prefix(dir); ; {
		k, found, err := f.first(ctx, next)
		if err != nil {
			return nil, err
		}
		if !found {
			break
		}
		child, ok := childDirectory(dir, k)
		if !ok {
			next.Start = k + "\x00"
			continue
		}
		next.Start = prefixEnd(child)
		if dir == "" || !f.isResourceDir(child[len(dir):]) {
			if unknown = append(unknown, child); len(unknown) > maxUnknown && dir != "" && !isRoot {
				return nil, nil // no root: their directories are resources and API groups
			}
			continue
		}
		if !isRoot {
			if isRoot, err = f.holdsStorageFormat(ctx, child); err != nil {
				return nil, err
			}
		}
	}
	var roots []string
	if isRoot {
		roots = append(roots, root)
	}
	if depth == 0 {
		return roots, nil
	}
	for _, child := range unknown {
		if isRoot && strings.Contains(child[len(dir):], ".") {
			continue // the directory of an API group
		}
		inside, err := f.below(ctx, child, depth-1)
		if err != nil {
			return nil, err
		}
		roots = append(roots, inside...)
	}
	return roots, nil
}

func (f *rootFinder) first(ctx context.Context, r Range) (string, bool, error) {
	if f.probes++; f.probes > maxProbes {
		return "", false, ErrTooManyDirectories
	}
	k, found, err := f.src.First(ctx, r, f.revision)
	if err != nil {
		return "", false, fmt.Errorf("looking for storage roots: %w", err)
	}
	return k, found, nil
}

func (f *rootFinder) isResourceDir(child string) bool {
	return slices.ContainsFunc(f.resourceDirs, func(dir string) bool {
		first, _, _ := strings.Cut(dir, "/")
		return first+"/" == child
	})
}

// holdsStorageFormat tells whether one of the first values in a directory is one that an apiserver writes: the very first
// may be damaged.
func (f *rootFinder) holdsStorageFormat(ctx context.Context, dir string) (bool, error) {
	next := Prefix(dir)
	for range samples {
		k, found, err := f.first(ctx, next)
		if err != nil || !found {
			return false, err
		}
		next.Start = k + "\x00"
		for batch, err := range f.src.Read(ctx, Key(k), f.revision) {
			if err != nil {
				return false, fmt.Errorf("looking for storage roots: %w", err)
			}
			for i := range batch {
				v := atrest.Parse(batch[i].Value)
				if v.Encryption.Provider != atrest.Identity {
					return true, nil
				}
				if _, err := stored.Parse(v.Payload); err == nil {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

// childDirectory is the directory directly below dir that holds k, with a trailing slash; false when k lies in dir itself.
func childDirectory(dir, k string) (string, bool) {
	from := len(dir)
	if dir == "" && strings.HasPrefix(k, "/") {
		from = 1
	}
	i := strings.IndexByte(k[from:], '/')
	if i < 0 {
		return "", false
	}
	return k[:from+i+1], true
}
