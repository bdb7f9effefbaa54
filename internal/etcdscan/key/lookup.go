package key

import "strings"

// Bounds of https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/util/validation/validation.go
const (
	maxDNSLabel     = 63
	maxDNSSubdomain = 253
)

type groupResource struct{ group, resource string }

// entry is what a directory holds: a row, or nested when rows lie one directory deeper.
type entry struct {
	row    row
	nested bool
}

var (
	byDir               = indexDirs(builtins)
	byOpenshiftDir      = indexDirs(openshift)
	byResource          = indexResources(builtins, aliases)
	byOpenshiftResource = indexResources(openshift)
)

func indexDirs(rows []row) map[string]entry {
	dirs := make(map[string]entry, len(rows))
	for _, r := range rows {
		dirs[r.dir] = entry{row: r}
		if first, _, nested := strings.Cut(r.dir, "/"); nested {
			dirs[first] = entry{nested: true}
		}
	}
	return dirs
}

func indexResources(tables ...[]row) map[groupResource]row {
	resources := map[groupResource]row{}
	for _, rows := range tables {
		for _, r := range rows {
			resources[groupResource{r.group, r.resource}] = r
		}
	}
	return resources
}

// lookup finds a directory below root. OpenShift's directories exist below its own root alone.
func lookup(root, dir string) (entry, bool) {
	if e, ok := byDir[dir]; ok {
		return e, true
	}
	if root != openshiftRoot {
		return entry{}, false
	}
	e, ok := byOpenshiftDir[dir]
	return e, ok
}

// storedElsewhere tells whether the resource has a directory of its own below root, so that no apiserver
// keeps it in the directory of a custom resource.
func storedElsewhere(root, group, resource string) bool {
	gr := groupResource{group, resource}
	if _, ok := byResource[gr]; ok {
		return true
	}
	_, ok := byOpenshiftResource[gr]
	return ok && root == openshiftRoot
}

// pathSegment tells whether name may be an object's name in a path, which is all that every API has in common: RBAC names hold ':'.
// https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/api/validate/content/path.go
func pathSegment(name string) bool {
	return name != "" && name != "." && name != ".." && strings.IndexByte(name, '/') < 0 && strings.IndexByte(name, '%') < 0
}

// dnsLabel tells whether s is a DNS label: a namespace (which may start with a digit) or the plural of a custom resource (which may not).
func dnsLabel(s string, digitFirst bool) bool {
	if s == "" || len(s) > maxDNSLabel || !digitFirst && s[0] >= '0' && s[0] <= '9' {
		return false
	}
	return hyphenated(s)
}

// dnsSubdomain tells whether s is a lower-case DNS subdomain: labels joined by dots. The API bounds the whole, not each label.
func dnsSubdomain(s string) bool {
	if len(s) > maxDNSSubdomain {
		return false
	}
	for {
		label, below, more := strings.Cut(s, ".")
		if !hyphenated(label) {
			return false
		}
		if !more {
			return true
		}
		s = below
	}
}

// hyphenated tells whether s is lower-case letters, digits and hyphens, with no hyphen at either end.
func hyphenated(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
