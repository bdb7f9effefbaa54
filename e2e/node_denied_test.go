package e2e

import (
	"crypto/aes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/storage/value"
	aestransformer "k8s.io/apiserver/pkg/storage/value/encrypt/aes"
)

// wantRightsNamed: whoever may not read a node's files is told which one, and what to do. What may be read of them is no
// ground for a report.
func wantRightsNamed(t *testing.T, kubeadm, k3s, openshift *controlPlaneNode) {
	for name, c := range map[string]struct {
		node  *controlPlaneNode
		modes map[string]os.FileMode
		words []string
	}{
		"the manifest":          {kubeadm, nil, []string{kubeadmManifest + ": permission denied", "as root"}},
		"the directory":         {kubeadm, map[string]os.FileMode{filepath.Dir(kubeadmManifest): 0o700}, []string{filepath.Dir(kubeadmManifest), "permission denied", "as root"}},
		"the file":              {kubeadm, map[string]os.FileMode{kubeadmManifest: 0o644}, []string{kubeadmConfig + ": permission denied", "root"}},
		"the key":               {kubeadm, map[string]os.FileMode{kubeadmManifest: 0o644, kubeadmConfig: 0o644, "/etc/etcd/pki/ca.crt": 0o644, "/etc/etcd/pki/client.crt": 0o644}, []string{"/etc/etcd/pki/client.key: permission denied", "this user may read it"}},
		"the server's files":    {k3s, map[string]os.FileMode{k3sServer: 0o700}, []string{k3sServer, "permission denied", "as root"}},
		"the apiserver's flags": {openshift, nil, []string{openshiftConfig + ": permission denied", "as root"}},
	} {
		t.Run(name, func(t *testing.T) {
			for file, mode := range c.modes {
				file = filepath.Join(c.node.tree, file)
				was, err := os.Stat(file)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { os.Chmod(file, was.Mode()) })
				if err := os.Chmod(file, mode); err != nil {
					t.Fatal(err)
				}
			}
			r := c.node.svmctl(t, nobody, "audit")
			r.wantError(t, c.words...)
			if r.code != 1 || r.stdout != "" {
				t.Errorf("exit status %d\n%s", r.code, r)
			}
		})
	}
}

// wantFlagObeyed: where somebody names an etcd, the node's files are not looked at.
func (n *controlPlaneNode) wantFlagObeyed(t *testing.T) {
	r := n.svmctl(t, "", "audit", "--endpoints", "https://127.0.0.1:1", "--etcd-dial-timeout", "1s")
	r.wantCode(t, 1)
	r.wantError(t, "127.0.0.1:1")
	if strings.Contains(r.stderr, "on this node") {
		t.Errorf("%s", r)
	}
}

// wantOtherFileDoubted: OpenShift's own apiservers encrypt with a file of their own, whose keys have the same names.
func (n *controlPlaneNode) wantOtherFileDoubted(t *testing.T) {
	const route = "/openshift.io/routes/default/app"
	payload := `{"kind":"Route","apiVersion":"route.openshift.io/v1","metadata":{"name":"app","namespace":"default"},"spec":{"host":"` + canaryInData + `"}}`
	n.putByHand(t, route, "k8s:enc:aescbc:v1:key1:"+string(encryptedCBC(t, "other", route, payload)))
	defer n.etcd.Delete(t.Context(), route)
	for _, c := range []struct {
		args   []string
		code   int
		closed int64
	}{{[]string{"audit", "-o", "json"}, 4, 1}, {[]string{"audit", "--prefix", "/kubernetes.io", "-o", "json"}, 0, 0}} {
		r := n.svmctl(t, "", c.args...)
		r.wantCode(t, c.code)
		report := r.audit(t)
		if cannot := report.reason("CannotOpen"); cannot.Objects != c.closed || c.closed > 0 && (cannot.Severity != "warning" || cannot.Resource != "routes.route.openshift.io") {
			t.Errorf("%+v", report.Reasons)
		}
	}
}

// encryptedCBC is what an apiserver makes of a payload with the key of that material, behind its prefix.
func encryptedCBC(t *testing.T, material, key, payload string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(keyMaterial(material))
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		t.Fatal(err)
	}
	out, err := aestransformer.NewCBCTransformer(block).TransformToStorage(t.Context(), []byte(payload), value.DefaultContext(key))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// wantOtherEtcdDoubted: the manifest tells that secrets live in another etcd. What still lies in this one proves nothing of
// them.
func (n *controlPlaneNode) wantOtherEtcdDoubted(t *testing.T) {
	n.change(t, kubeadmManifest, 0o600, func(text string) string {
		const servers = "    - --etcd-servers="
		return strings.Replace(text, servers, "    - --etcd-servers-overrides=/secrets#https://10.0.0.31:2379\n"+servers, 1)
	})
	r := n.svmctl(t, "", "audit", "-o", "json")
	r.wantCode(t, 4)
	if report := r.audit(t); verdict(report.Verdict) != "Indeterminate" || !strings.Contains(r.stdout+r.stderr, "another etcd") {
		t.Errorf("verdict %s\n%s", verdict(report.Verdict), r)
	}
}
