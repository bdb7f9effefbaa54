package verify_test

import (
	"testing"

	"github.com/svmctl/svmctl/internal/verify"
)

// '*' means every API resource, and nothing that no API serves.
func TestExpectationsOfEverything(t *testing.T) {
	custom := "/registry/stable.example.com/selfierequests/ns/a"
	check(t, []judged{
		{
			name: "a built-in resource that nobody thought of", store: secrets(aescbc("key1", 0)).and("/registry/minions/n", plain("v1", "Node", "", "n")),
			expect: []string{"*=encrypted"}, verdict: verify.Incomplete, reasons: []string{"Plaintext error nodes 1"},
		},
		{
			name:    "a custom resource",
			store:   secrets(aescbc("key1", 0)).and(custom, plain("stable.example.com/v1", "SelfieRequest", "ns", "a")),
			expect:  []string{"*=encrypted"},
			verdict: verify.Incomplete, reasons: []string{"Plaintext error selfierequests.stable.example.com 1"},
		},
		{
			name: "a key of no resource that is known", store: secrets(aescbc("key1", 0)).and("/registry/novelties/ns/a", aescbc("key1", 0)),
			expect: []string{"*=encrypted"}, verdict: verify.Indeterminate, reasons: []string{"UnknownKey warning  1"},
		},
		{
			name: "plaintext under a key of no resource that is known", store: secrets(aescbc("key1", 0)).and("/registry/novelties/ns/a", plain("new/v1", "Novelty", "ns", "a")),
			expect: []string{"*=encrypted"}, verdict: verify.Indeterminate, reasons: []string{"UnknownKey warning  1"},
		},
		{
			name: "a version is expected of everything", store: store{"/registry/pods/ns/a": plain("v1", "Pod", "ns", "a"), "/registry/leases/ns/a": plain("coordination.k8s.io/v1", "Lease", "ns", "a")},
			expect: []string{"version *=v1"}, verdict: verify.Incomplete, reasons: []string{"StaleVersion error leases.coordination.k8s.io 1"},
		},
		{
			name: "what no API serves is plaintext by design",
			store: secrets(aescbc("key1", 0)).and("/registry/masterleases/10.0.0.1", plain("v1", "Endpoints", "", "")).
				and("/registry/peerserverleases/x", plain("coordination.k8s.io/v1", "Lease", "", "")).
				and("/registry/ranges/serviceips", plain("v1", "RangeAllocation", "", "")).
				and("/registry/ranges/servicenodeports", ""),
			expect: []string{"*=encrypted"}, verdict: verify.Complete,
		},
		{
			name: "a key of no resource that is known, and one resource is judged", store: secrets(aescbc("key1", 0)).and("/registry/novelties/ns/a", "k8s:enc:aescbc:v1:old:"+noise(32, 0)),
			expect: []string{"secrets=aescbc:key1"}, verdict: verify.Complete,
		},
	})
}

// A key in the directory of a judged resource is read by a LIST of it, whether or not it names an object.
func TestOddKeysAmongJudgedObjects(t *testing.T) {
	check(t, []judged{
		{
			name: "too few segments", store: secrets(aescbc("key2", 0)).and("/registry/secrets/foo", aescbc("key1", 0)),
			expect: []string{"secrets=aescbc:key2"}, verdict: verify.Indeterminate, reasons: []string{"UnknownKey warning  1"},
		},
		{
			name: "too many segments", store: secrets(aescbc("key2", 0)).and("/registry/secrets/ns/a/b", plainSecret("b")),
			expect: []string{"secrets=aescbc:key2"}, verdict: verify.Indeterminate, reasons: []string{"UnknownKey warning  1"},
		},
		{
			name: "in a directory two levels deep", store: store{"/registry/services/specs/ns/a": aescbc("key2", 0), "/registry/services/specs/odd": aescbc("key1", 0)},
			expect: []string{"services=aescbc:key2"}, verdict: verify.Indeterminate, reasons: []string{"UnknownKey warning  1"},
		},
		{
			name:    "among custom resources",
			store:   store{"/registry/example.com/widgets/ns/a": aescbc("key2", 0), "/registry/example.com/widgets/ns/a/b": aescbc("key1", 0)},
			expect:  []string{"widgets.example.com=aescbc:key2"},
			verdict: verify.Indeterminate, reasons: []string{"UnknownKey warning  1"},
		},
		{
			name: "among the objects of a resource that is not judged", store: secrets(aescbc("key2", 0)).and("/registry/configmaps/foo", aescbc("key1", 0)),
			expect: []string{"secrets=aescbc:key2"}, verdict: verify.Complete,
		},
	})
}

