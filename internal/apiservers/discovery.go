package apiservers

import (
	"context"
	"maps"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

const (
	allGroups = "*" // no group has such a name
	atOnce    = 8   // requests to one apiserver
)

// ask asks one apiserver everything. It answered if it told which groups it serves.
func (t target) ask(ctx context.Context, req Request) Server {
	s := t.server
	for _, way := range t.ways {
		c, p := newClient(way)
		if p == nil {
			p = s.askGroups(ctx, c, way, req)
		}
		if p == nil {
			return s
		}
		if s.Problem = p.text; !p.name {
			break
		}
	}
	s.MetricsProblem, s.FlagsProblem = s.Problem, s.Problem
	return s
}

func (s *Server) askGroups(ctx context.Context, c *client, way *rest.Config, req Request) *problem {
	var core metav1.APIVersions
	if _, p := c.getJSON(ctx, "/api", "", "APIVersions", &core); p != nil {
		return p
	}
	s.Answered, s.Problem, s.cfg = true, "", way
	for _, a := range core.ServerAddressByClientCIDRs {
		s.Advertised = a.ServerAddress
	}
	var (
		wg     sync.WaitGroup
		groups metav1.APIGroupList
		p      *problem
	)
	wg.Go(func() { s.readMetrics(ctx, c) })
	if req.Flags {
		wg.Go(func() { s.readFlags(ctx, c) })
	}
	wg.Go(func() {
		if _, p = c.getJSON(ctx, "/apis", "", "APIGroupList", &groups); p == nil {
			s.readResources(ctx, c, core, groups, req.Resources)
		}
	})
	wg.Wait()
	if p != nil {
		s.unread = map[string]string{allGroups: p.text}
	}
	return nil
}

// readResources lists what is served, group/version by group/version: only such answers carry storageVersionHash, not the
// aggregated one (k8s.io/apiserver pkg/endpoints/installer.go, discovery/aggregated).
func (s *Server) readResources(ctx context.Context, c *client, core metav1.APIVersions, list metav1.APIGroupList, wanted []schema.GroupResource) {
	s.resources, s.unread = map[schema.GroupResource]served{}, map[string]string{}
	for _, gr := range wanted {
		s.resources[gr] = served{} // not there, unless it is found
	}
	versions := map[string][]string{"": core.Versions}
	for _, g := range list.Groups {
		for _, v := range g.Versions {
			versions[g.Name] = append(versions[g.Name], v.Version)
		}
	}
	if wanted != nil {
		maps.DeleteFunc(versions, func(group string, _ []string) bool {
			return !slices.ContainsFunc(wanted, func(gr schema.GroupResource) bool { return gr.Group == group })
		})
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		slot = make(chan struct{}, atOnce)
	)
	for group, vs := range versions {
		for _, v := range vs {
			wg.Go(func() {
				slot <- struct{}{}
				defer func() { <-slot }()
				path := "/apis/" + group + "/" + v
				if group == "" {
					path = "/api/" + v
				}
				var resources metav1.APIResourceList
				_, p := c.getJSON(ctx, path, "", "APIResourceList", &resources)
				mu.Lock()
				defer mu.Unlock()
				if p != nil {
					s.unread[group] = p.text
					return
				}
				s.addResources(group, v, resources.APIResources)
			})
		}
	}
	wg.Wait()
}

func (s *Server) addResources(group, version string, list []metav1.APIResource) {
	for _, r := range list {
		gr := schema.GroupResource{Group: group, Resource: r.Name}
		known := s.resources[gr]
		if known.kind != "" && known.hash != r.StorageVersionHash {
			// An apiserver has one storage version. It changed between two answers.
			s.unread[group] = "its answers do not agree with each other"
		}
		known.kind, known.hash = r.Kind, r.StorageVersionHash
		known.versions = append(known.versions, version)
		s.resources[gr] = known
	}
}
