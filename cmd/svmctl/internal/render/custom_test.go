package render_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/migrate"
	"github.com/svmctl/svmctl/internal/rewrite"
)

const (
	definitionsPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	definitionsKey  = "/registry/apiextensions.k8s.io/customresourcedefinitions/"
	selfies         = "selfierequests.stable.example.com"
)

func (c *cluster) config() *rest.Config { return &rest.Config{Host: "https://fake", Transport: c} }

func (c *cluster) definitions(t *testing.T) *crd.Client {
	t.Helper()
	client, err := crd.NewClient(c.config())
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// define declares a custom resource, NAME.GROUP, whose last version is the storage version. Its schema knows the fields
// of known below spec.
func (c *cluster) define(name, kind string, storedVersions, versions []string, known ...string) {
	plural, group, _ := strings.Cut(name, ".")
	o := &apiextensionsv1.CustomResourceDefinition{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group, Scope: apiextensionsv1.NamespaceScoped,
			Names:      apiextensionsv1.CustomResourceDefinitionNames{Plural: plural, Kind: kind, ListKind: kind + "List"},
			Conversion: &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter},
		},
		Status: apiextensionsv1.CustomResourceDefinitionStatus{StoredVersions: storedVersions,
			Conditions: []apiextensionsv1.CustomResourceDefinitionCondition{{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue}}},
	}
	spec := apiextensionsv1.JSONSchemaProps{Type: "object", Properties: make(map[string]apiextensionsv1.JSONSchemaProps)}
	for _, field := range known {
		spec.Properties[field] = apiextensionsv1.JSONSchemaProps{Type: "string"}
	}
	for i, v := range versions {
		o.Spec.Versions = append(o.Spec.Versions, apiextensionsv1.CustomResourceDefinitionVersion{Name: v, Served: true, Storage: i == len(versions)-1,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
				Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"spec": spec}}}})
	}
	c.putDefinition(o)
}

func (c *cluster) putDefinition(o *apiextensionsv1.CustomResourceDefinition) {
	o.ResourceVersion = ""
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	created := c.revision + 1
	if kv, found := c.get(definitionsKey + o.Name); found {
		created = kv.CreateRevision
	}
	c.put(definitionsKey+o.Name, string(text))
	kv := c.kvs[definitionsKey+o.Name]
	kv.CreateRevision = created
	c.kvs[definitionsKey+o.Name] = kv
}

func (c *cluster) definition(name string) (*apiextensionsv1.CustomResourceDefinition, bool) {
	kv, found := c.get(definitionsKey + name)
	if !found {
		return nil, false
	}
	o := new(apiextensionsv1.CustomResourceDefinition)
	if err := json.Unmarshal(kv.Value, o); err != nil {
		panic(err)
	}
	o.ResourceVersion = strconv.FormatInt(kv.ModRevision, 10)
	return o, true
}

// answerDefinitions serves CustomResourceDefinitions, and the patch of their status.
func (c *cluster) answerDefinitions(r *http.Request) (code int, body any) {
	name, status := strings.CutSuffix(strings.Trim(strings.TrimPrefix(r.URL.Path, definitionsPath), "/"), "/status")
	if name == "" {
		list := apiextensionsv1.CustomResourceDefinitionList{}
		for key := range c.kvs {
			if name, ok := strings.CutPrefix(key, definitionsKey); ok {
				o, _ := c.definition(name)
				list.Items = append(list.Items, *o)
			}
		}
		slices.SortFunc(list.Items, func(a, b apiextensionsv1.CustomResourceDefinition) int { return strings.Compare(a.Name, b.Name) })
		return http.StatusOK, list
	}
	o, found := c.definition(name)
	if !found {
		return http.StatusNotFound, metav1.Status{Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound}
	}
	if status {
		var patch struct {
			Metadata struct{ ResourceVersion string }
			Status   struct{ StoredVersions []string }
		}
		if err := json.NewDecoder(r.Body).Decode(&patch); err != nil {
			panic(err)
		}
		if patch.Metadata.ResourceVersion != o.ResourceVersion {
			return http.StatusConflict, metav1.Status{Code: http.StatusConflict, Reason: metav1.StatusReasonConflict}
		}
		o.Status.StoredVersions = patch.Status.StoredVersions
		c.putDefinition(o)
		if late := c.late[name]; late != nil {
			late()
			delete(c.late, name)
		}
		o, _ = c.definition(name)
	}
	return http.StatusOK, o
}

