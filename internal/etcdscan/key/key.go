// Package key names what lies under an etcd key: root, group-resource, namespace and name.
// It never looks at values.
package key

import (
	"slices"
	"strings"
)

// Notes of keys that no API serves by design. Object.Internal is true for exactly these.
const (
	NoteCompactRevision  = "compaction record of the apiservers"
	NoteMasterLeases     = "lease of an apiserver's endpoint"
	NotePeerServerLeases = "lease of an apiserver's peer endpoint"
	NoteRanges           = "allocated addresses or ports"
)

// Notes of keys that fit no rule.
const (
	NoteOutside      = "outside the storage root"
	NoteSegments     = "wrong number of segments for its directory"
	NoteEmptySegment = "empty segment"
	NoteUnknownDir   = "unknown resource directory"
	NoteBadGroup     = "directory is no API group"
	NoteBadPlural    = "directory is no resource name"
	NoteBadNamespace = "no legal namespace"
	NoteBadName      = "no legal object name"
	NoteElsewhere    = "custom resource directory of a resource that is stored elsewhere"
)

// CompactRevision is where apiservers record how far they have had etcd compacted. It lies outside every root: https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/storage/etcd3/compact.go
const CompactRevision = "compact_rev_key"

// Object is what a key says about itself.
type Object struct {
	// Root is the storage root without trailing slash; "" when the key lies outside it.
	Root string
	// Group and Resource are those of the API: nodes, not minions. Resource is "" when the key is no API object.
	Group, Resource string
	// Namespace is "" for cluster-scoped resources.
	Namespace, Name string
	// Note is a fixed text, one of the Note constants, when the key is no API object; "" for an API object. It never holds bytes of the key.
	Note string
	// Beside is the RESOURCE or RESOURCE.GROUP in whose directory a key lies that names none of its objects. A LIST of that
	// resource reads the key all the same. "" for API objects and for keys in no such directory.
	Beside string
}

// Internal tells whether the key is one that no API serves by design. A key with a Note that is not internal was not understood.
func (o Object) Internal() bool {
	switch o.Note {
	case NoteCompactRevision, NoteMasterLeases, NotePeerServerLeases, NoteRanges:
		return true
	}
	return false
}

// Parse names the object under k inside the storage root root, which has no trailing slash (e.g. "/registry", or "" for keys like "/pods/a/b").
// For an API object it allocates nothing: the strings of the result are parts of its arguments.
func Parse(root, k string) Object {
	if k == CompactRevision {
		return Object{Note: NoteCompactRevision}
	}
	if len(k) <= len(root) || k[len(root)] != '/' || k[:len(root)] != root {
		return Object{Note: NoteOutside}
	}
	rest := k[len(root)+1:]
	o := Object{Root: root}
	first, below, more := strings.Cut(rest, "/")
	switch {
	case first == "":
		o.Note = NoteEmptySegment
	case internals[first] != "":
		if o.Note = internals[first]; !more || below == "" {
			o.Note = NoteSegments
		}
	case !more:
		o.Note = NoteSegments
	default:
		o.parse(rest, first, below)
	}
	return o
}

// parse fills o from rest, which is first, a slash, and below.
func (o *Object) parse(rest, first, below string) {
	at, ok := lookup(o.Root, first)
	if ok && at.nested {
		second, _, more := strings.Cut(below, "/")
		at, ok = lookup(o.Root, rest[:len(first)+1+len(second)])
		if ok {
			if !more {
				o.Note = NoteSegments
				return
			}
			below = below[len(second)+1:]
		}
	}
	switch {
	case ok:
		o.object(at.row.group, at.row.resource, below, at.row.scope == namespaced, at.row.scope == cluster)
	case strings.IndexByte(first, '.') >= 0:
		o.custom(first, below)
	default:
		o.Note = NoteUnknownDir
	}
}

