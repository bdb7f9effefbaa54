package expect

import (
	"context"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/verify"
)

// holdsLimit is how many objects of a resource are looked for.
const holdsLimit = 20

// Holds tells whether an etcd is the one from which the apiserver lists a resource now: it holds objects of it at the very
// resourceVersions, and is at the revision of the list, which a copy that was left behind is not. What cannot be asked, as there is no
// object or no right to list them, is not shown. The verb is list on the resource; metadata alone is read.
func Holds(ctx context.Context, cfg *rest.Config, r verify.Resource, roots []string, look Look, etcdRevision func(context.Context) (int64, error)) bool {
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
	if err != nil {
		return false
	}
	list, current := listNow(ctx, client.Resource(gvr), holdsLimit, etcdRevision)
	return current && slices.ContainsFunc(list.Items, func(o metav1.PartialObjectMetadata) bool { return holds(ctx, o, r, roots, look) })
}

// holds tells whether an object lies in etcd as it was listed.
func holds(ctx context.Context, object metav1.PartialObjectMetadata, r verify.Resource, roots []string, look Look) bool {
	shown, err := strconv.ParseInt(object.ResourceVersion, 10, 64)
	if err != nil {
		return false
	}
	name := object.Name
	if object.Namespace != "" {
		name = object.Namespace + "/" + name
	}
	return slices.ContainsFunc(roots, func(root string) bool {
		_, at, found, err := look(ctx, root+"/"+key.DirIn(root, r.Group, r.Name)+name)
		return err == nil && found && at == shown
	})
}

// listNow lists some objects, and tells whether the list is of the etcd whose revision is asked for before and after. A nil list could not
// be had. An apiserver that answers from a cache, or is about to, is asked again.
func listNow(ctx context.Context, client metadata.ResourceInterface, limit int64, etcdRevision func(context.Context) (int64, error)) (list *metav1.PartialObjectMetadataList, current bool) {
	for range 3 {
		before, err := etcdRevision(ctx)
		if err != nil {
			return nil, false
		}
		if list, err = client.List(ctx, metav1.ListOptions{Limit: limit}); err != nil {
			return nil, false
		}
		after, err := etcdRevision(ctx)
		if err != nil {
			return nil, false
		}
		if listed, err := strconv.ParseInt(list.ResourceVersion, 10, 64); err == nil && before <= listed && listed <= after {
			return list, true
		}
	}
	return list, false
}
