package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// keyMaterial is the base64 text that an EncryptionConfiguration has for a key of this name.
func keyMaterial(name string) string {
	sum := sha256.Sum256([]byte("key material of " + name))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// keyMaterials are the keys that the tests use, as text and as bytes.
func keyMaterials() []string {
	var all []string
	for _, name := range []string{"key1", "key2", "key3", "other", "colon"} {
		text := keyMaterial(name)
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			panic(err)
		}
		all = append(all, text, string(raw))
	}
	return all
}

// encryption is an EncryptionConfiguration for secrets and configmaps. Providers are in order of writing and reading,
// as "aescbc:key2", "aescbc:key1", "identity".
func encryption(providers ...string) string {
	return encryptionOf([]string{"secrets", "configmaps"}, providers...)
}

// encryptionOf is encryption for other resources.
func encryptionOf(resources []string, providers ...string) string {
	return encryptionRules(encryptionRule(resources, providers...))
}

// encryptionRules is an EncryptionConfiguration of several rules.
func encryptionRules(rules ...string) string {
	return "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n" + strings.Join(rules, "")
}

// encryptionRule also takes "aescbc:key1=other", where a key has the material of another name, and "kms-v2:vault=SOCKET".
func encryptionRule(resources []string, providers ...string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "- resources: [%s]\n  providers:\n", strings.Join(resources, ", "))
	last := ""
	for _, p := range providers {
		provider, key, _ := strings.Cut(p, ":")
		key, given, ok := strings.Cut(key, "=")
		if !ok {
			given = key
		}
		version, kms := strings.CutPrefix(provider, "kms-")
		switch {
		case provider == "identity":
			out.WriteString("  - identity: {}\n")
		case kms:
			fmt.Fprintf(&out, "  - kms: {apiVersion: %s, name: %s, endpoint: %q, timeout: 3s}\n", version, key, "unix://"+given)
		case provider != last:
			fmt.Fprintf(&out, "  - %s:\n      keys:\n", provider)
			fallthrough
		default:
			fmt.Fprintf(&out, "      - {name: %q, secret: %q}\n", key, keyMaterial(given))
		}
		last = provider
	}
	return out.String()
}

// rotate writes the EncryptionConfiguration in place and waits until the apiserver says that it uses it.
func (p *plane) rotate(t *testing.T, config string) {
	t.Helper()
	if err := os.WriteFile(p.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(config))
	want := `hash="sha256:` + hex.EncodeToString(sum[:]) + `"`
	await(t, 30*time.Second, "the apiserver to reload its EncryptionConfiguration", func(ctx context.Context) (bool, string) {
		metrics, err := p.kube.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
		if err != nil {
			return false, err.Error()
		}
		for line := range strings.Lines(string(metrics)) {
			if strings.HasPrefix(line, "apiserver_encryption_config_controller_last_config_info{") {
				return strings.Contains(line, want), line
			}
		}
		return false, "no such metric"
	})
}