// custom fills o from <group>/<plural>/[<namespace>/]<name>, split after the group.
func (o *Object) custom(group, below string) {
	plural, below, more := strings.Cut(below, "/")
	switch {
	case !dnsSubdomain(group):
		o.Note = NoteBadGroup
	case plural == "":
		o.Note = NoteEmptySegment
	case !dnsLabel(plural, false):
		o.Note = NoteBadPlural
	case !more:
		o.Note = NoteSegments
	case storedElsewhere(o.Root, group, plural):
		o.Note = NoteElsewhere
	default:
		o.object(group, plural, below, true, true)
	}
}

// object fills o when what follows the directory is <namespace>/<name> or <name>, as far as each is allowed.
func (o *Object) object(group, resource, below string, mayNamespace, mayCluster bool) {
	namespace, name, two := strings.Cut(below, "/")
	if !two {
		namespace, name = "", below
	}
	switch {
	case name == "" || two && namespace == "":
		o.Note = NoteEmptySegment
	case two && !mayNamespace, !two && !mayCluster:
		o.Note = NoteSegments
	case strings.IndexByte(name, '/') >= 0:
		o.Note = NoteSegments
	case two && !dnsLabel(namespace, true):
		o.Note = NoteBadNamespace
	case !pathSegment(name):
		o.Note = NoteBadName
	default:
		o.Group, o.Resource, o.Namespace, o.Name = group, resource, namespace, name
		return
	}
	o.Beside = resource
	if group != "" {
		o.Beside += "." + group
	}
}

// Root proposes the storage root of an etcd key prefix such as /kubernetes.io/secrets: a known root, or else what
// precedes the first directory of a built-in resource or the first API group with something below it.
// An API group is not taken for a directory of the empty root. ok is false when nothing is known.
func Root(prefix string) (root string, ok bool) {
	for _, known := range []string{"/registry", "/kubernetes.io", openshiftRoot} {
		if prefix == known || strings.HasPrefix(prefix, known) && prefix[len(known)] == '/' {
			return known, true
		}
	}
	if !strings.HasPrefix(prefix, "/") {
		return "", false
	}
	for start := 1; start <= len(prefix); {
		segment, below, _ := strings.Cut(prefix[start:], "/")
		if segment == "" {
			return "", false
		}
		if _, known := lookup("", segment); known || internals[segment] != "" {
			return prefix[:start-1], true
		}
		if start > 1 && below != "" && strings.IndexByte(segment, '.') >= 0 && dnsSubdomain(segment) {
			return prefix[:start-1], true
		}
		start += len(segment) + 1
	}
	return "", false
}

// Dir is the etcd directory of a group-resource below a storage root, with a trailing slash: nodes → "minions/",
// services → "services/specs/", deployments.apps → "deployments/", widgets.example.com → "example.com/widgets/".
// OpenShift's own root has other directories for OpenShift's own resources: see DirIn.
func Dir(group, resource string) string {
	return DirIn("", group, resource)
}

// DirIn is Dir for one storage root, without trailing slash. It differs from Dir under /openshift.io alone, where
// routes.route.openshift.io lie in "routes/"; elsewhere they are custom resources in "route.openshift.io/routes/".
func DirIn(root, group, resource string) string {
	if r, ok := byResource[groupResource{group, resource}]; ok {
		return r.dir + "/"
	}
	if r, ok := byOpenshiftResource[groupResource{group, resource}]; ok && root == openshiftRoot {
		return r.dir + "/"
	}
	if group == "" {
		return resource + "/"
	}
	return group + "/" + resource + "/"
}

// Builtin tells whether Kubernetes itself serves the group-resource, in some release since 1.34 or before.
func Builtin(group, resource string) bool {
	_, ok := byResource[groupResource{group, resource}]
	return ok
}

// Namespaced tells whether a built-in resource lies in namespaces; known is false for all others.
func Namespaced(group, resource string) (namespaced, known bool) {
	r, ok := byResource[groupResource{group, resource}]
	return bool(r.scope), ok
}

// Dirs lists the top-level directories of built-in resources, sorted, each with a trailing slash ("pods/", "services/"),
// for probing whether an unknown etcd prefix holds Kubernetes objects.
func Dirs() []string {
	var dirs []string
	for _, r := range builtins {
		first, _, _ := strings.Cut(r.dir, "/")
		dirs = append(dirs, first+"/")
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