// answerAPIServers serves the leases of two apiservers and what the one at the host stores, if the cluster has two.
func (c *cluster) answerAPIServers(r *http.Request) (body string, ok bool) {
	stores, there := c.stores[r.URL.Hostname()]
	if !there || r.Method != http.MethodGet {
		return "", false
	}
	const group = "/apis/stable.example.com/"
	switch version, isGroup := strings.CutPrefix(r.URL.Path, group); {
	case r.URL.Path == "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases":
		var items []string
		for i, host := range []string{"fake", "second"} {
			items = append(items, fmt.Sprintf(`{"metadata":{"name":"apiserver-%d","annotations":{"kubernetes.io/peer-advertise-ip":%q}},"spec":{"renewTime":"2999-01-01T00:00:00.000000Z"}}`, i, host+":443"))
		}
		return `{"kind":"LeaseList","apiVersion":"coordination.k8s.io/v1","items":[` + strings.Join(items, ",") + `]}`, true
	case r.URL.Path == "/api":
		return fmt.Sprintf(`{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":%q}]}`, r.URL.Hostname()+":443"), true
	case isGroup:
		sum := sha256.Sum256([]byte("stable.example.com/" + stores + "/SelfieRequest"))
		return fmt.Sprintf(`{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"stable.example.com/%s","resources":[`+
			`{"name":"selfierequests","singularName":"selfierequest","namespaced":true,"kind":"SelfieRequest","verbs":["list","patch"],"storageVersionHash":%q}]}`,
			version, base64.StdEncoding.EncodeToString(sum[:8])), true
	}
	return "", false
}

// custom is a value of a custom resource.
func custom(apiVersion, kind, name, spec string) string {
	return fmt.Sprintf(`{"kind":%q,"apiVersion":%q,"metadata":{"name":%q,"namespace":"default"},"spec":%s}`, kind, apiVersion, name, spec)
}

// selfieCluster has a custom resource that is to be stored at v2; wide has fields that the schema does not know, and odd is of a
// version that no apiserver can read.
func selfieCluster(objects ...string) *cluster {
	c := newCluster()
	c.stores = map[string]string{"fake": "v2", "second": "v2"}
	c.define(selfies, "SelfieRequest", []string{"v1", "v2"}, []string{"v1", "v2"}, "host", "port")
	for _, name := range objects {
		key := "/registry/stable.example.com/selfierequests/default/" + name
		switch name {
		case "current":
			c.put(key, custom("stable.example.com/v2", "SelfieRequest", name, `{"host":"localhost"}`))
		case "wide":
			c.put(key, custom("stable.example.com/v1", "SelfieRequest", name, `{"host":"localhost","a":1,"b":1,"c":1,"d":1,"e":1,"f":1}`))
		case "odd":
			c.put(key, custom("stable.example.com/v0", "SelfieRequest", name, `{}`))
		default:
			c.put(key, custom("stable.example.com/v1", "SelfieRequest", name, `{"host":"localhost","port":"1"}`))
		}
	}
	return c
}

// migrateSelfies migrates them to the version that their definition declares.
func (c *cluster) migrateSelfies(t *testing.T, change func(*migrate.Request)) *migrate.Report {
	t.Helper()
	return c.migrate(t, func(r *migrate.Request) {
		r.Resources = []rewrite.Resource{{GroupVersionResource: schema.GroupVersionResource{Group: "stable.example.com", Version: "v1", Resource: "selfierequests"},
			Kind: "SelfieRequest", Namespaced: true, Custom: true}}
		r.Expectations = nil
		r.APIServers.Addresses = []string{"fake:443", "second:443"}
		change(r)
	})
}

// patchSelfie is what the apiserver makes of a patch.
func (c *cluster) patchSelfie(path string) (revision int64) {
	name := path[strings.LastIndex(path, "/")+1:]
	key := "/registry/stable.example.com/selfierequests/default/" + name
	c.put(key, custom("stable.example.com/v2", "SelfieRequest", name, `{"host":"localhost"}`))
	kv, _ := c.get(key)
	return kv.ModRevision
}

func snapshotFile(path string) (int64, [32]byte, error) {
	text := []byte("a snapshot")
	return int64(len(text)), sha256.Sum256(text), os.WriteFile(path, text, 0o600)
}
