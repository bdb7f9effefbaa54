package storedversions

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/crd"
)

// holding is what etcd holds of one resource.
type holding struct {
	stored  map[string]int64 // by version
	unknown int64            // encrypted, damaged, misplaced, or of another group
	managed int64            // objects whose managedFields name a version that the definition lacks
	names   map[string]bool  // those versions
}

// judge tells the state of a definition from what etcd holds. It says Clean only of what was seen as a whole.
func judge(d *crd.Definition, h *holding, shortfall error) (State, string) {
	storage := d.Storage()
	var stale, unreadable []string
	for _, v := range slices.Sorted(maps.Keys(h.stored)) {
		if _, ok := d.Version(v); !ok {
			unreadable = append(unreadable, count(h.stored[v], v))
		} else if v != storage {
			stale = append(stale, count(h.stored[v], v))
		}
	}
	switch {
	case shortfall != nil:
		return Blocked, "not all of its objects were read: " + shortfall.Error()
	case h.unknown > 0:
		return Blocked, fmt.Sprintf("the version of %s cannot be seen: encrypted, damaged or misplaced", objects(h.unknown))
	case len(unreadable) > 0:
		return Blocked, strings.Join(unreadable, ", ") + ", which spec.versions does not have: no apiserver can read them"
	case d.Terminating:
		return Blocked, "the CustomResourceDefinition is being deleted"
	case storage == "":
		return Blocked, "spec.versions has no storage version"
	case len(stale) > 0:
		reason := strings.Join(stale, ", ")
		if missing := unnamed(d, h); len(missing) > 0 {
			reason += "; storedVersions does not name " + strings.Join(missing, ", ")
		}
		return NeedsMigration, reason
	case !slices.Contains(d.StoredVersions, storage):
		return Blocked, fmt.Sprintf("storedVersions does not name the storage version %s", storage)
	}
	if drop := droppable(d); len(drop) > 0 {
		return Prunable, fmt.Sprintf("storedVersions lists %s, which etcd no longer holds", strings.Join(drop, ", "))
	}
	return Clean, ""
}

// unnamed are the versions that etcd holds, spec.versions has and storedVersions lacks.
func unnamed(d *crd.Definition, h *holding) []string {
	var names []string
	for _, v := range slices.Sorted(maps.Keys(h.stored)) {
		if _, ok := d.Version(v); ok && !slices.Contains(d.StoredVersions, v) {
			names = append(names, v)
		}
	}
	return names
}

// droppable are the entries of storedVersions besides the storage version.
func droppable(d *crd.Definition) []string {
	var names []string
	for _, v := range d.StoredVersions {
		if v != d.Storage() {
			names = append(names, v)
		}
	}
	return names
}

func count(n int64, version string) string {
	if n == 1 {
		return "1 object is stored at " + version
	}
	return fmt.Sprintf("%d objects are stored at %s", n, version)
}

func objects(n int64) string {
	if n == 1 {
		return "1 object"
	}
	return fmt.Sprintf("%d objects", n)
}
