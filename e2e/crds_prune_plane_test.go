package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// prunable is a CustomResourceDefinition with versions v1 and v2 and no conversion, in a group of these tests.
type prunable struct {
	p      *plane
	plural string
}

const prunableGroup = "prune.example.com"

func (c prunable) name() string { return c.plural + "." + prunableGroup }
func (c prunable) dir() string  { return "/registry/" + prunableGroup + "/" + c.plural + "/" }
func (c prunable) crdKey() string {
	return "/registry/apiextensions.k8s.io/customresourcedefinitions/" + c.name()
}

func (c prunable) kind() string {
	return strings.ToUpper(c.plural[:1]) + strings.TrimSuffix(c.plural[1:], "s")
}

// pruneDefine creates a definition that stores v1, and waits until v1 is what the apiserver writes.
func (p *plane) pruneDefine(t *testing.T, plural string) prunable {
	t.Helper()
	c := prunable{p: p, plural: plural}
	const schema = `{openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}`
	p.kubectl(t, fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %s}
spec:
  group: %s
  scope: Namespaced
  names: {plural: %s, kind: %s}
  versions:
  - {name: v1, served: true, storage: true, schema: %s}
  - {name: v2, served: true, storage: false, schema: %s}
`, c.name(), prunableGroup, plural, c.kind(), schema, schema), "apply", "-f", "-")
	p.kubectl(t, "", "wait", "--for=condition=Established", "crd/"+c.name())
	c.awaitWritten(t, "v1")
	return c
}

func (c prunable) client() rest.Interface { return c.p.kube.Discovery().RESTClient() }

// store makes a version the storage version.
func (c prunable) store(ctx context.Context, version string) error {
	patch := fmt.Sprintf(`[{"op": "replace", "path": "/spec/versions/0/storage", "value": %t}, {"op": "replace", "path": "/spec/versions/1/storage", "value": %t}]`,
		version == "v1", version == "v2")
	return c.client().Patch(types.JSONPatchType).AbsPath("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/" + c.name()).Body([]byte(patch)).Do(ctx).Error()
}

// write creates or updates an object, with a content that it did not have, at whatever version the apiserver stores.
func (c prunable) write(ctx context.Context, name string) error {
	body := fmt.Appendf(nil, `{"apiVersion": "%s/v1", "kind": %q, "metadata": {"name": %q, "namespace": "default"}, "spec": {"note": "%s", "at": "%d"}}`,
		prunableGroup, c.kind(), name, canaryInData, time.Now().UnixNano())
	path := "/apis/" + prunableGroup + "/v1/namespaces/default/" + c.plural + "/" + name
	return c.client().Patch(types.ApplyPatchType).AbsPath(path).Param("fieldManager", "test").Param("force", "true").Body(body).Do(ctx).Error()
}

// awaitWritten waits until the apiserver writes the version. It leaves no object behind.
func (c prunable) awaitWritten(t *testing.T, version string) {
	t.Helper()
	await(t, 30*time.Second, "the apiserver to write "+version, func(ctx context.Context) (bool, string) {
		if err := c.write(ctx, "probe"); err != nil {
			return false, err.Error()
		}
		written := c.stored(t, 0)["probe"]
		err := c.client().Delete().AbsPath("/apis/" + prunableGroup + "/v1/namespaces/default/" + c.plural + "/probe").Do(ctx).Error()
		return written == version && err == nil, fmt.Sprintf("%s, deleted: %v", written, err)
	})
}

// stored is the version that each object is stored at, as etcd itself has it at a revision; 0 is now.
func (c prunable) stored(t *testing.T, revision int64) map[string]string {
	t.Helper()
	response, err := c.p.etcd.Get(t.Context(), c.dir(), clientv3.WithPrefix(), clientv3.WithRev(revision))
	if err != nil {
		t.Fatal(err)
	}
	versions := make(map[string]string)
	for _, kv := range response.Kvs {
		var header struct {
			APIVersion string `json:"apiVersion"`
		}
		if err := json.Unmarshal(kv.Value, &header); err != nil {
			t.Fatalf("%s: %v", kv.Key, err)
		}
		versions[strings.TrimPrefix(string(kv.Key), c.dir()+"default/")] = strings.TrimPrefix(header.APIVersion, prunableGroup+"/")
	}
	return versions
}

// storedVersions is status.storedVersions as etcd has it, sorted, with the mod_revision of the definition.
func (c prunable) storedVersions(t *testing.T) (versions []string, revision int64) {
	t.Helper()
	kvs := c.p.raw(t, c.crdKey())
	if len(kvs) != 1 {
		t.Fatalf("%d keys at %s", len(kvs), c.crdKey())
	}
	var d struct {
		Status struct {
			StoredVersions []string `json:"storedVersions"`
		} `json:"status"`
	}
	if err := json.Unmarshal(kvs[0].Value, &d); err != nil {
		t.Fatal(err)
	}
	slices.Sort(d.Status.StoredVersions)
	return d.Status.StoredVersions, kvs[0].ModRevision
}

func (c prunable) wantStoredVersions(t *testing.T, want ...string) {
	t.Helper()
	if got, _ := c.storedVersions(t); !slices.Equal(got, want) {
		t.Errorf("storedVersions of %s is %v, want %v", c.name(), got, want)
	}
}

type pruneRow struct {
	Name           string           `json:"name"`
	State          string           `json:"state"`
	Reason         string           `json:"reason"`
	StoredVersions []string         `json:"storedVersions"`
	Stored         map[string]int64 `json:"stored"`
	FromRevision   int64            `json:"fromRevision"`
	ToRevision     int64            `json:"toRevision"`
	Dropped        []string         `json:"dropped"`
	PutBack        []string         `json:"putBack"`
	Refused        bool             `json:"refused"`
}

// pruneRows are the rows of a CRDReport by name.
func (r result) pruneRows(t *testing.T) map[string]pruneRow {
	t.Helper()
	var report struct {
		Kind string     `json:"kind"`
		CRDs []pruneRow `json:"crds"`
	}
	r.decode(t, &report, "apiVersion", "kind", "tool", "source", "scope", "dryRun", "apiservers", "crds", "warnings", "startedAt", "finishedAt")
	if report.Kind != "CRDReport" {
		t.Errorf("kind %s", report.Kind)
	}
	rows := make(map[string]pruneRow)
	for _, row := range report.CRDs {
		rows[row.Name] = row
	}
	return rows
}
