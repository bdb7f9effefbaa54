package rewrite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// Resource is what to rewrite, as discovery resolved it.
type Resource struct {
	schema.GroupVersionResource // the version is the one to send patches to
	Kind                        string
	Namespaced                  bool
	// Custom tells that a CRD defines the resource, which discovery does not say; see accept.
	Custom bool
}

// At is the resource with patches sent to another version. One kind is served in all versions of a custom resource, and
// of a built-in one as well.
func (r Resource) At(version string) Resource {
	r.Version = version
	return r
}

// Discoverer is the part of a discovery client that Resolve uses. *discovery.DiscoveryClient has it;
// discovery.ToDiscoveryInterfaceWithContext gives it to others.
type Discoverer interface {
	ServerGroupsAndResourcesWithContext(ctx context.Context) ([]*metav1.APIGroup, []*metav1.APIResourceList, error)
}

// UnknownResourceError tells that no served resource goes by a name.
type UnknownResourceError struct {
	Arg    string
	Near   []string // served resources with a similar name, as PLURAL or PLURAL.GROUP, best first, at most 5
	Hidden []string // group/versions that discovery could not list; the resource may be among them
}

func (e *UnknownResourceError) Error() string {
	msg := fmt.Sprintf("resolving resource %q: the apiserver serves none by this name", e.Arg)
	if len(e.Hidden) > 0 {
		msg += fmt.Sprintf(" (it could not list %s)", strings.Join(e.Hidden, ", "))
	}
	return msg
}

// UnpatchableError tells that a resource is served without the patch verb.
type UnpatchableError struct{ Resource schema.GroupResource }

func (e *UnpatchableError) Error() string {
	return fmt.Sprintf("resolving resource %q: the apiserver cannot patch it", e.Resource)
}

// candidate is one served resource in one version.
type candidate struct {
	Resource
	names     []string // singular, kind and short names, in lower case
	groupRank int      // in discovery's order; the core group comes first
	rank      int      // of the version in its group; the preferred one comes first
	patchable bool
}

// Resolve finds the resource that an argument names: plural, singular, kind or short name, alone or followed by
// .GROUP or .VERSION.GROUP. Plural names go before others, then groups in the server's order, as kubectl has it. A group
// that discovery cannot list is passed over unless nothing else fits. An argument that nothing fits gives
// *UnknownResourceError, one that fits only a resource without the patch verb *UnpatchableError.
func Resolve(ctx context.Context, disco Discoverer, arg string) (Resource, error) {
	groups, lists, err := disco.ServerGroupsAndResourcesWithContext(ctx)
	var partial *discovery.ErrGroupDiscoveryFailed
	if err != nil && !errors.As(err, &partial) {
		return Resource{}, fmt.Errorf("listing the resources of the apiserver: %w", withoutText(err))
	}
	all := candidates(groups, lists)
	name, group, qualified := strings.Cut(strings.ToLower(strings.TrimSpace(arg)), ".")
	var best *candidate
	var score int
	for i := range all {
		c := &all[i]
		s := c.fit(name, group, qualified)
		if s == 0 || best != nil && (s < score || s == score && !c.before(best)) {
			continue
		}
		best, score = c, s
	}
	switch {
	case best == nil:
		e := &UnknownResourceError{Arg: arg, Near: near(all, name, group)}
		if partial != nil {
			for gv := range partial.Groups {
				e.Hidden = append(e.Hidden, gv.String())
			}
			slices.Sort(e.Hidden)
		}
		return Resource{}, e
	case !best.patchable:
		return Resource{}, &UnpatchableError{Resource: best.GroupResource()}
	}
	return best.Resource, nil
}

// withoutText reduces a refusal to its code and reason: the apiserver's own words may quote anything.
func withoutText(err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return &Failure{Kind: KindRequest, Code: int(status.Status().Code), Reason: knownReason(status.Status().Reason)}
	}
	return err
}

// candidates flattens discovery's answer, without subresources.
func candidates(groups []*metav1.APIGroup, lists []*metav1.APIResourceList) []candidate {
	rank := make(map[string]int, len(groups))
	versionRank := make(map[schema.GroupVersion]int)
	for i, g := range groups {
		rank[g.Name] = i
		for j, v := range g.Versions {
			versionRank[schema.GroupVersion{Group: g.Name, Version: v.Version}] = j
		}
		versionRank[schema.GroupVersion{Group: g.Name, Version: g.PreferredVersion.Version}] = -1
	}
	rank[""] = -1
	var all []candidate
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range l.APIResources {
			if strings.Contains(r.Name, "/") {
				continue
			}
			c := candidate{
				Resource:  Resource{GroupVersionResource: gv.WithResource(r.Name), Kind: r.Kind, Namespaced: r.Namespaced},
				groupRank: rank[gv.Group],
				rank:      versionRank[gv],
				patchable: slices.Contains(r.Verbs, "patch"),
			}
			for _, n := range append([]string{r.SingularName, r.Kind}, r.ShortNames...) {
				if n != "" {
					c.names = append(c.names, strings.ToLower(n))
				}
			}
			all = append(all, c)
		}
	}
	return all
}

// fit is 0 if the argument does not name c, else the higher the better.
func (c *candidate) fit(name, group string, qualified bool) int {
	if qualified && group != c.Group && group != c.Version+"."+c.Group {
		return 0
	}
	switch {
	case name == c.GroupVersionResource.Resource:
		return 2
	case slices.Contains(c.names, name):
		return 1
	}
	return 0
}

// before orders candidates that fit equally well.
func (c *candidate) before(d *candidate) bool {
	if c.patchable != d.patchable {
		return c.patchable
	}
	if c.groupRank != d.groupRank {
		return c.groupRank < d.groupRank
	}
	return c.rank < d.rank
}

// near lists served resources whose name is a slip away from the given one or begins or ends like it.
func near(all []candidate, name, group string) []string {
	type miss struct {
		text string
		cost int
	}
	var misses []miss
	for i := range all {
		c := &all[i]
		cost := -1
		for _, n := range append([]string{c.GroupVersionResource.Resource}, c.names...) {
			d := distance(name, n)
			switch {
			case d <= max(1, min(len(name), len(n))/3):
			case len(name) >= 3 && (strings.HasPrefix(n, name) || strings.HasPrefix(name, n) && len(n) >= 3):
				d = 3
			default:
				continue
			}
			if cost < 0 || d < cost {
				cost = d
			}
		}
		if cost < 0 || !c.patchable {
			continue
		}
		cost *= 2
		if group != "" && group != c.Group {
			cost++
		}
		misses = append(misses, miss{c.GroupResource().String(), cost})
	}
	slices.SortFunc(misses, func(a, b miss) int {
		return cmp.Or(cmp.Compare(a.cost, b.cost), strings.Compare(a.text, b.text))
	})
	var texts []string
	for _, m := range misses {
		if !slices.Contains(texts, m.text) && len(texts) < 5 {
			texts = append(texts, m.text)
		}
	}
	return texts
}

// distance is the number of single-byte edits between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
