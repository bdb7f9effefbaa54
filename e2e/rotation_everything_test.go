package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// all covers every resource that an apiserver encrypts.
var all = []string{"'*.*'"}

// TestRotateEverything has all that an apiserver stores under one key: custom resources, events, leases and its own roles among it.
func TestRotateEverything(t *testing.T) {
	flags := []string{"--without-controller-manager"}
	for _, user := range keysUsers {
		flags = append(flags, "--user", user)
	}
	p := startPlane(t, encryptionOf(all, "aescbc:key1", "identity"), flags...)
	p.grantKeysUsers(t)
	p.createOfEach(t)
	uncovered := []string{"/registry/masterleases/", "/registry/peerserverleases/", "/registry/ranges/"} // no API object
	wantUnder := func(t *testing.T, key string) {
		t.Helper()
		resources := make(map[string]int)
		for k, is := range p.everything(t, "/") {
			if slices.ContainsFunc(uncovered, func(prefix string) bool { return strings.HasPrefix(k, prefix) }) {
				continue
			}
			if is != key {
				t.Errorf("%s is under %s, want %s", k, is, key)
			}
			resources[strings.Join(strings.Split(k, "/")[:4], "/")]++
		}
		if len(resources) < 20 {
			t.Errorf("etcd holds %v, want more than 20 directories", resources)
		}
	}
	wantUnder(t, "aescbc:key1")

	p.rotate(t, encryptionOf(all, "aescbc:key2", "aescbc:key1", "identity"))
	t.Run("needed for all of it", func(t *testing.T) {
		row := p.canRemove(t, "aescbc:key1", "no", []string{"clusterroles.rbac.authorization.k8s.io"}).row(t, "aescbc:key1")
		for _, resource := range ofEach {
			if row.Objects[resource] == 0 {
				t.Errorf("key1 is needed for %v, want %s among it", row.Objects, resource)
			}
		}
	})
	t.Run("without a RESOURCE", func(t *testing.T) {
		result := p.svmctl(t, "migrate", "--encryption-provider-config", p.config, "--yes", "--settle", "0")
		result.wantCode(t, 0)
		result.wantStdout(t, "Verdict: Complete")
		wantLastLines(t, result, "1 of 1 apiserver asked, they agree", "other resources under another key in this etcd: 0")
		wantUnder(t, "aescbc:key2")
		p.canRemove(t, "aescbc:key1", "yes", nil)
	})

	t.Run("rights", func(t *testing.T) { p.keysRights(t) })
	t.Run("formats", func(t *testing.T) { p.keysFormats(t) })

	t.Run("gone from the file", func(t *testing.T) {
		before := p.readable(t, "kubeconfig")
		p.rotate(t, encryptionOf(all, "aescbc:key2", "identity"))
		p.playground(t, "restart", "kube-apiserver")
		p.wantReadable(t, before, "kubeconfig")
		for _, resource := range ofEach {
			name, group, _ := strings.Cut(resource, ".")
			if !slices.ContainsFunc(slices.Collect(maps.Keys(before)), func(read string) bool { return strings.HasPrefix(read, name+"/"+group+"/") }) {
				t.Errorf("no %s was read", resource)
			}
		}
	})
	t.Run("three keys at once", func(t *testing.T) { p.keysThree(t) })
	t.Run("plaintext", func(t *testing.T) { p.plaintextByNameAlone(t) })
}

// ofEach are resources of which createOfEach makes objects, or the apiserver does by itself.
var ofEach = []string{"secrets", "configmaps", "events", "namespaces", "services", "deployments.apps", "leases.coordination.k8s.io",
	"clusterroles.rbac.authorization.k8s.io", "apiservices.apiregistration.k8s.io", "customresourcedefinitions.apiextensions.k8s.io",
	"selfierequests.stable.example.com"}

func (p *plane) createOfEach(t *testing.T) {
	t.Helper()
	p.createSecrets(t, "default", "app", 5)
	p.kubectl(t, "", "create", "deployment", "app", "--image=example.com/app")
	p.kubectl(t, eventNamed("first"), "create", "-f", "-")
	p.kubectl(t, "", "apply", "-f", "../testdata/crd/selfierequests-v1.yaml")
	p.kubectl(t, "", "wait", "--for=condition=Established", "crd/selfierequests.stable.example.com", "--timeout", (20 * time.Second).String())
	p.kubectl(t, "", "create", "-f", "../testdata/crd/cr1.yaml")
}

// eventNamed is the manifest of an event.
func eventNamed(name string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: Event, metadata: {name: %s, namespace: default}, type: Normal, reason: Tried, message: a, involvedObject: {kind: Pod, namespace: default, name: a}}", name)
}
