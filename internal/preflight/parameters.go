package preflight

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// parameterKind finds the resource of a policy's parameters, nil if it takes none. The policy is not usable if that is
// not served or not known, which is noted; then the apiserver does not get as far as its bindings.
func (l *look) parameterKind(ctx context.Context, subject string, p *policy, m match) (resource *parameterResource, usable bool) {
	if p.Spec.ParamKind == nil {
		return nil, true
	}
	gv, err := schema.ParseGroupVersion(p.Spec.ParamKind.APIVersion)
	if err != nil {
		return nil, false // the apiserver passes such a policy over
	}
	resource, err = l.kind(ctx, gv.WithKind(p.Spec.ParamKind.Kind))
	switch {
	case err != nil:
		l.notRead(subject, "whether the kind of its parameters is served was not read: "+err.Error())
	case resource == nil && p.failsClosed():
		l.note(Misconfigured, m.severity(), subject, "fails closed, and no API serves the kind of its parameters: every UPDATE of %s is refused", l.of(m))
	}
	return resource, err == nil && resource != nil
}

// parameterResource is the resource of a kind of parameters.
type parameterResource struct {
	schema.GroupVersionResource
	namespaced bool
}

// kind finds the resource of a kind; nil if no API serves it.
func (r *reader) kind(ctx context.Context, gvk schema.GroupVersionKind) (*parameterResource, error) {
	versions, err := r.served(ctx, gvk.Group)
	if err != nil || !slices.Contains(versions, gvk.Version) {
		return nil, err
	}
	resources, err := r.resources(ctx, gvk.GroupVersion())
	if err != nil {
		return nil, err
	}
	for _, found := range resources {
		if found.Kind == gvk.Kind && !strings.Contains(found.Name, "/") {
			return &parameterResource{gvk.GroupVersion().WithResource(found.Name), found.Namespaced}, nil
		}
	}
	return nil, nil
}

// parameters notes where a policy that fails closed refuses for want of what its binding refers to. It follows
// CollectParams in pkg/admission/plugin/policy/generic of the apiserver.
func (l *look) parameters(ctx context.Context, kind string, p *policy, b *binding, resource *parameterResource, m match) {
	subject := kind + "Binding " + shown(b.Metadata.Name)
	refuses := func(code Code, severity Severity, why, when string) {
		l.note(code, severity, subject, "policy %s fails closed and %s: every UPDATE of %s is refused%s", shown(p.Metadata.Name), why, l.of(m), when)
	}
	ref := b.Spec.ParamRef
	switch {
	case !resource.namespaced && ref.Namespace != "":
		refuses(Misconfigured, m.severity(), "its parameters are cluster-scoped, but the binding names a namespace", "")
		return
	case resource.namespaced && ref.Namespace == "" && !l.target.inNamespace():
		refuses(Misconfigured, m.severity(), "seeks its parameters in the object's namespace, but the object has none", "")
		return
	case ref.Name == "" && ref.Selector == nil:
		refuses(Misconfigured, m.severity(), "the binding names no parameters", "")
		return
	case ref.ParameterNotFoundAction == nil || *ref.ParameterNotFoundAction != admissionv1.DenyAction:
		return
	case resource.namespaced && ref.Namespace == "":
		refuses(NoParameters, Warning, "seeks its parameters in the object's own namespace", " where there are none")
		return
	}
	exists, verb, err := l.parameterExists(ctx, resource, ref)
	switch {
	case err != nil:
		l.notRead(subject, "whether its parameters exist was "+missing(err, verb, resource.GroupResource().String()))
	case !exists:
		refuses(NoParameters, m.severity(), "the parameters that the binding asks for do not exist", "")
	}
}

// parameterExists asks for the metadata of the parameters, and keeps nothing of it. verb is the right it takes.
func (r *reader) parameterExists(ctx context.Context, resource *parameterResource, ref *admissionv1.ParamRef) (exists bool, verb string, err error) {
	var path []string
	if resource.namespaced {
		path = append(path, "namespaces", ref.Namespace)
	}
	path = append(path, resource.Resource)
	for _, name := range []string{ref.Namespace, ref.Name} {
		if len(content.IsPathSegmentName(name)) > 0 {
			return false, "get", &readError{text: "no object can have such a name"}
		}
	}
	if ref.Name != "" {
		var nothing struct{}
		err = r.get(ctx, acceptMetadata, "PartialObjectMetadata", apiPath(resource.GroupVersion(), append(path, ref.Name)...), nil, &nothing)
		if answered(err, http.StatusNotFound) {
			return false, "get", nil
		}
		return err == nil, "get", err
	}
	selector, err := metav1.LabelSelectorAsSelector(ref.Selector)
	if err != nil {
		return false, "list", &readError{text: "the selector of the binding cannot be parsed"}
	}
	query := url.Values{}
	if !selector.Empty() {
		query.Set("labelSelector", selector.String())
	}
	err = readPages(ctx, r, acceptNames, "PartialObjectMetadataList", apiPath(resource.GroupVersion(), path...), query, func(page []struct{}) bool {
		exists = exists || len(page) > 0
		return !exists
	})
	return exists, "list", err
}
