package e2e

import (
	"context"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const widgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.shop.example.com}
spec:
  group: shop.example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
`

const widget = `{"apiVersion": "shop.example.com/v1", "kind": "Widget", "metadata": {"name": "one", "namespace": "default"}, "spec": {"size": 1, "note": "` + canaryInData + `"}}`

// TestMigrateCustomResource: what a rewrite of an encrypted custom resource drops cannot be seen, so that nobody may take it
// for granted.
func TestMigrateCustomResource(t *testing.T) {
	resources := []string{"secrets", "widgets.shop.example.com"}
	p := startPlane(t, encryptionOf(resources, "aescbc:key1", "identity"), "--without-controller-manager")
	p.kubectl(t, widgets, "apply", "-f", "-")
	p.kubectl(t, "", "wait", "--for=condition=Established", "crd/widgets.shop.example.com")
	await(t, 30*time.Second, "the apiserver to serve widgets", func(ctx context.Context) (bool, string) {
		err := p.kube.Discovery().RESTClient().Post().AbsPath("/apis/shop.example.com/v1/namespaces/default/widgets").Body([]byte(widget)).Do(ctx).Error()
		if err != nil {
			return false, err.Error()
		}
		return true, ""
	})
	p.createSecrets(t, "default", "app", 5)
	p.rotate(t, encryptionOf(resources, "aescbc:key2", "aescbc:key1", "identity"))
	stored := p.raw(t, "/registry/shop.example.com/widgets/")
	if len(stored) != 1 {
		t.Fatalf("etcd holds %d widgets", len(stored))
	}

	for _, name := range []string{"widgets.shop.example.com", "widgets", "wd"} {
		result := p.svmctl(t, "migrate", name, "--to", "aescbc:key2", "--yes")
		result.wantCode(t, 3)
		result.wantError(t, "widgets.shop.example.com", "drops fields cannot be seen", "--allow-pruning")
	}
	// Beside a resource that can be migrated it is named, and keeps the verdict from Complete.
	both := p.svmctl(t, "migrate", "--expect", "widgets.shop.example.com=aescbc:key2", "--expect", "secrets=aescbc:key2", "--yes", "-o", "json")
	both.wantCode(t, 3)
	both.wantStdout(t, "widgets.shop.example.com", "drops fields cannot be seen")
	if report := both.migration(t); verdict(report.Verdict) != "Incomplete" || report.Outcomes.Rewritten != 5 {
		t.Errorf("verdict %s with %+v, want Incomplete with the 5 secrets rewritten", verdict(report.Verdict), report.Outcomes)
	}
	if after := p.raw(t, "/registry/shop.example.com/widgets/"); after[0].ModRevision != stored[0].ModRevision {
		t.Error("the custom resource was written")
	}
	all := p.svmctl(t, "migrate", "widgets", "--to", "aescbc:key2", "--allow-pruning", "--yes", "-o", "json")
	all.wantCode(t, 0)
	if report := all.migration(t); verdict(report.Verdict) != "Complete" || report.Outcomes.Rewritten != 1 {
		t.Errorf("verdict %s with %+v, want Complete with the widget rewritten", verdict(report.Verdict), report.Outcomes)
	}
}

// raw is what etcd holds under a prefix.
func (p *plane) raw(t *testing.T, prefix string) []*mvccpb.KeyValue {
	t.Helper()
	response, err := p.etcd.Get(t.Context(), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	return response.Kvs
}
