// Package expect finds out through the API what should be in etcd. It never reads etcd and never writes.
package expect

import (
	"context"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/svmctl/svmctl/internal/verify"
)

// timeout bounds the whole question: an answer that does not come is none.
const timeout = 30 * time.Second

// Empty asks the API whether a resource has no objects at all. It answers true only when the apiserver lists none, at a
// resourceVersion that lies between two readings of etcd's revision: an apiserver of another cluster, which may well be
// empty, has other revisions. Anything that goes wrong means that emptiness is not confirmed.
func Empty(ctx context.Context, cfg *rest.Config, r verify.Resource, etcdRevision func(context.Context) (int64, error)) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	disco, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return false
	}
	client, err := metadata.NewForConfig(cfg)
	if err != nil {
		return false
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))
	gvr, err := mapper.ResourceFor(schema.GroupVersionResource{Group: r.Group, Resource: r.Name})
	if err != nil || gvr.Group != r.Group || gvr.Resource != r.Name {
		return false
	}
	list, ok := listAtEtcds(ctx, client, gvr, etcdRevision)
	return ok && len(list.Items) == 0 && list.Continue == ""
}

// Absent asks the API whether it serves no such resource, and so can have no objects of it. It is for resources that an
// EncryptionConfiguration names ahead of their definition: a name that a person mistyped is not served either. The apiserver
// is known to be this etcd's as for Empty, by its list of namespaces.
func Absent(ctx context.Context, cfg *rest.Config, r verify.Resource, etcdRevision func(context.Context) (int64, error)) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client, err := metadata.NewForConfig(cfg)
	if err != nil {
		return false
	}
	if all, whole := Served(ctx, cfg); !whole || all[r] {
		return false
	}
	_, ok := listAtEtcds(ctx, client, schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, etcdRevision)
	return ok
}

// listAtEtcds lists one object of a resource; ok tells that it is a list of this etcd's, by its revision.
func listAtEtcds(ctx context.Context, client metadata.Interface, gvr schema.GroupVersionResource, etcdRevision func(context.Context) (int64, error)) (list *metav1.PartialObjectMetadataList, ok bool) {
	before, err := etcdRevision(ctx)
	if err != nil {
		return nil, false
	}
	list, err = client.Resource(gvr).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, false
	}
	after, err := etcdRevision(ctx)
	if err != nil {
		return nil, false
	}
	listed, err := strconv.ParseInt(list.ResourceVersion, 10, 64)
	return list, err == nil && before <= listed && listed <= after
}
