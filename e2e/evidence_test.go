package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// claim is one of a bundle.
type claim struct {
	ID, Statement, Result string
	Why, Basis            []string
}

// claims are those of a bundle below the home of svmctl.
func (p *plane) claims(t *testing.T, bundle string) map[string]claim {
	t.Helper()
	var scan struct{ Claims []claim }
	p.readJSON(t, filepath.Join(bundle, "scan.json"), &scan)
	all := make(map[string]claim)
	for _, c := range scan.Claims {
		all[c.ID] = c
	}
	if len(all) != 8 {
		t.Fatalf("%d claims in %s", len(all), bundle)
	}
	return all
}

func (p *plane) readJSON(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.home, file))
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// wantClaims checks what claims came to, as "SVM-E1 pass". Whatever does not pass says why.
func (p *plane) wantClaims(t *testing.T, bundle string, want ...string) {
	t.Helper()
	all := p.claims(t, bundle)
	for _, w := range want {
		id, result, _ := strings.Cut(w, " ")
		if c := all[id]; c.Result != result || (len(c.Why) == 0) != (result == "pass") {
			t.Errorf("%s of %s is %s, want %s: %q (%q)", id, bundle, c.Result, result, c.Why, c.Statement)
		}
	}
}

// wantWhy checks that a claim does not pass, and that its reasons say why.
func (p *plane) wantWhy(t *testing.T, bundle, id, why string) {
	t.Helper()
	c := p.claims(t, bundle)[id]
	if c.Result == "pass" || !strings.Contains(strings.Join(c.Why, "\n"), why) {
		t.Errorf("%s of %s is %s because of %q, want %q", id, bundle, c.Result, c.Why, why)
	}
}

