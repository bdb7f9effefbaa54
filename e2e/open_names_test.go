package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ofK3s is a key name as k3s and rke2 give them.
const ofK3s = "aescbckey-2022-04-21T23:01:02-07:00"

// claimed are secrets by their namespaces: the key that an apiserver encrypted them with, and the name that they claim.
var claimed = []struct{ namespace, key, claim string }{
	{"aescbc-was", "aescbc:key1", "aescbc:key1"},
	{"aescbc-is", "aescbc:key1=other", "aescbc:key1"},
	{"aesgcm-was", "aesgcm:key1", "aesgcm:key1"},
	{"aesgcm-is", "aesgcm:key1=other", "aesgcm:key1"},
	{"secretbox-was", "secretbox:key1", "secretbox:key1"},
	{"secretbox-is", "secretbox:key1=other", "secretbox:key1"},
	{"k3s", "aescbc:" + ofK3s + "=colon", "aescbc:" + ofK3s},
	{"shorter", "aescbc:a=key2", "aescbc:a"},
	{"longer", "aescbc:a:b=key3", "aescbc:a:b"},
}

// inEach is how many secrets there are in a namespace.
const inEach = 12

// TestOpenTellsKeysApart has key names that prove little: other material under the same name, the same name at another
// provider, colons, a name that goes on where another ends.
func TestOpenTellsKeysApart(t *testing.T) {
	secrets := []string{"secrets"}
	p := startPlane(t, encryptionOf(secrets, claimed[0].key), "--without-controller-manager")
	for i, c := range claimed {
		if i > 0 {
			p.rotate(t, encryptionOf(secrets, c.key))
		}
		p.namespace(t, c.namespace)
		p.createSecrets(t, c.namespace, "app", inEach)
	}
	// What the apiserver reads now, and what it does not: the keys of the first namespaces are gone.
	var now []string
	for _, c := range claimed {
		if !strings.HasSuffix(c.namespace, "-was") {
			now = append(now, c.key)
		}
	}
	p.rotate(t, encryptionOf(secrets, now...))
	for _, c := range claimed {
		_, err := p.kube.CoreV1().RESTClient().Get().Resource("secrets").Namespace(c.namespace).Name("app-00000").DoRaw(t.Context())
		if readable := !strings.HasSuffix(c.namespace, "-was"); readable != (err == nil) {
			t.Fatalf("the apiserver reads secrets of %s: %v", c.namespace, err)
		}
	}

	t.Run("without the file", p.wantClaimsBelieved)
	t.Run("with the file", p.wantClaimsTested)
	t.Run("with both materials", p.wantTwinsOpened)
	t.Run("copied", p.wantCopiedSecretsFound)
	p.wantNothingLeft(t)
}

// wantClaimsBelieved: without the file a name is all there is, and each is read as it was given.
func (p *plane) wantClaimsBelieved(t *testing.T) {
	want := make(map[string]int64)
	for _, c := range claimed {
		want[c.claim] += inEach
		args := []string{"audit", "--prefix", secretsDir + c.namespace, "--expect", "secrets=" + c.claim}
		believed := p.svmctl(t, append(args, "-o", "json")...)
		if believed.code == 4 { // chance has a colon follow the name in one of so few values
			if reasons := believed.audit(t).Reasons; len(reasons) != 1 || reasons[0].Code != "AmbiguousKey" {
				t.Errorf("%s: %+v", c.claim, reasons)
			}
			continue
		}
		believed.wantCode(t, 0)
	}
	audit := p.svmctl(t, "audit", "-o", "json")
	audit.wantCode(t, 0)
	report := audit.audit(t)
	if got := report.byKey("secrets"); !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for _, g := range report.Groups {
		if strings.Contains(g.AtRest.Key, ":") && !g.AtRest.KeyInferred { // a plain name may be, where chance has a colon follow it
			t.Errorf("%s is not inferred", g.AtRest.Key)
		}
	}
}

