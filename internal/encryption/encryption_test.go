package encryption_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
)

func TestPatterns(t *testing.T) {
	for want, p := range map[string]encryption.Pattern{
		"secrets": {Resource: "secrets"}, "deployments.apps": {Group: "apps", Resource: "deployments"}, "*.apps": {Group: "apps", Resource: "*"},
		"*.": {Resource: "*"}, "*.*": encryption.Everything,
	} {
		if p.String() != want {
			t.Errorf("%+v is written %q, want %q", p, p.String(), want)
		}
	}
}

// TestKeyIDHash is as an apiserver's metrics have it, whether or not a keyID can be shown as it is.
func TestKeyIDHash(t *testing.T) {
	const one = "sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b" // sha256 of "1"
	if got := encryption.KeyIDHash("1"); got != one {
		t.Error(got)
	}
	for _, id := range []string{"kek-1", "hex:31", "a\nb", "ключ"} {
		shown := atrest.ShowKeyID(id)
		if got, want := encryption.KeyIDHash(shown), fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(id))); got != want {
			t.Errorf("%s, shown as %s: %s, want %s", id, shown, got, want)
		}
	}
	if encryption.KeyIDHash(atrest.ShowKeyID("a\nb")) != encryption.KeyIDHash("hex:610a62") {
		t.Error("a keyID that is shown in hex has the hash of its bytes")
	}
}

func TestRulesOfOneResource(t *testing.T) {
	c := encryption.Configuration{
		Keys: []encryption.Key{{Provider: atrest.AESCBC, Version: "v1", Name: "a"}, {Provider: atrest.AESGCM, Version: "v1", Name: "b"}},
		Rules: []encryption.Rule{
			{Patterns: []encryption.Pattern{{Resource: "secrets"}}, Keys: []int{1}},
			{Patterns: []encryption.Pattern{{Resource: "secrets"}}, Keys: []int{0}},
			{Patterns: []encryption.Pattern{{Resource: "*"}}, Keys: []int{0}},
		},
	}
	if k := c.Writes("", "secrets"); k.Name != "b" {
		t.Errorf("%+v writes secrets", k)
	}
	if keys := c.For("", "secrets"); len(keys) != 2 {
		t.Errorf("%v", keys)
	}
	if k := c.Writes("", "pods"); k.Name != "a" {
		t.Errorf("%+v writes pods", k)
	}
	if k := c.Writes("apps", "deployments"); k != encryption.Identity {
		t.Errorf("%+v writes deployments", k)
	}
}
