package node

import (
	"slices"
	"strings"
)

// Override is a resource that the apiserver keeps in an etcd of its own.
type Override struct {
	Resource  string // RESOURCE or RESOURCE.GROUP
	Endpoints []string
}

// At tells whether one of the endpoints is one of the override's, as far as their texts show it.
func (o Override) At(endpoints []string) bool {
	return slices.ContainsFunc(endpoints, func(e string) bool {
		return slices.ContainsFunc(o.Endpoints, func(own string) bool { return bare(e) == bare(own) })
	})
}

// bare is an endpoint without what may be left out.
func bare(endpoint string) string {
	if _, address, ok := strings.Cut(endpoint, "://"); ok {
		endpoint = address
	}
	return strings.ToLower(strings.TrimSuffix(endpoint, "/"))
}

// Away lists the resources that overrides keep in another etcd than the one at endpoints, each once.
func Away(overrides []Override, endpoints []string) []string {
	var away []string
	for _, o := range overrides {
		if !o.At(endpoints) && !slices.Contains(away, o.Resource) {
			away = append(away, o.Resource)
		}
	}
	return away
}
