package e2e

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	nodeEtcd           = "https://127.0.0.1:2379"
	kubeadmManifest    = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	kubeadmConfig      = "/var/lib/encryption/enc.yaml" // /etc/kubernetes/enc in the container
	k3sServer          = "/var/lib/rancher/k3s/server/"
	openshiftResources = "/etc/kubernetes/static-pod-resources/"
	openshiftPod       = openshiftResources + "kube-apiserver-pod-12/"
	openshiftConfig    = openshiftPod + "configmaps/config/config.yaml"
)

// certificates puts those for etcd where the node has them.
func (n *controlPlaneNode) certificates(t *testing.T, ca, cert, key string) {
	t.Helper()
	n.copy(t, n.variable("ETCDCTL_CACERT"), ca)
	n.copy(t, n.variable("ETCDCTL_CERT"), cert)
	n.copy(t, n.variable("ETCDCTL_KEY"), key)
}

// kubeadmNode has a static manifest whose paths are the container's.
func (p *plane) kubeadmNode(t *testing.T) *controlPlaneNode {
	t.Helper()
	n := p.node(t, "kubeadm-encrypted")
	n.change(t, kubeadmManifest, 0o600, func(text string) string {
		var kept strings.Builder
		for line := range strings.Lines(text) {
			switch {
			case strings.Contains(line, "--etcd-servers="):
				line = "    - --etcd-servers=" + nodeEtcd + "\n"
			case strings.Contains(line, "--etcd-servers-overrides="):
				line = ""
			}
			kept.WriteString(line)
		}
		return kept.String()
	})
	n.certificates(t, "/etc/etcd/pki/ca.crt", "/etc/etcd/pki/client.crt", "/etc/etcd/pki/client.key")
	n.copy(t, p.config, kubeadmConfig)
	n.copy(t, p.variable("KUBECONFIG"), "/etc/kubernetes/admin.conf")
	return n
}

// k3sNode is a server with embedded etcd, which has no manifest.
func (p *plane) k3sNode(t *testing.T, config string) *controlPlaneNode {
	t.Helper()
	n := p.node(t, "k3s-etcd")
	asJSON, err := yaml.YAMLToJSON([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	n.write(t, k3sServer+"cred/encryption-config.json", string(asJSON), 0o600)
	n.certificates(t, k3sServer+"tls/etcd/server-ca.crt", k3sServer+"tls/etcd/client.crt", k3sServer+"tls/etcd/client.key")
	n.copy(t, p.variable("KUBECONFIG"), "/etc/rancher/k3s/k3s.yaml")
	return n
}

// openshiftNode has a manifest that starts a shell, and its flags in a file.
func (p *plane) openshiftNode(t *testing.T) *controlPlaneNode {
	t.Helper()
	n := p.node(t, "openshift")
	n.change(t, openshiftConfig, 0o600, func(text string) string {
		for _, host := range []string{"10.0.0.11", "10.0.0.12", "10.0.0.13", "localhost"} {
			text = strings.ReplaceAll(text, `"https://`+host+`:2379"`, `"`+nodeEtcd+`"`)
		}
		return text
	})
	n.certificates(t, openshiftPod+"configmaps/etcd-serving-ca/ca-bundle.crt", openshiftPod+"secrets/etcd-client/tls.crt", openshiftPod+"secrets/etcd-client/tls.key")
	n.copy(t, p.config, openshiftPod+"secrets/encryption-config/encryption-config")
	n.copy(t, p.variable("KUBECONFIG"), openshiftResources+"kube-apiserver-certs/secrets/node-kubeconfigs/localhost.kubeconfig")
	return n
}
