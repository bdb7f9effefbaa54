package verify_test

import (
	"testing"

	"github.com/svmctl/svmctl/internal/verify"
)

// What no apiserver could have written is never Complete, expected or not.
func TestImpossibleBytes(t *testing.T) {
	cut := aescbc("key2", 0)[:len(aescbc("key2", 0))-1]
	for _, c := range []struct {
		name, value, code string
	}{
		{"ciphertext that was cut off, under the expected key", cut, "Undecodable"},
		{"nothing but the expected prefix", "k8s:enc:aescbc:v1:key2:", "Undecodable"},
		{"garbage", "\x00\x01\x02", "Undecodable"},
		{"text", "hello", "Undecodable"},
		{"JSON that is no object of the API", `{"data":"x"}`, "Undecodable"},
		{"an empty value", "", "Empty"},
		{"an unknown transformer", "k8s:enc:aesgcmsiv:v1:key2:" + noise(48, 0), "UnknownTransformer"},
		{"an unknown version of a known transformer", "k8s:enc:aescbc:v2:key2:" + noise(48, 0), "UnknownTransformer"},
		{"the reserved prefix alone", "k8s:enc:", "UnknownTransformer"},
	} {
		check(t, []judged{
			{
				name: c.name + ", the rest is as expected", store: secrets(aescbc("key2", 0), c.value),
				expect: []string{"secrets=aescbc:key2"}, verdict: verify.Indeterminate, reasons: []string{c.code + " warning secrets 1"},
			},
			{
				name: c.name + ", any cipher is expected", store: secrets(aescbc("key2", 0), c.value),
				expect: []string{"*=encrypted"}, verdict: verify.Indeterminate, reasons: []string{c.code + " warning secrets 1"},
			},
			{
				name: c.name + ", a version is expected", store: secrets(plainSecret("a"), c.value),
				expect: []string{"version secrets=v1"}, verdict: verify.Indeterminate, reasons: []string{c.code + " warning secrets 1"},
			},
			{
				name: c.name + ", something else is judged", store: secrets(c.value).and("/registry/configmaps/ns/a", aescbc("key2", 0)),
				expect: []string{"configmaps=aescbc:key2"}, verdict: verify.Indeterminate, reasons: []string{c.code + " warning secrets 1"},
			},
			{
				name: c.name + ", nothing is expected", store: secrets(aescbc("key1", 0), c.value),
				verdict: verify.Indeterminate, reasons: []string{c.code + " warning secrets 1"},
			},
			{
				name: c.name + ", and another one is stale", store: secrets(aescbc("key1", 0), c.value),
				expect: []string{"secrets=aescbc:key2"}, verdict: verify.Incomplete,
				reasons: []string{c.code + " warning secrets 1", "StaleKey error secrets 1"},
			},
		})
	}
	check(t, []judged{
		{
			name: "garbage where plaintext is expected", store: secrets(plainSecret("a"), "\x00\x01"),
			expect: []string{"secrets=identity"}, verdict: verify.Indeterminate, reasons: []string{"Undecodable warning secrets 1"},
		},
		{
			name: "an unknown transformer where plaintext is expected", store: secrets(plainSecret("a"), "k8s:enc:new:v1:k:x"),
			expect: []string{"secrets=identity"}, verdict: verify.Indeterminate, reasons: []string{"UnknownTransformer warning secrets 1"},
		},
	})
}

func TestObjectsInTheWrongPlace(t *testing.T) {
	check(t, []judged{
		{
			name: "plaintext as expected, under another's key", store: secrets(plainSecret("a"), plainSecret("other")),
			expect: []string{"secrets=identity"}, verdict: verify.Incomplete, reasons: []string{"WrongPlace error secrets 1"},
		},
		{
			name: "at the expected version, in another namespace", store: secrets(plain("v1", "Secret", "other", "a")),
			expect: []string{"version secrets=v1"}, verdict: verify.Incomplete, reasons: []string{"WrongPlace error secrets 1"},
		},
		{
			name: "among what '*' covers", store: secrets(plainSecret("other")),
			expect: []string{"*=identity"}, verdict: verify.Incomplete, reasons: []string{"WrongPlace error secrets 1"},
		},
		{
			name: "in a resource that is not judged", store: secrets(plainSecret("other")).and("/registry/configmaps/ns/a", aescbc("key2", 0)),
			expect: []string{"configmaps=aescbc:key2"}, verdict: verify.Indeterminate, reasons: []string{"WrongPlace warning secrets 1"},
		},
		{
			name: "in plaintext where a key is expected", store: secrets(plainSecret("other")),
			expect:  []string{"secrets=aescbc:key2"},
			verdict: verify.Incomplete, reasons: []string{"Plaintext error secrets 1", "WrongPlace error secrets 1"},
		},
		{
			name: "nothing is expected", store: secrets(plainSecret("other")),
			verdict: verify.Indeterminate, reasons: []string{"WrongPlace warning secrets 1"},
		},
	})
}
