package e2e

import (
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"
)

// TestNodeNeedsNoFlags runs svmctl without a flag and without a variable on nodes whose files are laid out like those of
// distributions, and which all have the plane's etcd.
func TestNodeNeedsNoFlags(t *testing.T) {
	wantNamespaces(t)
	config := encryption("aescbc:key1", "identity")
	p := startPlane(t, config, "--without-controller-manager")
	p.createSecrets(t, "default", "app", 5)
	further := &plane{}
	var err error
	if further.kube, err = kubernetes.NewForConfig(p.furtherRoot(t, "/kubernetes.io")); err != nil {
		t.Fatal(err)
	}
	further.createSecrets(t, "default", "app", 3)
	kubeadm, k3s, openshift := p.kubeadmNode(t), p.k3sNode(t, config), p.openshiftNode(t)
	for name, c := range map[string]struct {
		node *controlPlaneNode
		said []string
	}{
		"kubeadm":   {kubeadm, []string{"EncryptionConfiguration /var/lib/encryption/enc.yaml", "kubeconfig /etc/kubernetes/admin.conf", "(kubeadm: " + kubeadmManifest + ")"}},
		"k3s":       {k3s, []string{"EncryptionConfiguration /var/lib/rancher/k3s/server/cred/encryption-config.json", "kubeconfig /etc/rancher/k3s/k3s.yaml", "(k3s: "}},
		"OpenShift": {openshift, []string{"EncryptionConfiguration " + openshiftPod + "secrets/encryption-config/encryption-config", "localhost.kubeconfig", "(openshift: "}},
	} {
		t.Run(name, func(t *testing.T) {
			c.node.wantAudited(t, append(c.said, "etcd "+nodeEtcd)...)
		})
	}
	t.Run("rights", func(t *testing.T) { wantRightsNamed(t, kubeadm, k3s, openshift) })
	t.Run("a flag outweighs the node", kubeadm.wantFlagObeyed)
	t.Run("another file", openshift.wantOtherFileDoubted)
	t.Run("another etcd", kubeadm.wantOtherEtcdDoubted)
	p.wantNothingLeft(t)
}

// wantAudited: everything is found, said, read and opened, and the apiserver confirms what there is none of.
func (n *controlPlaneNode) wantAudited(t *testing.T, said ...string) {
	t.Helper()
	audit := n.svmctl(t, "", "audit", "-o", "json")
	audit.wantCode(t, 0)
	report := audit.audit(t)
	n.wantSums(t, report)
	if strings.Count(audit.stderr, "\n") != 1 || !strings.HasPrefix(audit.stderr, "svmctl: ") {
		t.Errorf("stderr\n%s", audit.stderr)
	}
	for _, words := range said {
		if !strings.Contains(audit.stderr, words) {
			t.Errorf("stderr does not say %q\n%s", words, audit.stderr)
		}
	}
	if verdict(report.Verdict) != "Complete" || strings.Join(report.Scope.Prefixes, " ") != "/kubernetes.io/ /registry/" {
		t.Errorf("verdict %s of %v", verdict(report.Verdict), report.Scope.Prefixes)
	}
	opened := make(map[string]int64)
	for _, g := range report.Groups {
		if g.Resource == "secrets" && g.Opened == "verified" && g.Stored != nil && g.AtRest.Key == "key1" {
			opened[g.Root] += g.Objects
		}
	}
	if opened["/registry"] != 5 || opened["/kubernetes.io"] != 3 {
		t.Errorf("opened %v", opened)
	}
	// There are none, which the apiserver has to be asked about.
	n.svmctl(t, "", "audit", "--expect", "daemonsets.apps=encrypted").wantCode(t, 0)
}
