package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
)

// on runs the program on a machine with these files.
func on(ctx context.Context, host fs.FS, env map[string]string, args ...string) result {
	return callOn(ctx, host, false, env, args...)
}

// controlPlane is a kubeadm node whose apiserver has these flags besides.
func controlPlane(endpoint string, flags ...string) fstest.MapFS {
	var command strings.Builder
	for _, flag := range append([]string{"--etcd-servers=" + endpoint}, flags...) {
		fmt.Fprintf(&command, "    - %q\n", flag)
	}
	return fstest.MapFS{"etc/kubernetes/manifests/kube-apiserver.yaml": {Data: []byte(`apiVersion: v1
kind: Pod
metadata:
  name: kube-apiserver
  namespace: kube-system
  annotations: {kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint: "10.0.0.1:6443"}
spec:
  containers:
  - name: kube-apiserver
    command:
    - kube-apiserver
` + command.String() + `    volumeMounts:
    - {name: all, mountPath: /}
  volumes:
  - {name: all, hostPath: {path: /}}
`)}}
}

func TestZeroFlags(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	server := etcdtest.Start(t)
	server.Put(t, "/registry/secrets/ns/a", sealed("aescbc:v1:key1"))
	server.Put(t, "/custom/secrets/ns/a", sealed("aescbc:v1:key2"))
	encryption := filepath.Join(t.TempDir(), "enc.yaml")
	const text = `{"apiVersion":"apiserver.config.k8s.io/v1","kind":"EncryptionConfiguration","resources":[{"resources":["secrets"],"providers":[{"aescbc":{"keys":[{"name":"key1","secret":"MDEyMzQ1Njc4OWFiY2RlZg=="}]}}]}]}`
	if err := os.WriteFile(encryption, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := controlPlane(server.Endpoint)

	t.Run("are enough on a control-plane node", func(t *testing.T) {
		r := on(t.Context(), plain, nil, "audit")
		if r.code != 0 || !strings.Contains(r.out, "aescbc:key1") || !strings.Contains(r.err, "svmctl: etcd "+server.Endpoint) ||
			!strings.Contains(r.err, "kubeadm: /etc/kubernetes/manifests/kube-apiserver.yaml") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("find the EncryptionConfiguration", func(t *testing.T) {
		r := on(t.Context(), controlPlane(server.Endpoint, "--encryption-provider-config="+encryption), nil, "audit", "-o", "json")
		if r.code != exitIncomplete || !strings.Contains(r.err, "EncryptionConfiguration "+encryption) || !strings.Contains(r.out, `"path": "`+encryption+`"`) {
			t.Errorf("%+v", r)
		}
	})
	t.Run("find a prefix that etcd alone does not tell", func(t *testing.T) {
		r := on(t.Context(), controlPlane(server.Endpoint, "--etcd-prefix=/custom"), nil, "audit")
		if r.code != 0 || !strings.Contains(r.out, "aescbc:key2") || strings.Contains(r.out, "aescbc:key1") || !strings.Contains(r.err, "prefix /custom") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a flag outweighs the files", func(t *testing.T) {
		r := on(t.Context(), controlPlane("https://127.0.0.1:1"), nil, "audit", "--endpoints", server.Endpoint)
		if r.code != 0 || r.err != "" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("so does a variable", func(t *testing.T) {
		r := on(t.Context(), controlPlane("https://127.0.0.1:1"), map[string]string{"ETCDCTL_ENDPOINTS": server.Endpoint}, "audit")
		if r.code != 0 || r.err != "" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("elsewhere there is no endpoint", func(t *testing.T) {
		r := on(t.Context(), fstest.MapFS{}, nil, "audit")
		if r.code != exitFailed || !strings.Contains(r.err, "no etcd endpoint") || !strings.Contains(r.err, "svmctl: hint: pass --endpoints") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a manifest that cannot be understood", func(t *testing.T) {
		r := on(t.Context(), fstest.MapFS{"etc/kubernetes/manifests/kube-apiserver.yaml": {Data: []byte("\tcanary-in-a-manifest")}}, nil, "audit")
		if r.code != exitFailed || !strings.Contains(r.err, "svmctl: error: ") || !strings.Contains(r.err, "svmctl: hint: ") || strings.Contains(r.err, "canary") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a kubeconfig of the node", func(t *testing.T) {
		host := controlPlane(server.Endpoint)
		host["etc/kubernetes/admin.conf"] = &fstest.MapFile{Data: []byte("apiVersion: v1\nkind: Config\n")}
		r := on(t.Context(), host, nil, "crds")
		if !strings.Contains(r.err, "kubeconfig /etc/kubernetes/admin.conf") {
			t.Errorf("%+v", r)
		}
	})
}
