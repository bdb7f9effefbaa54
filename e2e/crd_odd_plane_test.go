package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	cbor "k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	"k8s.io/client-go/dynamic"
)

const (
	oddGroup  = "odd.example.com"
	oddDir    = "/registry/odd.example.com/"
	widgetDir = oddDir + "widgets/"
	widgetCRD = "widgets.odd.example.com"
	// oddProbe is the object that oddAwaitStored makes and takes away again.
	oddProbe = "probe-of-storage"
	// oddStoreSecond is a JSON patch that makes the second of two versions the storage version.
	oddStoreSecond = `[{"op":"replace","path":"/spec/versions/0/storage","value":false},{"op":"replace","path":"/spec/versions/1/storage","value":true}]`
)

// oddManifest is a file of testdata/crd/odd.
func oddManifest(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", "crd", "odd", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// oddDefine applies definitions and waits until their resources are served.
func (p *plane) oddDefine(t *testing.T, manifests ...string) {
	t.Helper()
	p.kubectl(t, strings.Join(manifests, "\n---\n"), "apply", "-f", "-")
	p.kubectl(t, "", "wait", "--for=condition=Established", "crd", "--all")
}

// oddGroupAPI is the API of a custom resource without a namespace of its own in the test: default, or none for a cluster-scoped one.
func (p *plane) oddGroupAPI(t *testing.T, group, version, plural, namespace string) dynamic.ResourceInterface {
	t.Helper()
	client, err := dynamic.NewForConfig(p.rest)
	if err != nil {
		t.Fatal(err)
	}
	resource := client.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: plural})
	if namespace == "" {
		return resource
	}
	return resource.Namespace(namespace)
}

// oddAPI is the API of a namespaced resource of odd.example.com.
func (p *plane) oddAPI(t *testing.T, plural, version string) dynamic.ResourceInterface {
	t.Helper()
	return p.oddGroupAPI(t, oddGroup, version, plural, "default")
}

// oddObject is one of odd.example.com.
func oddObject(version, kind, name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": oddGroup + "/" + version, "kind": kind,
		"metadata": map[string]any{"name": name}, "spec": spec}}
}

// oddCreate makes an object through a version, also while the apiserver does not serve the resource yet.
func (p *plane) oddCreate(t *testing.T, plural string, object *unstructured.Unstructured) {
	t.Helper()
	api := p.oddAPI(t, plural, object.GroupVersionKind().Version)
	await(t, 30*time.Second, "the apiserver to create "+object.GetName(), func(ctx context.Context) (bool, string) {
		_, err := api.Create(ctx, object, metav1.CreateOptions{})
		return err == nil, fmt.Sprint(err)
	})
}

// oddAwaitStored waits until the apiserver stores a resource at a version: it takes up a changed definition after some time,
// the schema and the storage version together.
func (p *plane) oddAwaitStored(t *testing.T, plural, kind, through, version string, spec map[string]any) {
	t.Helper()
	api := p.oddAPI(t, plural, through)
	await(t, 30*time.Second, "the apiserver to store "+plural+" at "+version, func(ctx context.Context) (bool, string) {
		if _, err := api.Create(ctx, oddObject(through, kind, oddProbe, spec), metav1.CreateOptions{}); err != nil {
			return false, err.Error()
		}
		is := oddDecode(t, p.raw(t, oddDir+plural+"/default/"+oddProbe)[0])["apiVersion"]
		if err := api.Delete(ctx, oddProbe, metav1.DeleteOptions{}); err != nil {
			return false, err.Error()
		}
		return is == oddGroup+"/"+version, fmt.Sprint(is)
	})
}

// oddDecode decodes a value that is not encrypted, apart from svmctl.
func oddDecode(t *testing.T, kv *mvccpb.KeyValue) map[string]any {
	t.Helper()
	var object map[string]any
	var err error
	if strings.HasPrefix(string(kv.Value), "{") {
		err = json.Unmarshal(kv.Value, &object)
	} else {
		err = cbor.Unmarshal(kv.Value, &object)
	}
	if err != nil {
		t.Fatalf("what etcd holds under %s: %v", kv.Key, err)
	}
	return object
}

