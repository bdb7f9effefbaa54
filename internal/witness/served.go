package witness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// virtual are resources that an apiserver lists and keeps in no etcd.
var virtual = map[schema.GroupResource]bool{{Resource: "componentstatuses"}: true}

// catalog is what the API can list, by the names that etcd has for it.
type catalog struct {
	resources map[schema.GroupResource]entry
	untold    []string                     // groups of which discovery does not tell what they serve, sorted
	elsewhere map[schema.GroupVersion]bool // that other apiservers serve
}

// entry is how to list a resource.
type entry struct {
	at         schema.GroupVersionResource
	aggregated bool // another apiserver serves it
}

// readCatalog lists what the API serves. The error is in fixed words.
func readCatalog(ctx context.Context, cfg *rest.Config) (*catalog, error) {
	disco, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, errors.New(unusable)
	}
	groups, lists, err := disco.ServerGroupsAndResourcesWithContext(ctx)
	var partial *discovery.ErrGroupDiscoveryFailed
	if err != nil && !errors.As(err, &partial) {
		return nil, fmt.Errorf("listing what the API serves: %s", whyNot(ctx, err))
	}
	c := &catalog{resources: make(map[schema.GroupResource]entry), elsewhere: aggregated(ctx, disco.RESTClient())}
	byVersion := make(map[string]*metav1.APIResourceList)
	for _, list := range lists {
		byVersion[list.GroupVersion] = list
	}
	for _, group := range groups {
		versions := slices.Clone(group.Versions)
		slices.SortStableFunc(versions, func(a, b metav1.GroupVersionForDiscovery) int {
			preferred := group.PreferredVersion.GroupVersion
			return -compareBool(a.GroupVersion == preferred, b.GroupVersion == preferred)
		})
		for _, v := range versions {
			gv, err := schema.ParseGroupVersion(v.GroupVersion)
			if list := byVersion[v.GroupVersion]; list != nil && err == nil {
				c.add(gv, list.APIResources, c.elsewhere[gv])
			}
		}
	}
	if partial != nil {
		for gv := range partial.Groups {
			if !c.elsewhere[gv] && !slices.Contains(c.untold, gv.Group) {
				c.untold = append(c.untold, gv.Group)
			}
		}
		slices.Sort(c.untold)
	}
	return c, nil
}

// add takes the resources of one version. The first version in which this apiserver itself serves a resource stays, unless a later
// group is the one that etcd has it by.
func (c *catalog) add(gv schema.GroupVersion, list []metav1.APIResource, elsewhere bool) {
	for _, r := range list {
		if strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "list") || virtual[schema.GroupResource{Group: gv.Group, Resource: r.Name}] {
			continue
		}
		gr := canonical(gv.Group, r.Name)
		old, known := c.resources[gr]
		if !known || old.aggregated && !elsewhere || old.at.Group != gr.Group && gv.Group == gr.Group && old.aggregated == elsewhere {
			c.resources[gr] = entry{at: gv.WithResource(r.Name), aggregated: elsewhere}
		}
	}
}

// tells whether a resource of a group is known.
func (c *catalog) tells(group string) bool {
	for gr := range c.resources {
		if gr.Group == group {
			return true
		}
	}
	return slices.Contains(c.untold, group)
}

// aggregated are the versions of groups that other apiservers serve. Where that may not be read none is known to be.
func aggregated(ctx context.Context, client rest.Interface) map[schema.GroupVersion]bool {
	found := make(map[schema.GroupVersion]bool)
	for token := ""; ; {
		var page struct {
			Metadata metav1.ListMeta `json:"metadata"`
			Items    []struct {
				Spec struct {
					Group   string           `json:"group"`
					Version string           `json:"version"`
					Service *json.RawMessage `json:"service"`
				} `json:"spec"`
			} `json:"items"`
		}
		request := client.Get().AbsPath("/apis/apiregistration.k8s.io/v1/apiservices").Param("limit", "500").SetHeader("Accept", "application/json")
		if token != "" {
			request = request.Param("continue", token)
		}
		text, err := request.DoRaw(ctx)
		if err != nil || json.Unmarshal(text, &page) != nil {
			return found
		}
		for _, item := range page.Items {
			if item.Spec.Service != nil {
				found[schema.GroupVersion{Group: item.Spec.Group, Version: item.Spec.Version}] = true
			}
		}
		if token = page.Metadata.Continue; token == "" {
			return found
		}
	}
}

// sorted are the resources in the order of their names.
func (c *catalog) sorted() []schema.GroupResource {
	return slices.SortedFunc(maps.Keys(c.resources), func(a, b schema.GroupResource) int { return strings.Compare(a.String(), b.String()) })
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
