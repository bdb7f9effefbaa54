package e2e

import (
	"slices"
	"strings"
	"testing"
)

// pruneRights are what docs/rbac.md asks for: nothing of the custom resources themselves, which are read from etcd.
const pruneRights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: svmctl-prune}
rules:
- {apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], verbs: [get, list]}
- {apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions/status], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: svmctl-crds}
rules:
- {apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: svmctl-apiservers, namespace: kube-system}
rules:
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: svmctl-apiservers, namespace: default}
rules:
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list]}
`

// TestPruneRights: the least rights are enough, and with one less it is refused for that reason, not taken for proven.
func TestPruneRights(t *testing.T) {
	p := startPlane(t, "", "--without-controller-manager", "--user", "pruner", "--user", "reader", "--user", "unleased")
	p.kubectl(t, pruneRights, "apply", "-f", "-")
	bind := func(user, clusterRole string, namespaces ...string) {
		p.kubectl(t, "", "create", "clusterrolebinding", user, "--clusterrole="+clusterRole, "--user="+user)
		for _, namespace := range namespaces {
			p.kubectl(t, "", "create", "rolebinding", user, "-n", namespace, "--role=svmctl-apiservers", "--user="+user)
		}
	}
	bind("pruner", "svmctl-prune", "kube-system", "default")
	bind("reader", "svmctl-crds", "kube-system", "default")
	bind("unleased", "svmctl-prune", "default")
	c := p.pruneDefine(t, "gadgets")
	if err := c.store(t.Context(), "v2"); err != nil {
		t.Fatal(err)
	}
	c.awaitWritten(t, "v2")
	prune := func(user string, more ...string) result {
		return p.svmctl(t, slices.Concat([]string{"crds", "prune", c.name(), "-o", "json", "--settle", "0s", "--kubeconfig", p.userKubeconfig(user)}, more)...)
	}

	t.Run("without patch", func(t *testing.T) {
		res := prune("reader")
		res.wantCode(t, 3)
		res.wantError(t, "storedVersions was not written", "403 Forbidden")
		if row := res.pruneRows(t)[c.name()]; !row.Refused || len(row.Dropped) > 0 || row.ToRevision != 0 {
			t.Errorf("%+v", row)
		}
		c.wantStoredVersions(t, "v1", "v2")
		p.svmctl(t, "crds", c.name(), "--kubeconfig", p.userKubeconfig("reader")).wantCode(t, 0)
	})

	t.Run("without leases", func(t *testing.T) {
		res := prune("unleased")
		res.wantCode(t, 3)
		res.wantError(t, "could not be told", "leases")
		c.wantStoredVersions(t, "v1", "v2")
	})

	t.Run("without leases, by force", func(t *testing.T) {
		res := prune("unleased", "--force")
		res.wantCode(t, 0)
		if !strings.Contains(res.stdout, "by force") {
			t.Errorf("the report does not say that it was forced\n%s", res)
		}
		c.wantStoredVersions(t, "v2")
	})

	t.Run("with all", func(t *testing.T) {
		p.kubectl(t, "", "patch", "crd", c.name(), "--subresource=status", "--type=merge", "-p", `{"status": {"storedVersions": ["v1", "v2"]}}`)
		res := prune("pruner")
		res.wantCode(t, 0)
		if row := res.pruneRows(t)[c.name()]; row.Refused || !slices.Equal(row.Dropped, []string{"v1"}) || row.State != "Clean" {
			t.Errorf("%+v", row)
		}
		c.wantStoredVersions(t, "v2")
	})
}