// An expectation of a resource's own takes the place of '*', each half by itself.
func TestSpecificBeatsEverything(t *testing.T) {
	check(t, []judged{
		{
			name: "'*' is met and the resource's own is not", store: secrets(aescbc("key1", 0)),
			expect: []string{"*=encrypted", "secrets=aescbc:key2"}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets 1"},
		},
		{
			name: "the order of the arguments does not matter", store: secrets(aescbc("key1", 0)),
			expect: []string{"secrets=aescbc:key2", "*=encrypted"}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets 1"},
		},
		{
			name: "a version of its own leaves the encryption to '*'", store: store{"/registry/deployments/ns/a": plain("apps/v1", "Deployment", "ns", "a")},
			expect:  []string{"*=encrypted", "version deployments.apps=apps/v1"},
			verdict: verify.Incomplete, reasons: []string{"Plaintext error deployments.apps 1"},
		},
		{
			name: "encryption of its own leaves the version to '*'", store: secrets(plain("v2", "Secret", "ns", "a")),
			expect: []string{"secrets=identity", "version *=v1"}, verdict: verify.Incomplete, reasons: []string{"StaleVersion error secrets 1"},
		},
		{
			name: "the resource's own is met and '*' is not", store: secrets(plainSecret("a")).and("/registry/configmaps/ns/a", aescbc("key1", 0)),
			expect: []string{"*=encrypted", "secrets=identity"}, verdict: verify.Complete,
		},
	})
}

func TestVersionVerdicts(t *testing.T) {
	deployment := func(apiVersion string) string { return plain(apiVersion, "Deployment", "ns", "a") }
	check(t, []judged{
		{
			name: "ciphertext does not show its version", store: secrets(aescbc("key2", 0)),
			expect: []string{"version secrets=v1"}, verdict: verify.Indeterminate, reasons: []string{"NotOpened warning secrets 1"},
		},
		{
			name: "the key is right and the version cannot be seen", store: secrets(aescbc("key2", 0)),
			expect: []string{"secrets=aescbc:key2", "version secrets=v1"}, verdict: verify.Indeterminate, reasons: []string{"NotOpened warning secrets 1"},
		},
		{
			name: "an older version, by the name that the API had then", store: store{"/registry/deployments/ns/a": deployment("extensions/v1beta1")},
			expect: []string{"version deployments=apps/v1"}, verdict: verify.Incomplete, reasons: []string{"StaleVersion error deployments.apps 1"},
		},
		{
			name: "the expectation names the resource as the API had it then", store: store{"/registry/deployments/ns/a": deployment("extensions/v1beta1")},
			expect: []string{"version deployments.extensions=apps/v1"}, verdict: verify.Incomplete, reasons: []string{"StaleVersion error deployments.apps 1"},
		},
		{
			name: "plaintext at the right version where encryption is expected", store: secrets(plainSecret("a")),
			expect: []string{"secrets=encrypted", "version secrets=v1"}, verdict: verify.Incomplete, reasons: []string{"Plaintext error secrets 1"},
		},
		{
			name: "at the version", store: store{"/registry/deployments/ns/a": deployment("apps/v1")},
			expect: []string{"version deployments.apps=apps/v1"}, verdict: verify.Complete,
		},
	})
}
