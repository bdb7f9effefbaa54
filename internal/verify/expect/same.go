package expect

import (
	"context"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// Kinship tells whether an etcd is the one of an apiserver. The zero value says nothing.
type Kinship int

const (
	NotTold Kinship = iota
	Same
	Foreign
)

// SameStore tells whether an etcd is the one in which the apiserver keeps its objects: the namespace kube-system lies in it, under
// one of the storage roots, at the very resourceVersion that the apiserver shows. The verb is get on namespaces. Revision reads
// the mod revision of a key.
func SameStore(ctx context.Context, cfg *rest.Config, roots []string, revision func(ctx context.Context, key string) (rev int64, found bool, err error)) Kinship {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client, err := metadata.NewForConfig(cfg)
	if err != nil {
		return NotTold
	}
	for range 3 { // it may be changed between two looks, and is hardly ever
		namespace, err := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
		if err != nil {
			return NotTold
		}
		shown, err := strconv.ParseInt(namespace.ResourceVersion, 10, 64)
		if err != nil {
			return NotTold
		}
		for _, root := range roots {
			switch at, found, err := revision(ctx, root+"/namespaces/"+metav1.NamespaceSystem); {
			case err != nil:
				return NotTold
			case found && at == shown:
				return Same
			}
		}
	}
	return Foreign
}
