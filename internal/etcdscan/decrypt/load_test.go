package decrypt_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/decrypt"
)

// TestFilesThatAreRefused says where and why, and holds no byte of a key: each file is full of them.
func TestFilesThatAreRefused(t *testing.T) {
	const head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n"
	secret := material("one")
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "it is empty"},
		{"blank", " \n\n", "it is empty"},
		{"no YAML", head + "resources:\n\t- " + secret, "line 4"},
		{"text", secret, "cannot be understood"},
		{"another kind", "apiVersion: v1\nkind: Secret\ndata: {a: " + secret + "}\n", "apiserver.config.k8s.io/v1"},
		{"no kind", "resources: []\n", "EncryptionConfiguration"},
		{"the kind of before 1.13", "apiVersion: v1\nkind: EncryptionConfig\nresources: []\n", "EncryptionConfiguration"},
		{"no resources", head, "resources"},
		{"an unknown field", head + "resources:\n- resources: [secrets]\n  providers:\n  - aescbc: {keys: [{name: key1, secrett: " + secret + "}]}\n", "resources[0].providers[0].aescbc.keys[0].secrett: unknown field"},
		{"a key for a field", head + "resources:\n- resources: [secrets]\n  providers:\n  - aescbc: {keys: [{name: key1, " + strings.Trim(secret, "=") + ": a}]}\n", "a field that is unknown"},
		{"a field twice", head + "resources:\n- resources: [secrets]\n  providers:\n  - aescbc: {keys: [{name: key1, secret: " + secret + ", secret: " + secret + "}]}\n", "stands twice"},
		{"two providers in one", head + "resources:\n- resources: [secrets]\n  providers:\n  - aescbc: {keys: [{name: key1, secret: " + secret + "}]}\n    secretbox: {keys: [{name: key1, secret: " + secret + "}]}\n", "resources[0].providers[0]: more than one provider"},
		{"no provider", head + "resources:\n- resources: [secrets]\n  providers:\n  - {}\n", "resources[0].providers[0]"},
		{"a short key", head + "resources:\n- resources: [secrets]\n  providers:\n  - aescbc: {keys: [{name: key1, secret: " + secret[:8] + "}]}\n", "resources[0].providers[0].aescbc.keys[0].secret: secret is not of the expected length"},
		{"a long secretbox key", head + "resources:\n- resources: [secrets]\n  providers:\n  - secretbox: {keys: [{name: key1, secret: " + secret[:24] + "}]}\n", "secretbox.keys[0].secret"},
		{"no base64", head + "resources:\n- resources: [secrets]\n  providers:\n  - aesgcm: {keys: [{name: key1, secret: '" + secret[:30] + "!'}]}\n", "aesgcm.keys[0].secret: secrets must be base64"},
		{"no key name", head + "resources:\n- resources: [secrets]\n  providers:\n  - aescbc: {keys: [{secret: " + secret + "}]}\n", "aescbc.keys[0].name"},
		{"a secret that is a list", head + "resources:\n- resources: [secrets]\n  providers:\n  - aescbc: {keys: [{name: key1, secret: [" + secret + "]}]}\n", "keys.secret: it cannot be understood: a array does not belong there"},
		{"KMS named for a key", head + "resources:\n- resources: [secrets]\n  providers:\n  - kms: {apiVersion: v2, name: '" + secret + ":', endpoint: 'unix:///x'}\n", "kms.name"},
		{"KMS named for a key twice", head + "resources:\n- resources: [secrets]\n  providers:\n  - kms: {apiVersion: v2, name: '" + secret + "', endpoint: 'unix:///x'}\n  - kms: {apiVersion: v2, name: '" + secret + "', endpoint: 'unix:///x'}\n", "kms.name"},
		{"KMS at a key", head + "resources:\n- resources: [secrets]\n  providers:\n  - kms: {apiVersion: v2, name: vault, endpoint: '" + secret + ":'}\n", "kms.endpoint"},
		{"KMS of the version of a key", head + "resources:\n- resources: [secrets]\n  providers:\n  - kms: {apiVersion: '" + secret + "', name: vault, endpoint: 'unix:///x'}\n", "kms.apiVersion"},
		{"a resource named for a key", head + "resources:\n- resources: ['" + secret + "']\n  providers:\n  - identity: {}\n", "resources[0].resources[0]"},
		{"masked", head + "resources:\n" + entry("'*.'", "aescbc:key1=one") + entry("secrets", "aescbc:key2=two"), `resource "secrets" is masked by earlier rule "*."`},
		{"overlap", head + "resources:\n" + entry("secrets, '*.'", "aescbc:key1=one"), "resources[0].resources"},
		{"KMS over TCP", head + "resources:\n- resources: [secrets]\n  providers:\n  - kms: {apiVersion: v2, name: vault, endpoint: 'https://" + secret[:10] + "'}\n", "kms.endpoint: the endpoint"},
		{"KMS with a colon", head + "resources:\n- resources: [secrets]\n  providers:\n  - kms: {apiVersion: v2, name: 'a:b', endpoint: 'unix:///x'}\n", "has no ':'"},
		{"KMS v3", head + "resources:\n- resources: [secrets]\n  providers:\n  - kms: {apiVersion: v3, name: vault, endpoint: 'unix:///x'}\n", "v1 or v2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "encryption.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := decrypt.Load(path)
			if err == nil {
				r.Close()
				t.Fatal("it was taken")
			}
			var refused *decrypt.FileError
			if !errors.As(err, &refused) || refused.Path != path || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			said := strings.ReplaceAll(err.Error(), path, "")
			for i := 0; i+6 <= len(secret); i++ {
				if strings.Contains(said, secret[i:i+6]) {
					t.Fatalf("%v holds key material", err)
				}
			}
		})
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := decrypt.Load(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := decrypt.Load(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, []byte(strings.Repeat("#\n", 3<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := decrypt.Load(large); err == nil || !strings.Contains(err.Error(), "4 MiB") {
		t.Error(err)
	}
}

// TestConfiguration is what the file says.
// TestFileThatChanges reads another file the second time, in which key material stands where the decoder quotes it.
func TestFileThatChanges(t *testing.T) {
	const canary = "Y2FuYXJ5LWtleS1tYXRlcmlhbA"
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(file(t, entry("secrets", "aescbc:key1=one")))
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.Replace(string(good), "secret:", canary+":", 1)
	var writer sync.WaitGroup
	writer.Go(func() {
		for _, text := range []string{string(good), bad, bad} {
			f, err := os.OpenFile(path, os.O_WRONLY, 0) // waits for a reader
			if err != nil {
				return
			}
			_, _ = f.WriteString(text)
			f.Close()
			time.Sleep(100 * time.Millisecond) // until the reader has closed it as well
		}
	})
	defer writer.Wait()
	defer os.OpenFile(path, os.O_RDWR, 0) // a reader, should one be missing
	_, err = decrypt.Load(path)
	if err == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("%v", err)
	}
}

func TestConfiguration(t *testing.T) {
	path := file(t, entry("secrets, configmaps", "aescbc:key2=two", "aescbc:key1=one", "identity"), entry("'*.apps'", "secretbox:key1=one", "aescbc:key1=other"),
		entry("secrets", "aesgcm:late=one"))
	c := load(t, path).Configuration()
	if c.Path != path || !strings.HasPrefix(c.Hash, "sha256:") || len(c.Hash) != 71 {
		t.Errorf("%q %q", c.Path, c.Hash)
	}
	want := []encryption.Key{
		{Provider: atrest.AESCBC, Version: "v1", Name: "key2"}, {Provider: atrest.AESCBC, Version: "v1", Name: "key1"}, {Provider: atrest.Identity},
		{Provider: atrest.Secretbox, Version: "v1", Name: "key1"}, {Provider: atrest.AESCBC, Version: "v1", Name: "key1", Twin: 1},
		{Provider: atrest.AESGCM, Version: "v1", Name: "late"},
	}
	if !slices.Equal(c.Keys, want) {
		t.Errorf("%+v", c.Keys)
	}
	for resource, keys := range map[string][]int{"secrets": {0, 1, 2, 5}, "configmaps": {0, 1, 2}, "deployments.apps": {3, 4}, "pods": nil} {
		name, group, _ := strings.Cut(resource, ".")
		if got := c.For(group, name); !slices.Equal(got, keys) {
			t.Errorf("%s: %v, want %v", resource, got, keys)
		}
	}
	if got := fmt.Sprint(c.WrittenWith(0), c.WrittenWith(1), c.ReadWith(1), c.Patterns()); got != "[secrets configmaps] [] [secrets configmaps] [secrets configmaps *.apps]" {
		t.Error(got)
	}
}

// TestWildcards is the table of Kubernetes' TestWildcardStructure, and rows that no rule of the file covers:
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/server/options/encryptionconfig/config_test.go
func TestWildcards(t *testing.T) {
	const socket = "=unix:///tmp/testprovider.sock"
	path := file(t, entry("configmaps, '*.apps'", "kms-v1:kms"+socket), entry("secrets", "kms-v1:another-kms"+socket, "identity"),
		entry("'*.'", "kms-v1:fancy"+socket), entry("'*.*'", "kms-v1:yet-another-provider"+socket))
	c := load(t, path).Configuration()
	for resource, want := range map[string]string{
		"configmaps": "kms", "secrets": "another-kms", "events": "fancy", "deployments.apps": "kms", "pods": "fancy",
		"pandas": "fancy", "pandas.bears": "yet-another-provider", "jobs.apps": "kms",
	} {
		name, group, _ := strings.Cut(resource, ".")
		if got := c.Writes(group, name); got.Provider != atrest.KMS || got.Version != "v1" || got.Name != want {
			t.Errorf("%s: %+v, want %s", resource, got, want)
		}
	}
	apps := load(t, file(t, entry("'*.apps'", "aescbc:key1=one"))).Configuration()
	for _, resource := range []string{"secrets", "jobs.batch"} {
		name, group, _ := strings.Cut(resource, ".")
		if got := apps.Writes(group, name); got != encryption.Identity {
			t.Errorf("%s: %+v", resource, got)
		}
	}
}

// TestWritesAsTheAPIServer compares, over many files and resources, the key that is expected to write with the one that the
// apiserver's own loader writes with.
func TestWritesAsTheAPIServer(t *testing.T) {
	resources := []string{"secrets", "configmaps", "deployments.apps", "jobs.batch", "widgets.example.com", "events"}
	providers := []string{"identity", "aescbc:key1=one", "aesgcm:key1=one", "secretbox:key2=two"}
	patterns := []string{"secrets", "'*.'", "'*.apps'", "deployments.apps", "'*.*'", "widgets.example.com", "configmaps"}
	files := 0
	for first := range patterns {
		for second := range patterns {
			for p := range providers {
				path := file(t, entry(patterns[first], providers[p], providers[(p+1)%4]), entry(patterns[second], providers[(p+2)%4], providers[p]))
				r, err := decrypt.Load(path)
				if err != nil {
					continue // masked
				}
				files++
				server := newAPIServer(t, path)
				for _, resource := range resources {
					name, group, _ := strings.Cut(resource, ".")
					k, payload := secret("db")
					found := r.Parse(server.write(t, resource, k, payload)).Encryption
					if want := r.Configuration().Writes(group, name); !want.Claims(found) {
						t.Errorf("%s, %s: %s written with %+v, want %+v", patterns[first], patterns[second], resource, found, want)
					}
				}
				r.Close()
			}
		}
	}
	if files < 100 {
		t.Errorf("%d files", files)
	}
}
