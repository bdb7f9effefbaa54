package e2e

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// storage is testdata/storage.yaml.
type storage struct {
	CRDs    []map[string]any `json:"crds"`
	Objects []storedObject   `json:"objects"`
}

type storedObject struct {
	Resource string         `json:"resource"`
	Version  string         `json:"version"`
	Key      string         `json:"key"`
	Stored   string         `json:"stored"`
	Reported string         `json:"reported"`
	Object   map[string]any `json:"object"`
}

func loadStorage(t *testing.T) storage {
	t.Helper()
	text, err := os.ReadFile("testdata/storage.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var s storage
	if err := yaml.UnmarshalStrict(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAuditNamesEveryResource has one object of everything that can be stored, in each encoding that an apiserver writes.
func TestAuditNamesEveryResource(t *testing.T) {
	objects := loadStorage(t)
	for encoding, media := range map[string]string{"protobuf": "application/vnd.kubernetes.protobuf", "yaml": "application/yaml", "json": "application/json"} {
		t.Run(encoding, func(t *testing.T) {
			p := startPlane(t, "", "--without-controller-manager", "--apiserver-arg=--runtime-config=api/all=true",
				"--apiserver-arg=--feature-gates=AllAlpha=true,AllBeta=true", "--apiserver-arg=--storage-media-type="+media)
			p.create(t, objects)
			// Neither is met by any object, so that there are two findings on each: one names it, one tells its apiVersion.
			result := p.svmctl(t, "audit", "--expect", "*=encrypted", "--expect-version", "*=svmctl.invalid/v1", "-o", "json")
			result.wantCode(t, 3)
			report := result.audit(t)
			p.wantSums(t, report)
			wantNothingOdd(t, report)
			wantEveryObject(t, report, objects)
			for _, g := range report.Groups {
				if g.Resource != "" && g.Stored != nil && g.Stored.Encoding != encoding && !(strings.Contains(g.Group, ".com") && g.Stored.Encoding == "cbor") &&
					!slices.Contains([]string{"apiservices", "customresourcedefinitions"}, g.Resource) {
					t.Errorf("%s.%s is stored as %s", g.Resource, g.Group, g.Stored.Encoding)
				}
			}
		})
	}
}

// create makes the CRDs and one object of each kind.
func (p *plane) create(t *testing.T, s storage) {
	t.Helper()
	config := rest.CopyConfig(p.rest)
	config.WarningHandler = rest.NoWarnings{} // deprecated versions are created on purpose
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	p.namespace(t, "storage")
	for _, crd := range s.CRDs {
		p.createSoon(t, client, "customresourcedefinitions.apiextensions.k8s.io", "v1", "", crd)
	}
	for _, o := range s.Objects {
		_, kind, _ := strings.Cut(o.Stored, " ")
		_, group, _ := strings.Cut(o.Resource, ".")
		o.Object["apiVersion"], o.Object["kind"] = schema.GroupVersion{Group: group, Version: o.Version}.String(), kind
		namespace := ""
		if path.Base(path.Dir(o.Key)) == "storage" {
			namespace = "storage"
		}
		p.createSoon(t, client, o.Resource, o.Version, namespace, o.Object)
	}
}

// createSoon tries for a while: a CRD takes a moment until it is served.
func (p *plane) createSoon(t *testing.T, client dynamic.Interface, resource, version, namespace string, object map[string]any) {
	t.Helper()
	name, group, _ := strings.Cut(resource, ".")
	gvr := schema.GroupVersionResource{Group: group, Version: version, Resource: name}
	await(t, 30*time.Second, "creating one of "+gvr.String(), func(ctx context.Context) (bool, string) {
		_, err := client.Resource(gvr).Namespace(namespace).Create(ctx, (&unstructured.Unstructured{Object: object}).DeepCopy(), metav1.CreateOptions{})
		if err != nil {
			return false, err.Error()
		}
		return true, ""
	})
}

// wantSums compares the report with itself and with etcd's own count at its revision.
func (p *plane) wantSums(t *testing.T, report auditReport) {
	t.Helper()
	var keys, bytes, counted int64
	for _, g := range report.Groups {
		keys += g.Objects
		bytes += g.Bytes
	}
	for _, prefix := range report.Scope.Prefixes {
		response, err := p.etcd.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithRev(report.Source.Revision), clientv3.WithCountOnly())
		if err != nil {
			t.Fatal(err)
		}
		counted += response.Count
	}
	if keys != report.Totals.Keys || bytes != report.Totals.Bytes || counted != report.Totals.Keys {
		t.Errorf("the groups add up to %d keys and %d bytes, the totals are %+v, etcd counts %d", keys, bytes, report.Totals, counted)
	}
}

// wantNothingOdd: whatever an apiserver wrote in plaintext is opened and named, or known to be no API object.
func wantNothingOdd(t *testing.T, report auditReport) {
	t.Helper()
	for _, g := range report.Groups {
		switch {
		case g.Resource != "" && g.AtRest.Provider == "identity" && g.Opened == "verified" && g.Stored != nil && g.Note == "":
		case g.Resource == "" && g.Note != "":
		default:
			t.Errorf("odd: %+v", g)
		}
	}
	for _, f := range report.Findings {
		if f.Code != "Plaintext" && f.Code != "StaleVersion" {
			t.Errorf("odd: %+v", f)
		}
	}
}

func wantEveryObject(t *testing.T, report auditReport, s storage) {
	t.Helper()
	named, versions := make(map[string]finding), make(map[string]string)
	for _, f := range report.Findings {
		switch f.Code {
		case "Plaintext":
			named[f.Key] = f
		case "StaleVersion":
			versions[f.Key] = f.Found
		}
	}
	for _, o := range s.Objects {
		key := "/registry/" + o.Key
		if o.Reported != "" {
			o.Resource = o.Reported
		}
		resource, apiGroup, _ := strings.Cut(o.Resource, ".")
		apiVersion, kind, _ := strings.Cut(o.Stored, " ")
		namespace, name := "", path.Base(o.Key)
		if path.Base(path.Dir(o.Key)) == "storage" {
			namespace = "storage"
		}
		f := named[key]
		if got, want := fmt.Sprint(f.Group, " ", f.Resource, " ", f.Namespace, " ", f.Name), fmt.Sprint(apiGroup, " ", resource, " ", namespace, " ", name); got != want {
			t.Errorf("%s is named %q, want %q", key, got, want)
		}
		if versions[key] != apiVersion {
			t.Errorf("%s is reported at %q, want %q", key, versions[key], apiVersion)
		}
		if !slices.ContainsFunc(report.Groups, func(g group) bool {
			return g.Group == apiGroup && g.Resource == resource && g.Stored != nil && g.Stored.APIVersion == apiVersion && g.Stored.Kind == kind
		}) {
			t.Errorf("no group of %s is stored as %s", o.Resource, o.Stored)
		}
	}
}
