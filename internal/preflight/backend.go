package preflight

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
)

// backend is what the API tells of the service behind a webhook.
type backend struct {
	state backendState
	why   string // follows "webhook W …" or a comma; empty if it is ready
}

type backendState int

const (
	backendUnread    backendState = iota // could not be looked at
	backendMissing                       // nobody can answer
	backendElsewhere                     // a name outside of the cluster
	backendHeadless                      // has endpoints that only some apiservers route to
	backendReady                         // has a ready endpoint
)

// backend looks at a service as the apiserver does that routes to it (pkg/util/proxy: ResolveCluster and
// ResolveEndpoint): by its port, and by the endpoints that kube-proxy or the apiserver itself would pick.
func (l *look) backend(ctx context.Context, ref admissionv1.ServiceReference) backend {
	port := int32(443)
	if ref.Port != nil {
		port = *ref.Port
	}
	id := fmt.Sprintf("%s/%s:%d", ref.Namespace, ref.Name, port)
	b, ok := l.found[id]
	if !ok {
		b = l.lookAtBackend(ctx, ref, port)
		l.found[id] = b
	}
	return b
}

func (l *look) lookAtBackend(ctx context.Context, ref admissionv1.ServiceReference, port int32) backend {
	named := serviceName(ref)
	if ref.Namespace == "default" && ref.Name == "kubernetes" {
		return backend{state: backendReady} // the apiserver itself: it never leaves the process
	}
	if len(validation.IsDNS1123Label(ref.Namespace)) > 0 || len(validation.IsDNS1123Label(ref.Name)) > 0 {
		return backend{backendMissing, "no service can have the name " + named}
	}
	var service struct {
		Spec struct {
			Type         corev1.ServiceType `json:"type"`
			ClusterIP    string             `json:"clusterIP"`
			ExternalName string             `json:"externalName"`
			Ports        []struct {
				Name string `json:"name"`
				Port int32  `json:"port"`
			} `json:"ports"`
		} `json:"spec"`
	}
	gv := schema.GroupVersion{Version: "v1"}
	err := l.get(ctx, acceptJSON, "Service", apiPath(gv, "namespaces", ref.Namespace, "services", ref.Name), nil, &service)
	switch {
	case answered(err, http.StatusNotFound):
		return backend{backendMissing, "there is no service " + named}
	case err != nil:
		l.notRead("services in namespace "+ref.Namespace, missing(err, "get", "services"))
		return backend{backendUnread, "its service " + named + " could not be read"}
	case service.Spec.Type == corev1.ServiceTypeExternalName:
		return backend{backendElsewhere, fmt.Sprintf("whether %s answers, to which service %s leads, cannot be known from here", shown(service.Spec.ExternalName), named)}
	}
	name := ""
	known := false
	for _, p := range service.Spec.Ports {
		if p.Port == port {
			name, known = p.Name, true
			break
		}
	}
	if !known {
		return backend{backendMissing, fmt.Sprintf("service %s has no port %d", named, port)}
	}
	ready, err := l.hasEndpoint(ctx, ref, name)
	switch {
	case err != nil:
		resource := "endpointslices." + discoveryv1.GroupName
		l.notRead(resource+" in namespace "+ref.Namespace, missing(err, "list", resource))
		return backend{backendUnread, "the endpoints of its service " + named + " could not be read"}
	case !ready:
		return backend{backendMissing, "service " + named + " has no ready endpoint"}
	case service.Spec.ClusterIP == corev1.ClusterIPNone:
		return backend{backendHeadless, "service " + named + " is headless, which only an apiserver with --enable-aggregator-routing can reach"}
	}
	return backend{state: backendReady}
}

// hasEndpoint looks for an endpoint that takes new connections on the port of that name.
func (l *look) hasEndpoint(ctx context.Context, ref admissionv1.ServiceReference, port string) (bool, error) {
	type slice struct {
		Ports []struct {
			Name string `json:"name"`
			Port *int32 `json:"port"`
		} `json:"ports"`
		Endpoints []struct {
			Conditions struct {
				Ready *bool `json:"ready"`
			} `json:"conditions"`
		} `json:"endpoints"`
	}
	found := false
	query := url.Values{"labelSelector": {discoveryv1.LabelServiceName + "=" + ref.Name}}
	path := apiPath(discoveryv1.SchemeGroupVersion, "namespaces", ref.Namespace, "endpointslices")
	err := readPages(ctx, &l.reader, acceptJSON, "EndpointSliceList", path, query, func(page []slice) bool {
		for _, s := range page {
			open := false
			for _, p := range s.Ports {
				open = open || p.Name == port && p.Port != nil
			}
			for _, e := range s.Endpoints {
				found = found || open && (e.Conditions.Ready == nil || *e.Conditions.Ready)
			}
		}
		return !found
	})
	return found, err
}
