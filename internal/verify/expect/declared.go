package expect

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/storageversion"
	"github.com/svmctl/svmctl/internal/verify"
)

// Definitions are the CustomResourceDefinitions of a cluster, as crd.Client.All yields them.
type Definitions = iter.Seq2[*crd.Definition, error]

// Declared asks the API at which version it stores each resource that it serves, and which versions it serves. For custom
// resources that is what their definition says; for others it is recovered from the storageVersionHash of discovery, which
// speaks for the apiserver that answered. The expectation for everything else tells whether the list is exhaustive; gaps
// says why it is not. The error means that nothing could be asked.
func Declared(ctx context.Context, cfg *rest.Config, definitions Definitions) (declared verify.Expectations, gaps []string, err error) {
	lists, gaps, err := resources(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	d := make(declarations)
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			gaps = append(gaps, "a group that discovery lists has a malformed name")
			continue
		}
		for _, r := range list.APIResources {
			if !strings.Contains(r.Name, "/") {
				d.serve(gv, r)
			}
		}
	}
	for definition, err := range definitions {
		if err != nil {
			gaps = append(gaps, err.Error())
			break
		}
		d.define(definition)
	}
	declared = d.expectations()
	return append(declared, verify.Expectation{Resource: verify.AnyResource,
		Declared: verify.Declared{Asked: true, Exhaustive: len(gaps) == 0}}), gaps, nil
}

// Served are the resources that the API serves, by the names that etcd has for them; whole tells whether that is all of
// them.
func Served(ctx context.Context, cfg *rest.Config) (served map[verify.Resource]bool, whole bool) {
	lists, gaps, err := resources(ctx, cfg)
	if err != nil {
		return nil, false
	}
	served = make(map[verify.Resource]bool)
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return served, false
		}
		for _, r := range list.APIResources {
			group, name := key.Canonical(gv.Group, r.Name)
			served[verify.Resource{Group: group, Name: name}] = true
		}
	}
	return served, len(gaps) == 0
}

// resources lists what the apiserver serves, group by group: the aggregated document has no hashes.
func resources(ctx context.Context, cfg *rest.Config) (lists []*metav1.APIResourceList, gaps []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	disco, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("preparing discovery: %w", err)
	}
	disco.UseLegacyDiscovery = true
	_, lists, err = disco.ServerGroupsAndResourcesWithContext(ctx)
	var partial *discovery.ErrGroupDiscoveryFailed
	switch {
	case errors.As(err, &partial):
		for gv := range partial.Groups {
			gaps = append(gaps, fmt.Sprintf("the apiserver could not list the resources of %s", gv))
		}
		slices.Sort(gaps)
	case err != nil:
		return nil, nil, fmt.Errorf("listing the resources of the apiserver: %w", withoutText(err))
	}
	return lists, gaps, nil
}

// withoutText reduces a refusal to its code and reason: its message may be anybody's words.
func withoutText(err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return fmt.Errorf("%d %s", status.Status().Code, status.Status().Reason)
	}
	return err
}

// declaration is what was found out about one resource, by the name that etcd has for it.
type declaration struct {
	hashes     []string
	kind       string
	groups     []string // of the API; several may share the objects
	versions   []string
	served     []string // apiVersions
	definition *crd.Definition
}

type declarations map[verify.Resource]*declaration

func (d declarations) of(group, resource string) *declaration {
	group, resource = key.Canonical(group, resource)
	name := verify.Resource{Group: group, Name: resource}
	if d[name] == nil {
		d[name] = &declaration{groups: []string{group}}
	}
	return d[name]
}

func (d declarations) serve(gv schema.GroupVersion, r metav1.APIResource) {
	this := d.of(gv.Group, r.Name)
	this.kind = r.Kind
	this.served = append(this.served, gv.String())
	this.versions = append(this.versions, gv.Version)
	if !slices.Contains(this.groups, gv.Group) {
		this.groups = append(this.groups, gv.Group)
	}
	if r.StorageVersionHash != "" && !slices.Contains(this.hashes, r.StorageVersionHash) {
		this.hashes = append(this.hashes, r.StorageVersionHash)
	}
}

func (d declarations) define(definition *crd.Definition) {
	this := d.of(definition.Group, definition.Plural)
	this.definition = definition.WithoutSchema()
}

func (d declarations) expectations() verify.Expectations {
	var es verify.Expectations
	for name, this := range d {
		e := verify.Expectation{Resource: name, From: verify.FromProbe, Declared: verify.Declared{Asked: true, Served: this.served}}
		switch {
		case this.definition != nil:
			e = Custom(this.definition)
		case len(this.hashes) == 1:
			if version, ok := storageversion.Recover(this.hashes[0], this.kind, this.groups, this.versions); ok {
				e.Version = version
				e.Declared.Reason = fmt.Sprintf("the apiserver's discovery: storageVersionHash %s is that of %s %s", this.hashes[0], version, this.kind)
			}
		}
		es = append(es, e)
	}
	slices.SortFunc(es, func(a, b verify.Expectation) int { return strings.Compare(a.Resource.String(), b.Resource.String()) })
	return es
}

// Custom is what a CustomResourceDefinition declares.
func Custom(d *crd.Definition) verify.Expectation {
	e := verify.Expectation{Resource: verify.Resource{Group: d.Group, Name: d.Plural}, From: verify.FromConfig,
		Declared: verify.Declared{Asked: true, Custom: true}}
	for _, v := range d.Versions {
		e.Declared.Readable = append(e.Declared.Readable, d.APIVersion(v.Name))
		if v.Served {
			e.Declared.Served = append(e.Declared.Served, d.APIVersion(v.Name))
		}
	}
	if storage := d.Storage(); storage != "" {
		e.Version = d.APIVersion(storage)
		e.Declared.Reason = fmt.Sprintf("CustomResourceDefinition %s: %s is its storage version", d.Name, storage)
	}
	return e
}
