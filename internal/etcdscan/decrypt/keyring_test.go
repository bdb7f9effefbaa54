package decrypt_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
	"k8s.io/klog/v2"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/decrypt"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
)

func TestMain(m *testing.M) {
	klog.SetLogger(logr.Discard()) // the apiserver's transformers log what they cannot open
	os.Exit(m.Run())
}

// material is base64 of 32 bytes that differ from word to word.
func material(word string) string {
	return base64.StdEncoding.EncodeToString([]byte((word + strings.Repeat("-canary-", 8))[:32]))
}

// entry is one entry of an EncryptionConfiguration, its providers as "aescbc:key1=word", "identity".
func entry(resources string, providers ...string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "- resources: [%s]\n  providers:\n", resources)
	for _, p := range providers {
		provider, named, _ := strings.Cut(p, ":")
		name, word, _ := strings.Cut(named, "=")
		switch provider {
		case "identity":
			out.WriteString("  - identity: {}\n")
		case "kms-v1", "kms-v2":
			fmt.Fprintf(&out, "  - kms: {apiVersion: %s, name: %q, endpoint: %q, timeout: 2s}\n", strings.TrimPrefix(provider, "kms-"), name, word)
		default:
			fmt.Fprintf(&out, "  - %s: {keys: [{name: %q, secret: %s}]}\n", provider, name, material(word))
		}
	}
	return out.String()
}

func file(t testing.TB, entries ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "encryption.yaml")
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n" + strings.Join(entries, "")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t testing.TB, path string) *decrypt.Keyring {
	t.Helper()
	r, err := decrypt.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// apiserver is what an apiserver with a file would write: its own loader and transformers.
type apiserver struct {
	encryptionconfig.StaticTransformers
}

func newAPIServer(t testing.TB, path string) apiserver {
	t.Helper()
	loaded, err := encryptionconfig.LoadEncryptionConfig(t.Context(), path, false, "apiserver-test")
	if err != nil {
		t.Fatal(err)
	}
	return apiserver{loaded.Transformers}
}

func (a apiserver) write(t testing.TB, resource, etcdKey, payload string) []byte {
	t.Helper()
	transformer := a.TransformerForResource(schema.ParseGroupResource(resource))
	out, err := transformer.TransformToStorage(t.Context(), []byte(payload), value.DefaultContext(etcdKey))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// reads tells whether an apiserver with a file could read a value.
func (a apiserver) reads(t testing.TB, resource, etcdKey string, stored []byte) bool {
	t.Helper()
	transformer := a.TransformerForResource(schema.ParseGroupResource(resource))
	_, _, err := transformer.TransformFromStorage(t.Context(), stored, value.DefaultContext(etcdKey))
	return err == nil
}

// secret is a stored secret of that name, and where it lies.
func secret(name string) (etcdKey, payload string) {
	return "/registry/secrets/ns/" + name, fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":%q,"namespace":"ns"},"data":{"password":"Y2FuYXJ5LXZhbHVl"}}`, name)
}

// open is what a Keyring makes of a value.
func open(t testing.TB, r *decrypt.Keyring, etcdKey string, stored []byte) etcdscan.Opening {
	t.Helper()
	v := r.Parse(stored)
	return r.Open(t.Context(), key.Parse("/registry", etcdKey), etcdKey, stored, v)
}

// inspect is what a scan makes of a value.
func inspect(t testing.TB, r *decrypt.Keyring, etcdKey string, stored []byte) etcdscan.Entry {
	t.Helper()
	var opener etcdscan.Opener
	if r != nil {
		opener = r
	}
	return etcdscan.Inspect(t.Context(), "/registry", &etcdscan.KeyValue{Key: etcdKey, Value: stored}, opener)
}