// wantClaimsTested: with the file just those are found that its key of the name does not open.
func (p *plane) wantClaimsTested(t *testing.T) {
	want, keys := make(map[string]int64), make(map[string]int64)
	for _, c := range claimed {
		keys[c.claim] += inEach
		args := []string{"audit", "--encryption-provider-config", p.config, "--prefix", secretsDir + c.namespace, "--expect", "secrets=" + c.claim}
		code := 0
		if strings.HasSuffix(c.namespace, "-was") {
			code, want[c.namespace] = 3, inEach
		}
		p.svmctl(t, args...).wantCode(t, code)
	}
	audit := p.svmctl(t, "audit", "--encryption-provider-config", p.config, "--expect", "secrets=encrypted", "-o", "json")
	audit.wantCode(t, 3)
	report := audit.audit(t)
	got := make(map[string]int64)
	for _, f := range report.Findings {
		got[f.Namespace]++
		if f.Code != "CannotOpen" || f.Severity != "error" || !strings.Contains(f.Message, "a key of this name, with other material") {
			t.Errorf("%+v", f)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("findings in %v, want %v", got, want)
	}
	if got := report.byKey("secrets"); !maps.Equal(got, keys) {
		t.Errorf("got  %v\nwant %v", got, keys)
	}
	for _, g := range report.Groups {
		if g.Resource == "secrets" && (g.AtRest.KeyInferred || g.Authenticated != (g.Opened == "verified" && g.AtRest.Provider != "aescbc")) {
			t.Errorf("%+v", g)
		}
	}
}

// wantTwinsOpened: a file may have two keys of one name, of which the apiserver writes with the first and reads with both.
func (p *plane) wantTwinsOpened(t *testing.T) {
	file := filepath.Join(p.dir, "twins.yaml")
	if err := os.WriteFile(file, []byte(encryptionOf([]string{"secrets"}, "aescbc:key1=other", "aescbc:key1", "identity")), 0o600); err != nil {
		t.Fatal(err)
	}
	for namespace, code := range map[string]int{"aescbc-is": 0, "aescbc-was": 3} {
		audit := p.svmctl(t, "audit", "--encryption-provider-config", file, "--prefix", secretsDir+namespace, "-o", "json")
		audit.wantCode(t, code)
		report := audit.audit(t)
		for _, g := range report.Groups {
			if g.Opened != "verified" || g.AtRest.Key != "key1" || (g.Note != "") != (code == 3) {
				t.Errorf("%+v", g)
			}
		}
		for _, f := range report.Findings {
			if f.Code != "StaleKey" {
				t.Errorf("%+v", f)
			}
		}
	}
	closed := p.svmctl(t, "audit", "--encryption-provider-config", file, "--open", "none", "--prefix", secretsDir+"aescbc-was")
	closed.wantCode(t, 4)
	closed.wantStdout(t, "Indeterminate", "AmbiguousKey")
}

// wantCopiedSecretsFound copies a value to the key of another secret.
func (p *plane) wantCopiedSecretsFound(t *testing.T) {
	want := make(map[string]string)
	for namespace, code := range map[string]string{"aescbc-is": "WrongPlace", "secretbox-is": "WrongPlace", "aesgcm-is": "CannotOpen"} {
		key := secretsDir + namespace + "/app-00001"
		p.replaced(t, key, p.value(t, secretsDir+namespace+"/app-00000"))
		want[key] = code
	}
	audit := p.svmctl(t, "audit", "--encryption-provider-config", p.config, "--expect", "secrets=encrypted", "-o", "json")
	audit.wantCode(t, 3)
	got := make(map[string]string)
	for _, f := range audit.audit(t).Findings {
		if !strings.HasSuffix(f.Namespace, "-was") {
			got[f.Key] = f.Code
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	bare := p.svmctl(t, "audit", "--expect", "secrets=encrypted")
	bare.wantCode(t, 0)
	if strings.Contains(bare.stdout, "WrongPlace") || strings.Contains(bare.stdout, "CannotOpen") {
		t.Errorf("something was opened without the file\n%s", bare)
	}
}
