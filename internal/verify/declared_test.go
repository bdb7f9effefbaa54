package verify_test

import (
	"testing"

	"github.com/svmctl/svmctl/internal/verify"
)

var (
	widgets     = verify.Resource{Group: "example.com", Name: "widgets"}
	deployments = verify.Resource{Group: "apps", Name: "deployments"}
	everything  = verify.Expectation{Resource: verify.AnyResource, Declared: verify.Declared{Asked: true, Exhaustive: true}}
)

// widgetsAt declares a custom resource that is stored at v2; v1 can be read and is served no more.
func widgetsAt(version string) verify.Expectation {
	return verify.Expectation{Resource: widgets, Version: version, From: verify.FromConfig, Declared: verify.Declared{
		Asked: true, Reason: "the CustomResourceDefinition", Custom: true,
		Served: []string{"example.com/v2"}, Readable: []string{"example.com/v1", "example.com/v2"},
	}}
}

func widget(name, version string) (key, value string) {
	return "/registry/example.com/widgets/ns/" + name, plain("example.com/"+version, "Widget", "ns", name)
}

func TestDeclaredVersions(t *testing.T) {
	at := func(versions ...string) store {
		s := store{}
		for i, v := range versions {
			k, value := widget(string(rune('a'+i)), v)
			s[k] = value
		}
		return s
	}
	secretKey := "/registry/example.com/widgets/ns/enc"
	check(t, []judged{
		{
			name: "all at the storage version", store: at("v2", "v2"), declared: verify.Expectations{widgetsAt("example.com/v2")},
			verdict: verify.Complete,
		},
		{
			name: "one at a version that can be read and is not served", store: at("v2", "v1"), declared: verify.Expectations{widgetsAt("example.com/v2")},
			verdict: verify.Incomplete, reasons: []string{"StaleVersion error widgets.example.com 1", "UnservedVersion info widgets.example.com 1"},
		},
		{
			name: "one at a version that no apiserver can read", store: at("v2", "v0"), declared: verify.Expectations{widgetsAt("example.com/v2")},
			verdict: verify.Incomplete, reasons: []string{"StaleVersion error widgets.example.com 1", "UnservedVersion error widgets.example.com 1"},
		},
		{
			name: "the expected version is itself one that no apiserver can read", store: at("v0"), expect: []string{"version widgets.example.com=example.com/v0"},
			declared: verify.Expectations{widgetsAt("example.com/v2")},
			verdict:  verify.Incomplete, reasons: []string{"UnservedVersion error widgets.example.com 1"},
		},
		{
			name: "a person expects another version than is declared", store: at("v1"), expect: []string{"version widgets.example.com=example.com/v1"},
			declared: verify.Expectations{widgetsAt("example.com/v2")},
			verdict:  verify.Complete, reasons: []string{"UnservedVersion info widgets.example.com 1"},
		},
		{
			name: "a built-in at a version that is not served", store: store{"/registry/deployments/ns/a": plain("apps/v1beta1", "Deployment", "ns", "a")},
			declared: verify.Expectations{{Resource: deployments, Version: "apps/v1beta1", Declared: verify.Declared{Asked: true, Served: []string{"apps/v1"}}}},
			verdict:  verify.Complete, reasons: []string{"UnservedVersion info deployments.apps 1"},
		},
		{
			name: "encrypted, so that its version cannot be seen", store: at("v2").and(secretKey, aescbc("key1", 0)),
			declared: verify.Expectations{widgetsAt("example.com/v2")},
			verdict:  verify.Indeterminate, reasons: []string{"NotOpened warning widgets.example.com 1"},
		},
		{
			name: "the API does not tell the storage version", store: at("v2"), declared: verify.Expectations{widgetsAt("")},
			verdict: verify.Indeterminate, reasons: []string{"UnknownVersion warning widgets.example.com 1"},
		},
		{
			name: "a resource without objects that nobody asked for", store: at("v2"),
			declared: verify.Expectations{widgetsAt("example.com/v2"), {Resource: deployments, Version: "apps/v1", Declared: verify.Declared{Asked: true}}},
			verdict:  verify.Complete,
		},
		{
			name: "a resource without objects that somebody asked for", store: at("v2"),
			declared: verify.Expectations{widgetsAt("example.com/v2"), {Resource: deployments, Version: "apps/v1", Declared: verify.Declared{Asked: true, Named: true}}},
			verdict:  verify.Indeterminate, reasons: []string{"NothingFound warning deployments.apps 0"},
		},
	})
}

// What no API serves cannot be read or rewritten by anybody: it is never passed over.
func TestOrphans(t *testing.T) {
	key, value := widget("a", "v1")
	pod := plain("v1", "Pod", "ns", "a")
	pods := verify.Expectation{Resource: verify.Resource{Name: "pods"}, Version: "v1", Declared: verify.Declared{Asked: true, Served: []string{"v1"}}}
	check(t, []judged{
		{
			name: "its CustomResourceDefinition is gone", store: store{key: value, "/registry/pods/ns/a": pod},
			declared: verify.Expectations{everything, pods},
			verdict:  verify.Indeterminate, reasons: []string{"OrphanedResource warning widgets.example.com 1"},
		},
		{
			name: "and it is encrypted", store: store{key: aescbc("key1", 0), "/registry/pods/ns/a": pod},
			declared: verify.Expectations{everything, pods},
			verdict:  verify.Indeterminate, reasons: []string{"OrphanedResource warning widgets.example.com 1"},
		},
		{
			name: "and it is judged by its encryption too", store: store{key: value, "/registry/pods/ns/a": aescbc("key1", 0)}, expect: []string{"*=encrypted"},
			declared: verify.Expectations{everything, {Resource: pods.Resource, Declared: verify.Declared{Asked: true}}},
			verdict:  verify.Incomplete, reasons: []string{"NotOpened warning pods 1", "OrphanedResource warning widgets.example.com 1", "Plaintext error widgets.example.com 1"},
		},
		{
			name: "somebody expects something of it", store: store{key: value, "/registry/pods/ns/a": pod}, expect: []string{"widgets.example.com=identity"},
			declared: verify.Expectations{everything, pods},
			verdict:  verify.Indeterminate, reasons: []string{"OrphanedResource warning widgets.example.com 1"},
		},
		{
			name: "the API could not list everything", store: store{key: value, "/registry/pods/ns/a": pod},
			declared: verify.Expectations{{Resource: verify.AnyResource, Declared: verify.Declared{Asked: true}}, pods},
			verdict:  verify.Indeterminate, reasons: []string{"UnknownVersion warning widgets.example.com 1"},
		},
		{
			name: "a key of no resource at all", store: store{"/registry/novelties/ns/a": value, "/registry/pods/ns/a": pod},
			declared: verify.Expectations{everything, pods},
			verdict:  verify.Indeterminate, reasons: []string{"UnknownKey warning  1"},
		},
	})
}