// wantNothingLeaked searches what is packed in a bundle as well for stored values.
func (p *plane) wantNothingLeaked(t *testing.T, bundle string) []byte {
	t.Helper()
	file, err := os.Open(filepath.Join(p.home, bundle, "records.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	records, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	if form := leaked(records); form != "" {
		t.Errorf("the records of %s hold %s", bundle, form)
	}
	return records
}

// signingKey writes a key for --sign-key.
func (p *plane) signingKey(t *testing.T, name string, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestEvidenceOfARotation makes bundles before, of and after a rotation. Each is signed, follows the one before it, and is verified by
// svmctl, sha256sum and cosign.
func TestEvidenceOfARotation(t *testing.T) {
	p := startPlane(t, encryptionOf([]string{"secrets"}, "aescbc:key1", "identity"), "--without-controller-manager")
	p.createSecrets(t, "default", "app", 30)
	onCurve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecdsaKey, ed25519Key := p.signingKey(t, "ecdsa.key", onCurve), p.signingKey(t, "ed25519.key", edwards)
	all := []string{"--encryption-provider-config", p.config, "--reconcile-api", "--cluster-label", "e2e"}

	p.svmctl(t, append([]string{"audit", "--history", "--evidence", "before", "--sign-key", ecdsaKey, "--csv", "--oscal", "--junit", "--prom"}, all...)...).wantCode(t, 0)
	p.wantClaims(t, "before", "SVM-E1 pass", "SVM-E2 pass", "SVM-E3 pass", "SVM-E4 pass", "SVM-E5 pass", "SVM-E6 inconclusive", "SVM-E7 pass", "SVM-E8 inconclusive")

	p.rotate(t, encryptionOf([]string{"secrets"}, "aescbc:key2", "aescbc:key1", "identity"))
	p.svmctl(t, append([]string{"audit", "--evidence", "between", "--history"}, all...)...).wantCode(t, 3)
	p.wantClaims(t, "between", "SVM-E1 pass", "SVM-E2 fail", "SVM-E3 fail", "SVM-E4 pass", "SVM-E5 inconclusive", "SVM-E7 pass")
	p.wantWhy(t, "between", "SVM-E2", "30 secrets under aescbc:key1")

	p.svmctl(t, append([]string{"migrate", "--yes", "--settle", "0", "--evidence", "rotation", "--sign-key", ed25519Key}, all...)...).wantCode(t, 0)
	p.wantClaims(t, "rotation", "SVM-E1 pass", "SVM-E2 pass", "SVM-E3 pass", "SVM-E4 pass", "SVM-E5 pass", "SVM-E6 pass")

	p.svmctl(t, append([]string{"keys", "--can-remove", "aescbc:key1", "--history", "--evidence", "gone", "--sign-key", ed25519Key}, all...)...).wantCode(t, 0)
	p.wantClaims(t, "gone", "SVM-E3 pass", "SVM-E7 fail")

	t.Run("each follows the one before it", func(t *testing.T) {
		last := ""
		for _, bundle := range []string{"before", "between", "rotation", "gone"} {
			var scan struct{ PreviousStatement *struct{ SHA256 string } }
			p.readJSON(t, filepath.Join(bundle, "scan.json"), &scan)
			switch {
			case last == "" && scan.PreviousStatement != nil:
				t.Errorf("%s follows %s", bundle, scan.PreviousStatement.SHA256)
			case last != "" && (scan.PreviousStatement == nil || scan.PreviousStatement.SHA256 != last):
				t.Errorf("%s follows %+v, want %s", bundle, scan.PreviousStatement, last)
			}
			last = p.digest(t, filepath.Join(bundle, "statement.json"))
		}
	})
	t.Run("it is bound to cluster, person and time", func(t *testing.T) {
		var scan struct {
			Cluster struct {
				Label, KubeSystemNamespaceUID, EtcdClusterID, KubernetesVersion string
				EtcdMembers                                                     []struct{ Answered, Leader bool }
			}
			Actor struct {
				Kubernetes     struct{ Username string }
				EtcdClientCert struct{ Subject string }
			}
			Time struct {
				Corroboration []struct{ SkewMS int64 }
			}
		}
		p.readJSON(t, "before/scan.json", &scan)
		uid := strings.TrimSpace(p.kubectl(t, "", "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"))
		c := scan.Cluster
		if c.Label != "e2e" || c.KubeSystemNamespaceUID != uid || c.EtcdClusterID == "" || !strings.HasPrefix(c.KubernetesVersion, "v1.") || len(c.EtcdMembers) != 1 || !c.EtcdMembers[0].Answered || !c.EtcdMembers[0].Leader {
			t.Errorf("the cluster is %+v, want the UID %s", c, uid)
		}
		if scan.Actor.Kubernetes.Username != "admin" || scan.Actor.EtcdClientCert.Subject != "CN=etcd-client" {
			t.Errorf("the actor is %+v", scan.Actor)
		}
		if len(scan.Time.Corroboration) != 1 || scan.Time.Corroboration[0].SkewMS < -2000 || scan.Time.Corroboration[0].SkewMS > 2000 {
			t.Errorf("the clocks differ by %+v", scan.Time.Corroboration)
		}
	})
	for _, bundle := range []string{"before", "between", "rotation", "gone"} {
		t.Run("verify "+bundle, func(t *testing.T) {
			p.wantNothingLeaked(t, bundle)
			args := []string{"evidence", "verify", bundle}
			signed := bundle != "between"
			if signed {
				args = append(args, "--public-key", bundle+"/signing-key.pub")
			}
			result := p.svmctl(t, args...)
			result.wantCode(t, 0)
			if want := map[bool]string{true: "signature: right, by the key that was given", false: "signature: none"}[signed]; !strings.Contains(result.stdout, want) {
				t.Errorf("verify does not say %q\n%s", want, result)
			}
			sums := exec.Command("sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS")
			sums.Dir = filepath.Join(p.home, bundle)
			if out, err := sums.CombinedOutput(); err != nil {
				t.Errorf("sha256sum: %v\n%s", err, out)
			}
			if signed {
				p.cosignVerifies(t, bundle)
			}
		})
	}
	t.Run("what has changed since", func(t *testing.T) {
		p.kubectl(t, "", "delete", "secret", "app-00003")
		p.createSecrets(t, "default", "new", 2)
		result := p.svmctl(t, "evidence", "verify", "rotation", "--endpoints", p.variable("ETCDCTL_ENDPOINTS"), "-o", "json")
		result.wantCode(t, 0)
		var report struct {
			Changed struct {
				Then, Now    struct{ Same, Rewritten, Created, Deleted int64 }
				PlaintextNow int64
			}
		}
		if err := json.Unmarshal([]byte(result.stdout), &report); err != nil {
			t.Fatal(err)
		}
		c := report.Changed
		if c.Then.Same < 200 || c.Then.Rewritten+c.Then.Created+c.Then.Deleted != 0 || c.Now.Created != 2 || c.Now.Deleted != 1 || c.PlaintextNow != 0 {
			t.Errorf("it tells %+v", c)
		}
	})
}

func (p *plane) digest(t *testing.T, file string) string {
	t.Helper()
	out, err := exec.Command("sha256sum", filepath.Join(p.home, file)).Output()
	if err != nil {
		t.Fatal(err)
	}
	digest, _, _ := strings.Cut(string(out), " ")
	return digest
}

// cosignVerifies has the real cosign verify every file of a signed bundle, and refuse one that was changed.
func (p *plane) cosignVerifies(t *testing.T, bundle string) {
	t.Helper()
	cosign, err := filepath.Abs("../bin/cosign")
	if err == nil {
		_, err = os.Stat(cosign)
	}
	if err != nil {
		t.Skip("no cosign in bin: make bin/cosign builds it where the module proxy has it")
	}
	dir := filepath.Join(p.home, bundle)
	verify := func(file string) error {
		cmd := exec.Command(cosign, "verify-blob-attestation", "--key", filepath.Join(dir, "signing-key.pub"), "--bundle", filepath.Join(dir, "statement.sigstore.json"),
			"--type", "https://github.com/svmctl/svmctl/attestation/storage-encryption/v1", "--insecure-ignore-tlog=true", file)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err == nil && !bytes.Contains(out, []byte("Verified OK")) {
			t.Errorf("cosign says %s", out)
		}
		return err
	}
	for _, name := range []string{"scan.json", "records.jsonl.gz", "report.html"} {
		if err := verify(filepath.Join(dir, name)); err != nil {
			t.Errorf("cosign refuses %s of %s: %v", name, bundle, err)
		}
	}
	changed := filepath.Join(t.TempDir(), "scan.json")
	text, err := os.ReadFile(filepath.Join(dir, "scan.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(changed, bytes.Replace(text, []byte(`"pass"`), []byte(`"fail"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verify(changed); err == nil {
		t.Errorf("cosign takes a changed scan.json of %s", bundle)
	}
}

// write writes a file beside the plane's, where nothing is searched for stored values.
func (p *plane) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantNoText searches a bundle for texts, in its records as well.
func (p *plane) wantNoText(t *testing.T, bundle string, texts ...string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.home, bundle, "*"))
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files in %s: %v", len(files), bundle, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(file) == ".gz" {
			content = p.wantNothingLeaked(t, bundle)
		}
		for _, text := range texts {
			if bytes.Contains(content, []byte(text)) {
				t.Errorf("%s holds %q", file, text)
			}
		}
	}
}
