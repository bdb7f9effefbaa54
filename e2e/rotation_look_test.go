package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// everything is what etcd itself holds: each key below the prefix, and how its value is encrypted.
func (p *plane) everything(t *testing.T, prefix string) map[string]string {
	t.Helper()
	response, err := p.etcd.Get(t.Context(), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	under := make(map[string]string)
	for _, kv := range response.Kvs {
		under[string(kv.Key)] = encryptedAs(kv.Value)
	}
	return under
}

// count is how many of these lie under a key.
func count(under map[string]string, key string) int {
	n := 0
	for _, is := range under {
		if is == key {
			n++
		}
	}
	return n
}

// readable lists every object of every resource through the API, as resource/namespace/name. An apiserver that cannot open one
// value refuses the whole list.
func (p *plane) readable(t *testing.T, kubeconfig string) map[string]bool {
	t.Helper()
	config := rest.CopyConfig(restConfig(t, filepath.Join(p.dir, kubeconfig)))
	config.WarningHandler = rest.NoWarnings{}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := discovery.NewDiscoveryClientForConfigOrDie(config).ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	read := make(map[string]bool)
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "get"}}, lists) {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list.APIResources {
			objects, err := client.Resource(gv.WithResource(r.Name)).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Errorf("listing %s through %s: %v", r.Name, kubeconfig, err)
				continue
			}
			for _, object := range objects.Items {
				read[strings.Join([]string{r.Name, gv.Group, object.GetNamespace(), object.GetName()}, "/")] = true
			}
		}
	}
	return read
}

// wantReadable checks that what could be read before can be read now. Identity leases come and go with their apiservers.
func (p *plane) wantReadable(t *testing.T, before map[string]bool, kubeconfig string) {
	t.Helper()
	now := p.readable(t, kubeconfig)
	for name := range before {
		if !now[name] && !strings.HasPrefix(name, "leases/") {
			t.Errorf("%s can no longer be read through %s", name, kubeconfig)
		}
	}
}
