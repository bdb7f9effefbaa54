package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// watched is a host on which the names of opened files are kept, and some files may not be seen.
type watched struct {
	fs.FS
	denied []string
	opened *[]string
}

func (w watched) Open(name string) (fs.File, error) {
	if err := w.check("open", name); err != nil {
		return nil, err
	}
	*w.opened = append(*w.opened, name)
	return w.FS.Open(name)
}

func (w watched) Stat(name string) (fs.FileInfo, error) {
	// As for the owner of nothing: what lies in a closed directory is unknown, a closed file is there.
	for _, d := range w.denied {
		if strings.HasPrefix(name, d+"/") {
			return nil, w.check("stat", name)
		}
	}
	return fs.Stat(w.FS, name)
}

func (w watched) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := w.check("open", name); err != nil {
		return nil, err
	}
	return fs.ReadDir(w.FS, name)
}

func (w watched) check(op, name string) error {
	for _, d := range w.denied {
		if name == d || strings.HasPrefix(name, d+"/") {
			return &fs.PathError{Op: op, Path: name, Err: fs.ErrPermission}
		}
	}
	return nil
}

func TestFindOnEachDistribution(t *testing.T) {
	const (
		rke2Server = "/var/lib/rancher/rke2/server"
		openshift  = "/etc/kubernetes/static-pod-resources/kube-apiserver-pod-12"
	)
	for name, want := range map[string]Facts{
		"kubeadm": {
			Distribution:   Kubeadm,
			Files:          []string{"/etc/kubernetes/manifests/kube-apiserver.yaml"},
			Endpoints:      []string{"https://127.0.0.1:2379"},
			CACert:         "/etc/kubernetes/pki/etcd/ca.crt",
			Cert:           "/etc/kubernetes/pki/apiserver-etcd-client.crt",
			Key:            "/etc/kubernetes/pki/apiserver-etcd-client.key",
			EncryptionTold: true,
			Kubeconfig:     "/etc/kubernetes/admin.conf",
			OverridesTold:  true,
		},
		"kubeadm-encrypted": {
			Distribution:     Kubeadm,
			Files:            []string{"/etc/kubernetes/manifests/kube-apiserver.yaml"},
			Endpoints:        []string{"https://10.0.0.21:2379", "https://10.0.0.22:2379", "https://10.0.0.23:2379"},
			CACert:           "/etc/etcd/pki/ca.crt",
			Cert:             "/etc/etcd/pki/client.crt",
			Key:              "/etc/etcd/pki/client.key",
			EncryptionConfig: "/var/lib/encryption/enc.yaml",
			EncryptionTold:   true,
			Kubeconfig:       "/etc/kubernetes/admin.conf",
			Overrides: []Override{
				{Resource: "events", Endpoints: []string{"https://10.0.0.31:2379", "https://10.0.0.32:2379"}},
				{Resource: "leases.coordination.k8s.io", Endpoints: []string{"https://10.0.0.31:2379"}},
			},
			OverridesTold: true,
		},
		"k3s-sqlite": {
			Distribution:   K3s,
			Files:          []string{"/etc/systemd/system/k3s.service", "/etc/systemd/system/k3s.service.env"},
			Endpoints:      []string{"unix://" + k3sServer + "/kine.sock"},
			EncryptionTold: true,
			Kubeconfig:     "/etc/rancher/k3s/k3s.yaml",
			OverridesTold:  true,
		},
		"k3s-etcd": {
			Distribution: K3s,
			Files: []string{
				"/etc/rancher/k3s/config.yaml", "/etc/rancher/k3s/config.yaml.d/10-events.yaml",
				"/etc/systemd/system/k3s.service", "/etc/systemd/system/k3s.service.env",
			},
			Endpoints:        []string{"https://127.0.0.1:2379"},
			CACert:           k3sServer + "/tls/etcd/server-ca.crt",
			Cert:             k3sServer + "/tls/etcd/client.crt",
			Key:              k3sServer + "/tls/etcd/client.key",
			EncryptionConfig: k3sServer + "/cred/encryption-config.json",
			EncryptionTold:   true,
			Kubeconfig:       "/etc/rancher/k3s/k3s.yaml",
			Overrides:        []Override{{Resource: "events", Endpoints: []string{"https://10.0.0.31:2379"}}},
			OverridesTold:    true,
		},
		"rke2": {
			Distribution:     RKE2,
			Files:            []string{"/var/lib/rancher/rke2/agent/pod-manifests/kube-apiserver.yaml"},
			Endpoints:        []string{"https://127.0.0.1:2379"},
			CACert:           rke2Server + "/tls/etcd/server-ca.crt",
			Cert:             rke2Server + "/tls/etcd/client.crt",
			Key:              rke2Server + "/tls/etcd/client.key",
			EncryptionConfig: rke2Server + "/cred/encryption-config.json",
			EncryptionTold:   true,
			Kubeconfig:       "/etc/rancher/rke2/rke2.yaml",
			OverridesTold:    true,
		},
		"openshift": {
			Distribution:     OpenShift,
			Files:            []string{"/etc/kubernetes/manifests/kube-apiserver-pod.yaml", openshift + "/configmaps/config/config.yaml"},
			Endpoints:        []string{"https://10.0.0.11:2379", "https://10.0.0.12:2379", "https://10.0.0.13:2379", "https://localhost:2379"},
			CACert:           openshift + "/configmaps/etcd-serving-ca/ca-bundle.crt",
			Cert:             openshift + "/secrets/etcd-client/tls.crt",
			Key:              openshift + "/secrets/etcd-client/tls.key",
			Prefixes:         []string{"/kubernetes.io"},
			EncryptionConfig: openshift + "/secrets/encryption-config/encryption-config",
			EncryptionTold:   true,
			Kubeconfig:       "/etc/kubernetes/static-pod-resources/kube-apiserver-certs/secrets/node-kubeconfigs/localhost.kubeconfig",
			OverridesTold:    true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var opened []string
			got, err := Find(watched{FS: os.DirFS(filepath.Join("testdata", name)), opened: &opened})
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			for _, file := range append(opened, got.Files...) {
				content, err := os.ReadFile(filepath.Join("testdata", name, file))
				if err != nil {
					t.Error(err)
				}
				if strings.HasPrefix(string(content), "placeholder: ") {
					t.Errorf("%s was opened", file)
				}
			}
		})
	}
}

