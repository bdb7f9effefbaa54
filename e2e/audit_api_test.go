package e2e

import (
	"path/filepath"
	"strconv"
	"testing"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// putByHand writes to etcd past the apiserver.
func (p *plane) putByHand(t *testing.T, key, value string) {
	t.Helper()
	if _, err := p.etcd.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

// TestAuditAsksTheAPIAboutWhatIsEmpty: a resource that was expected and has no key is clean only if its own apiserver
// says that it has no objects.
func TestAuditAsksTheAPIAboutWhatIsEmpty(t *testing.T) {
	p := startPlane(t, encryption("aescbc:key1", "identity"), "--without-controller-manager", "--user", "nobody", "--user", "lister")
	p.createSecrets(t, "default", "app", 3)
	p.kubectl(t, "", "create", "clusterrole", "lister", "--verb=list", "--resource=ingresses.networking.k8s.io,secrets")
	p.kubectl(t, "", "create", "clusterrolebinding", "lister", "--clusterrole=lister", "--user=lister")
	other := startPlane(t, "", "--without-controller-manager")
	stranger := other.variable("KUBECONFIG")

	for _, c := range []struct {
		name   string
		expect string
		flags  []string
		code   int
	}{
		{"nobody is asked", "ingresses=aescbc:key1", []string{"--kubeconfig", "/nonexistent/kubeconfig"}, 4},
		{"403", "ingresses=aescbc:key1", []string{"--kubeconfig", p.userKubeconfig("nobody")}, 4},
		{"a closed port", "ingresses=aescbc:key1", []string{"--server", "https://127.0.0.1:9"}, 4},
		{"another authority", "ingresses=aescbc:key1", []string{"--certificate-authority", filepath.Join(p.dir, "pki", "etcd-ca.crt")}, 4},
		{"another cluster, which is empty as well", "ingresses=aescbc:key1", []string{"--kubeconfig", stranger}, 4},
		{"a resource that is not served", "widgets.example.com=aescbc:key1", nil, 4},
		{"a misspelt resource", "secrts=aescbc:key1", nil, 4},
		{"a kind instead of a resource", "Secret=aescbc:key1", nil, 4},
		{"everything", "*=aescbc:key1", []string{"--prefix", "/registry/ingress"}, 4},
		{"objects that lie outside of the prefix", "secrets=aescbc:key1", []string{"--prefix", "/registry/configmaps"}, 4},
		{"the apiserver says so", "ingresses=aescbc:key1", nil, 0},
		{"a user who may list says so", "ingresses=aescbc:key1", []string{"--kubeconfig", p.userKubeconfig("lister")}, 0},
		{"under the name of another group", "ingresses.extensions=aescbc:key1", nil, 0},
		{"what is there needs no asking", "secrets=aescbc:key1", []string{"--kubeconfig", "/nonexistent/kubeconfig"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			result := p.svmctl(t, append([]string{"audit", "--expect", c.expect, "-o", "json"}, c.flags...)...)
			result.wantCode(t, c.code)
			report := result.audit(t)
			want := map[int]string{0: "Complete", 4: "Indeterminate"}[c.code]
			if verdict(report.Verdict) != want || result.stderr != "" {
				t.Errorf("verdict %s, want %s\n%s", verdict(report.Verdict), want, result)
			}
			if c.code == 4 && (len(report.Findings) != 1 || report.Findings[0].Code != "NothingFound") {
				t.Errorf("findings: %+v", report.Findings)
			}
		})
	}
}

// TestAuditNamesWhatBreaksALIST: one value that cannot be read makes the apiserver refuse the whole LIST and name nobody.
func TestAuditNamesWhatBreaksALIST(t *testing.T) {
	p := startPlane(t, encryption("aescbc:key1", "identity"), "--without-controller-manager")
	p.createSecrets(t, "default", "app", 12)
	p.svmctl(t, "audit", "--expect", "secrets=aescbc:key1").wantCode(t, 0)
	stored := p.raw(t, secretsDir+"default/app-00005")[0]
	for _, c := range []struct {
		name, key, value, code string
		exit                   int
	}{
		{"cut off", "app-00005", string(stored.Value[:len(stored.Value)-3]), "Undecodable", 4},
		{"garbage", "app-00005", "\x00\x01" + canaryInData, "Undecodable", 4},
		{"empty", "app-00005", "", "Empty", 4},
		{"of a transformer to come", "app-00005", "k8s:enc:aesgcmsiv:v1:key1:" + canaryInData, "UnknownTransformer", 4},
		{"a key that is not in the configuration", "app-00005", "k8s:enc:aescbc:v1:lost:" + string(stored.Value[len("k8s:enc:aescbc:v1:key1:"):]), "StaleKey", 3},
		{"plaintext of another object", "app-00005", `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"other","namespace":"default"}}`, "WrongPlace", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			key := secretsDir + "default/" + c.key
			p.putByHand(t, key, c.value)
			result := p.svmctl(t, "audit", "--prefix", "/registry/secrets", "--expect", "secrets=aescbc:key1", "-o", "json")
			result.wantCode(t, c.exit)
			report := result.audit(t)
			p.wantSums(t, report)
			found := false
			for _, f := range report.Findings {
				found = found || f.Code == c.code
				if f.Key != key || f.Name != c.key || f.Namespace != "default" {
					t.Errorf("%+v", f)
				}
			}
			if !found {
				t.Errorf("no finding %s: %+v", c.code, report.Findings)
			}
			table := p.svmctl(t, "audit", "--prefix", "/registry/secrets", "--expect", "secrets=aescbc:key1")
			table.wantStdout(t, key, c.code)
		})
	}
	p.putByHand(t, secretsDir+"default/app-00005", string(stored.Value))
	p.svmctl(t, "audit", "--expect", "secrets=aescbc:key1").wantCode(t, 0)
}