// oddEdit changes a value straight in etcd, as an apiserver with an older definition would write it, if nobody else does
// meanwhile; it tells whether it was written.
func (p *plane) oddEdit(t *testing.T, key string, change func(object map[string]any)) bool {
	t.Helper()
	held, err := p.etcd.Get(t.Context(), key)
	if err != nil || len(held.Kvs) != 1 {
		t.Fatalf("reading %s: %v", key, err)
	}
	object := oddDecode(t, held.Kvs[0])
	change(object)
	value, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	unchanged := clientv3.Compare(clientv3.ModRevision(key), "=", held.Kvs[0].ModRevision)
	response, err := p.etcd.Txn(t.Context()).If(unchanged).Then(clientv3.OpPut(key, string(value))).Commit()
	if err != nil {
		t.Fatal(err)
	}
	return response.Succeeded
}

// oddHidden tells whether the apiserver does not show spec.extra of a widget that has it: it has taken up the narrow schema.
func (p *plane) oddHidden(t *testing.T, name string) func(context.Context) (bool, string) {
	api := p.oddAPI(t, "widgets", "v1")
	return func(ctx context.Context) (bool, string) {
		object, err := api.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		_, shown, _ := unstructured.NestedString(object.Object, "spec", "extra")
		return !shown, "spec.extra is shown"
	}
}

// oddLosses are the topmost fields that one stored object has and another lacks, in the form of the report.
func oddLosses(at string, before, after any) []string {
	var lost []string
	switch before := before.(type) {
	case map[string]any:
		kept, _ := after.(map[string]any)
		for name, was := range before {
			path := strings.TrimPrefix(at+"."+name, ".")
			if is, found := kept[name]; found {
				lost = append(lost, oddLosses(path, was, is)...)
			} else {
				lost = append(lost, path)
			}
		}
	case []any:
		kept, _ := after.([]any)
		for i, was := range before {
			lost = append(lost, oddLosses(fmt.Sprintf("%s[%d]", at, i), was, kept[i])...)
		}
	}
	slices.Sort(lost)
	return lost
}

// oddWantUnwritten checks in etcd that no object under a prefix was written since.
func (p *plane) oddWantUnwritten(t *testing.T, prefix string, before []*mvccpb.KeyValue) {
	t.Helper()
	after := p.raw(t, prefix)
	if len(after) != len(before) {
		t.Errorf("etcd holds %d keys under %s, want %d", len(after), prefix, len(before))
		return
	}
	for i, kv := range after {
		if was := before[i]; string(kv.Key) != string(was.Key) || kv.ModRevision != was.ModRevision {
			t.Errorf("%s was written: it is at revision %d and was at %d", kv.Key, kv.ModRevision, was.ModRevision)
		}
	}
}

// oddReport is what a report on custom resources has beside what every migration has.
type oddReport struct {
	migrationReport
	Stopped *struct{ Code, Message, Hint string } `json:"stopped"`
	Reasons []struct {
		Code     string `json:"code"`
		Resource string `json:"resource"`
		Objects  int64  `json:"objects"`
	} `json:"reasons"`
	Plan struct {
		Resources []struct {
			Resource    string `json:"resource"`
			Objects     int64  `json:"objects"`
			Stale       int64  `json:"stale"`
			Terminating int64  `json:"terminating"`
			WouldPrune  int64  `json:"wouldPrune"`
			Unchecked   int64  `json:"unchecked"`
			Preflight   []struct{ Code, Severity, Subject, Message string }
		} `json:"resources"`
	} `json:"plan"`
	Pruned   []oddPruned                    `json:"pruned"`
	Snapshot *struct{ Path, SHA256 string } `json:"snapshot"`
	Warnings []string                       `json:"warnings"`
}

type oddPruned struct {
	Key      string   `json:"key"`
	Resource string   `json:"resource"`
	Paths    []string `json:"paths"`
	State    string   `json:"state"`
	Text     string   `json:"text"`
}

// oddMigration reads the report of a migration of custom resources.
func (r result) oddMigration(t *testing.T) oddReport {
	t.Helper()
	var report oddReport
	r.decode(t, &report, "verdict", "reasons", "stopped", "plan", "outcomes", "failures", "pruned", "snapshot", "warnings", "apiservers")
	return report
}

// prunedBy are the paths per key of those in a state.
func (r oddReport) prunedBy(state string) map[string][]string {
	paths := make(map[string][]string)
	for _, pruned := range r.Pruned {
		if pruned.State == state {
			paths[pruned.Key] = pruned.Paths
		}
	}
	return paths
}