func TestFindWhereThereIsNoApiserver(t *testing.T) {
	for name, host := range map[string]fs.FS{
		"an empty host": fstest.MapFS{},
		"a worker":      os.DirFS("testdata/worker"),
		"a k3s agent": fstest.MapFS{
			"etc/rancher/k3s/config.yaml":                {Data: []byte("server: https://10.0.0.11:6443\n")},
			"var/lib/rancher/k3s/agent/client-ca.crt":    {},
			"etc/systemd/system/k3s-agent.service":       {Data: []byte("[Service]\nExecStart=/usr/local/bin/k3s agent\n")},
			"var/lib/rancher/k3s/data/current/bin/k3s":   {},
			"etc/kubernetes/manifests/.hidden-apiserver": {Data: []byte("kind: Pod\nspec: {containers: [{name: kube-apiserver}]}\n")},
		},
	} {
		if got, err := Find(host); !errors.Is(err, ErrNone) || !reflect.DeepEqual(got, Facts{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestFindSaysWhatItMayNotRead(t *testing.T) {
	for _, c := range []struct {
		name, tree string
		denied     []string
		want       string
	}{
		{"the manifest", "kubeadm", []string{"etc/kubernetes/manifests/kube-apiserver.yaml"}, "reading /etc/kubernetes/manifests/kube-apiserver.yaml: permission denied"},
		{"the directory of manifests", "kubeadm", []string{"etc/kubernetes/manifests"}, "reading /etc/kubernetes/manifests: permission denied"},
		{"OpenShift's configuration", "openshift", []string{"etc/kubernetes/static-pod-resources/kube-apiserver-pod-12"},
			"reading /etc/kubernetes/static-pod-resources/kube-apiserver-pod-12/configmaps/config/config.yaml: permission denied"},
		{"k3s's directory", "k3s-etcd", []string{"var/lib/rancher/k3s/server"}, "reading /var/lib/rancher/k3s/server/tls: permission denied"},
		{"k3s's database", "k3s-etcd", []string{"var/lib/rancher/k3s/server/db"}, "reading /var/lib/rancher/k3s/server/db/etcd/member/wal: permission denied"},
		{"k3s's configuration", "k3s-etcd", []string{"etc/rancher/k3s/config.yaml"}, "reading /etc/rancher/k3s/config.yaml: permission denied"},
		{"rke2's manifests", "rke2", []string{"var/lib/rancher/rke2/agent"}, "reading /var/lib/rancher/rke2/agent/pod-manifests: permission denied"},
		{"a manifest of a worker", "worker", []string{"etc/kubernetes/manifests/haproxy.yaml"}, "reading /etc/kubernetes/manifests/haproxy.yaml: permission denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Find(watched{FS: os.DirFS(filepath.Join("testdata", c.tree)), denied: c.denied, opened: new([]string)})
			if err == nil || err.Error() != c.want || !errors.Is(err, fs.ErrPermission) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}

	t.Run("another manifest", func(t *testing.T) {
		got, err := Find(watched{FS: os.DirFS("testdata/kubeadm"), denied: []string{"etc/kubernetes/manifests/etcd.yaml"}, opened: new([]string)})
		if want := []string{"reading /etc/kubernetes/manifests/etcd.yaml: permission denied"}; err != nil || !slices.Equal(got.Warnings, want) {
			t.Errorf("%q, %v", got.Warnings, err)
		}
	})
	t.Run("the certificates", func(t *testing.T) {
		got, err := Find(watched{FS: os.DirFS("testdata/kubeadm"), denied: []string{"etc/kubernetes/pki"}, opened: new([]string)})
		if err != nil || got.Key != "/etc/kubernetes/pki/apiserver-etcd-client.key" || got.Warnings != nil {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("k3s's variables", func(t *testing.T) {
		got, err := Find(watched{FS: os.DirFS("testdata/k3s-sqlite"), denied: []string{"etc/systemd/system/k3s.service.env"}, opened: new([]string)})
		want := []string{"reading /etc/systemd/system/k3s.service.env: permission denied"}
		if err != nil || !slices.Equal(got.Warnings, want) || got.OverridesTold || got.EncryptionTold || len(got.Endpoints) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// TestFindQuotesNothing plants a canary in every file that is read, where a parser's error would quote it.
func TestFindQuotesNothing(t *testing.T) {
	const canary = "s3cr3t-canary"
	broken := []byte("kind: Pod\napiServerArguments:\n  a: [" + canary + "\n" + canary + ": {\n\t- " + canary)
	wrong := []byte(`{"kind": "Pod", "spec": "` + canary + `", "apiServerArguments": "` + canary + `", "` + canary + `": 1`)
	manifest, err := os.ReadFile("testdata/openshift/etc/kubernetes/manifests/kube-apiserver-pod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range [][]byte{broken, wrong, []byte(canary), []byte("- " + canary)} {
		for name, host := range map[string]fstest.MapFS{
			"manifest": {"etc/kubernetes/manifests/kube-apiserver.yaml": {Data: content}},
			"openshift": {
				"etc/kubernetes/manifests/kube-apiserver-pod.yaml":                                              {Data: manifest},
				"etc/kubernetes/static-pod-resources/kube-apiserver-pod-12/configmaps/config/config.yaml":       {Data: content},
				"etc/kubernetes/static-pod-resources/kube-apiserver-pod-12/secrets/etcd-client/" + canary + "x": {},
			},
			"k3s":  {"etc/rancher/k3s/config.yaml": {Data: content}, "var/lib/rancher/k3s/server/tls/x": {}},
			"rke2": {"etc/rancher/rke2/config.yaml.d/a.yml": {Data: content}},
		} {
			got, err := Find(host)
			if err == nil || errors.Is(err, ErrNone) || !strings.HasPrefix(err.Error(), "parsing /") {
				t.Errorf("%s with %q: %+v, %v", name, content, got, err)
				continue
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}

	unit := "[Service]\nEnvironment=K3S_TOKEN=" + canary + "\nExecStart=/usr/local/bin/k3s server --token " + canary +
		" --datastore-endpoint postgres://svmctl:" + canary + "@db:5432/k3s --kube-apiserver-arg=etcd-servers=http://u:" + canary + "@10.0.0.1:2379" +
		" --kube-apiserver-arg=etcd-servers-overrides=" + canary + " --kube-apiserver-arg=etcd-cafile=" + canary + "\n"
	got, err := Find(fstest.MapFS{
		"etc/systemd/system/k3s.service":    {Data: []byte(unit)},
		"var/lib/rancher/k3s/server/tls/x":  {},
		"etc/rancher/k3s/config.yaml":       {Data: []byte("agent-token: " + canary + "\netcd-s3-secret-key: " + canary + "\n")},
		"etc/rancher/k3s/config.yaml.d/a.y": {Data: []byte(canary)},
	})
	if err != nil || len(got.Warnings) != 4 || got.OverridesTold {
		t.Fatalf("%+v, %v", got, err)
	}
	if strings.Contains(strings.Join(slices.Concat(got.Warnings, got.Endpoints, got.Files), " ")+got.CACert, canary) {
		t.Errorf("%+v", got)
	}
}

func TestFindReadsNothingEndless(t *testing.T) {
	for name, file := range map[string]*fstest.MapFile{
		"reading /etc/kubernetes/manifests/kube-apiserver.yaml: larger than 4 MiB":         {Data: make([]byte, maxFile+1)},
		"reading /etc/kubernetes/manifests/kube-apiserver.yaml: not a regular file":        {Mode: fs.ModeNamedPipe},
		"parsing /etc/kubernetes/manifests/kube-apiserver.yaml: not the manifest of a Pod": {Data: make([]byte, maxFile)},
	} {
		if _, err := Find(fstest.MapFS{"etc/kubernetes/manifests/kube-apiserver.yaml": file}); err == nil || err.Error() != name {
			t.Errorf("got  %v\nwant %s", err, name)
		}
	}
}

func TestFindFollowsSymlinks(t *testing.T) {
	dir := t.TempDir()
	manifests := filepath.Join(dir, "etc/kubernetes/manifests")
	if err := os.MkdirAll(manifests, 0o755); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile("testdata/kubeadm/etc/kubernetes/manifests/kube-apiserver.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "elsewhere"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../elsewhere", filepath.Join(manifests, "kube-apiserver.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(manifests, "stale.yaml")); err != nil {
		t.Fatal(err)
	}
	got, err := Find(os.DirFS(dir))
	if err != nil || got.Distribution != Kubeadm || len(got.Endpoints) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if want := "reading /etc/kubernetes/manifests/stale.yaml: no such file or directory"; !slices.Contains(got.Warnings, want) {
		t.Errorf("%q", got.Warnings)
	}
}
