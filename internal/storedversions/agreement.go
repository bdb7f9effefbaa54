package storedversions

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/crd"
)

// AskAPIServers asks the apiservers at the addresses, or those that can be found, each itself. One that writes another version
// than the storage version of the definition disagrees, also where all of them do so: they have not seen it yet.
func AskAPIServers(cfg *rest.Config, addresses []string) func(context.Context, *crd.Definition) apiservers.Agreement {
	return func(ctx context.Context, d *crd.Definition) apiservers.Agreement {
		resource := schema.GroupResource{Group: d.Group, Resource: d.Plural}
		survey := apiservers.Ask(ctx, apiservers.Request{Config: cfg, Addresses: addresses, Resources: []schema.GroupResource{resource}})
		a := survey.Agreement(apiservers.Question{Matter: apiservers.StorageVersion, Resources: []schema.GroupResource{resource}})
		for _, server := range survey.Distinct() {
			hash, there, problem := server.StorageVersionHash(resource)
			if problem != "" || !there || hash == "" || hash == storageVersionHash(d, d.Storage()) {
				continue // judged by the survey, or as it should be
			}
			if slices.ContainsFunc(a.Disagreements, func(one apiservers.Disagreement) bool { return one.Server == server.Address }) {
				continue
			}
			found := "storageVersionHash " + hash
			for _, v := range d.Versions {
				if storageVersionHash(d, v.Name) == hash {
					found = d.APIVersion(v.Name)
				}
			}
			a.Disagreements = append(a.Disagreements, apiservers.Disagreement{
				Server: server.Address, Identity: server.Identity, What: "storage version of " + resource.String(), Found: found})
			a.Agree = new(false)
		}
		return a
	}
}

// storageVersionHash is what discovery tells of a resource that is stored at a version.
func storageVersionHash(d *crd.Definition, version string) string {
	sum := sha256.Sum256([]byte(d.APIVersion(version) + "/" + d.Kind))
	return base64.StdEncoding.EncodeToString(sum[:8])
}

// disagreement tells why the apiservers cannot be trusted to write the storage version, "" if they all do.
func disagreement(a apiservers.Agreement, d *crd.Definition) string {
	switch {
	case a.Agree == nil:
		return "whether every apiserver writes " + d.Storage() + " could not be told: " + a.Summary()
	case !*a.Agree:
		return "not every apiserver writes " + d.Storage() + ": " + a.Summary()
	}
	return ""
}

// worst keeps the agreement that gives the most reason to doubt.
func worst(kept *apiservers.Agreement, next apiservers.Agreement) *apiservers.Agreement {
	rank := func(a apiservers.Agreement) int {
		switch {
		case a.Agree == nil:
			return 1
		case !*a.Agree:
			return 2
		}
		return 0
	}
	if kept == nil || rank(next) > rank(*kept) {
		return &next
	}
	return kept
}
