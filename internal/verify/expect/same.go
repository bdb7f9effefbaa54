package expect

import (
	"bytes"
	"context"
	"errors"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// ErrForeignEtcd means that an apiserver keeps its objects in another etcd than the one that was read.
var ErrForeignEtcd = errors.New("this etcd is not the one of this apiserver")

// Kinship tells whether an etcd is the one of an apiserver. The zero value says nothing.
type Kinship int

const (
	NotTold Kinship = iota
	Alike           // it holds what the apiserver shows; a copy of the apiserver's etcd would as well
	Same
	Copy // it holds what the apiserver shows, and is not the etcd that the apiserver lists its leases from now
	Foreign
)

// Look reads a key as etcd has it now; the value is kept nowhere.
type Look func(ctx context.Context, key string) (value []byte, revision int64, found bool, err error)

// SameStore tells whether an etcd is the one in which the apiserver keeps its objects: the namespace kube-system lies in it, under
// one of the storage roots, at the very resourceVersion and with the UID that the apiserver shows: clusters that are set up alike
// have it at much the same revision. An etcd without it may hold other resources of the same apiserver, and of an encrypted one
// the revision alone is no proof: neither tells. The verb is get on namespaces.
//
// A copy of that etcd, such as a member that was left behind by a restore, holds the same. It is told by the revision of a list that
// the apiserver makes now, of the leases in kube-system: that is etcd's own, neither older nor newer. Without the right to list them
// the answer is Alike.
func SameStore(ctx context.Context, cfg *rest.Config, roots []string, look Look, etcdRevision func(context.Context) (int64, error)) Kinship {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client, err := metadata.NewForConfig(cfg)
	if err != nil {
		return NotTold
	}
	alike := holdsSystemNamespace(ctx, client, roots, look)
	if alike != Alike {
		return alike
	}
	return fresh(ctx, client, etcdRevision)
}

// Fresh tells whether an etcd that is known to be Alike is the Same, or a Copy.
func Fresh(ctx context.Context, cfg *rest.Config, etcdRevision func(context.Context) (int64, error)) Kinship {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client, err := metadata.NewForConfig(cfg)
	if err != nil {
		return Alike
	}
	return fresh(ctx, client, etcdRevision)
}

// fresh tells a copy from the etcd in use.
func fresh(ctx context.Context, client metadata.Interface, etcdRevision func(context.Context) (int64, error)) Kinship {
	leases := client.Resource(schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}).Namespace(metav1.NamespaceSystem)
	list, current := listNow(ctx, leases, 1, etcdRevision)
	switch {
	case list == nil:
		return Alike
	case current:
		return Same
	}
	return Copy
}

// AlikeDoubt is what an etcd that is Alike leaves open.
const AlikeDoubt = "nothing shows that this etcd is no old copy of the apiserver's: the verb list on leases in kube-system would"

// CopyDoubt is what an etcd that is a Copy leaves open.
const CopyDoubt = "this etcd is at another revision than the one that the apiserver answers from: it may be an old copy, such as a member that a restore left behind"

// holdsSystemNamespace compares the namespace kube-system.
func holdsSystemNamespace(ctx context.Context, client metadata.Interface, roots []string, look Look) Kinship {
	found := false
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
			switch value, at, here, err := look(ctx, root+"/namespaces/"+metav1.NamespaceSystem); {
			case err != nil:
				return NotTold
			case !here:
			case bytes.HasPrefix(value, []byte("k8s:enc:")):
				if at == shown {
					return NotTold
				}
				found = true
			case at == shown && bytes.Contains(value, []byte(namespace.UID)):
				return Alike
			default:
				found = true
			}
		}
	}
	if !found {
		return NotTold
	}
	return Foreign
}
