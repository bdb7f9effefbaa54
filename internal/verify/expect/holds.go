package expect

import (
	"context"
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

// Holds tells whether an etcd holds objects of a resource at the very resourceVersions that the apiserver lists now. What cannot be
// asked, as there is no object or no right to list them, is not shown. The verb is list on the resource; metadata alone is read.
func Holds(ctx context.Context, cfg *rest.Config, r verify.Resource, roots []string, look Look) bool {
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
	list, err := client.Resource(gvr).List(ctx, metav1.ListOptions{Limit: holdsLimit})
	if err != nil {
		return false
	}
	for _, object := range list.Items {
		shown, err := strconv.ParseInt(object.ResourceVersion, 10, 64)
		if err != nil {
			continue
		}
		name := object.Name
		if object.Namespace != "" {
			name = object.Namespace + "/" + name
		}
		for _, root := range roots {
			if _, at, found, err := look(ctx, root+"/"+key.DirIn(root, r.Group, r.Name)+name); err == nil && found && at == shown {
				return true
			}
		}
	}
	return false
}
