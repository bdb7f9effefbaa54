package e2e

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wantFilesRefused: a file that an apiserver would refuse is an error that tells where and why, and nothing of what stands
// there: whatever was put in the wrong place may be key material.
func (p *plane) wantFilesRefused(t *testing.T) {
	const head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
	material := keyMaterial("key1")
	raw, err := base64.StdEncoding.DecodeString(material)
	if err != nil {
		t.Fatal(err)
	}
	rule := func(providers string) string {
		return head + "- resources: [secrets]\n  providers:\n  - " + providers + "\n"
	}
	whole := encryption("aescbc:key1")
	keys := func(keys string) string { return rule("aescbc: {keys: [" + keys + "]}") }
	for name, c := range map[string]struct {
		text  string
		words []string
	}{
		"an open quote":                 {head + "- resources: [secrets]\n  providers:\n  - aescbc:\n      keys:\n      - name: key1\n        secret: \"" + material + "\n", []string{"line"}},
		"an alias":                      {keys("{name: key1, secret: *" + material + "}"), nil},
		"a tag":                         {keys("{name: key1, secret: !" + material + " x}"), nil},
		"a tab":                         {head + "- resources: [secrets]\n\tproviders: [{aescbc: {keys: [{name: key1, secret: " + material + "}]}}]\n", []string{"line"}},
		"no mapping":                    {material + "\n", nil},
		"JSON that ends early":          {`{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"secret":"` + material, nil},
		"as the kind":                   {strings.Replace(whole, "EncryptionConfiguration", material, 1), []string{"EncryptionConfiguration"}},
		"as the apiVersion":             {strings.Replace(whole, "apiserver.config.k8s.io/v1", material, 1), []string{"apiserver.config.k8s.io/v1"}},
		"as a field of the file":        {whole + material + ": x\n", []string{"field"}},
		"as a field of a key":           {keys("{name: key1, " + material + ": x}"), []string{"field"}},
		"a key twice":                   {keys("{name: key1, secret: " + material + ", secret: " + material + "}"), []string{"twice"}},
		"as a provider":                 {rule(material + ": {}"), nil},
		"as a resource":                 {head + "- resources: [" + material + "]\n  providers:\n  - identity: {}\n", []string{"resources[0]"}},
		"a list in place of a secret":   {keys("{name: key1, secret: [" + material + "]}"), nil},
		"a mapping in place of keys":    {rule("aescbc: {keys: {name: key1, secret: " + material + "}}"), nil},
		"two providers in one":          {rule("{aescbc: {keys: [{name: key1, secret: " + material + "}]}, secretbox: {keys: [{name: key1, secret: " + material + "}]}}"), []string{"providers[0]"}},
		"a secret that is cut":          {keys("{name: key1, secret: " + material[:20] + "}"), []string{"keys[0].secret"}},
		"a secret that is no base64":    {keys("{name: key1, secret: \"" + material[:43] + "%\"}"), []string{"keys[0].secret", "base64"}},
		"a secret of raw bytes":         {keys("{name: key1, secret: !!binary " + material + "}"), []string{"keys[0].secret"}},
		"a secret in place of the name": {keys("{name: " + material + ", secret: \"\"}"), []string{"keys[0].secret"}},
		"no name":                       {keys("{secret: " + material + "}"), []string{"keys[0].name"}},
		"raw bytes":                     {head + string(raw), nil},
		"as an endpoint":                {rule("kms: {apiVersion: v2, name: vault, endpoint: " + material + "}"), []string{"endpoint"}},
		"as the name of a plugin":       {rule("kms: {apiVersion: v2, name: \"" + material + ":\", endpoint: unix:///x}"), []string{"name"}},
		"as the name of two plugins":    {rule("kms: {apiVersion: v2, name: \"" + material + "\", endpoint: unix:///x}\n  - kms: {apiVersion: v2, name: \"" + material + "\", endpoint: unix:///x}"), []string{"name"}},
		"as a part of an endpoint":      {rule("kms: {apiVersion: v2, name: vault, endpoint: \"" + material + ":\"}"), []string{"endpoint"}},
		"as a version of KMS":           {rule("kms: {apiVersion: " + material + ", name: vault, endpoint: unix:///x}"), []string{"apiVersion"}},
		"as a timeout":                  {rule("kms: {apiVersion: v2, name: vault, endpoint: unix:///x, timeout: " + material + "}"), nil},
		"a rule that another masks": {encryptionRules(encryptionRule([]string{"'*.*'"}, "aescbc:key1"), encryptionRule([]string{"secrets"}, "aescbc:key2")),
			[]string{"secrets", "masked"}},
		"no rules": {head, []string{"resources"}},
		"empty":    {"", []string{"empty"}},
	} {
		file := filepath.Join(p.dir, "refused.yaml")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"--encryption-provider-config", file}, {"--encryption-provider-config", p.config, "--candidate", file}} {
			r := p.svmctl(t, append([]string{"audit"}, args...)...)
			if r.code != 1 || r.stdout != "" {
				t.Errorf("%s: exit status %d\n%s", name, r.code, r)
			}
			r.wantError(t, append(c.words, file)...)
			wantNoPart(t, name, r, material)
		}
	}
	for file, word := range map[string]string{filepath.Join(p.dir, "missing.yaml"): "no such file", p.dir: "directory"} {
		r := p.svmctl(t, "audit", "--encryption-provider-config", file)
		r.wantCode(t, 1)
		r.wantError(t, word, file)
	}
}

// wantNoPart also finds some characters of a key's text, which the search at the end does not.
func wantNoPart(t *testing.T, name string, r result, material string) {
	t.Helper()
	for i := range len(material) - 8 {
		if part := material[i : i+8]; strings.Contains(r.stdout+r.stderr, part) {
			t.Errorf("%s: %q is printed\n%s", name, part, r)
			return
		}
	}
}
