package node

import (
	"errors"
	"os"
	"path"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"
)

// FuzzFind gives the bytes to every reader: an error is one of a few texts, and what is found is fit to be shown.
func FuzzFind(f *testing.F) {
	for _, files := range [][3]string{
		{"kubeadm/etc/kubernetes/manifests/kube-apiserver.yaml", "", ""},
		{"kubeadm-encrypted/etc/kubernetes/manifests/kube-apiserver.yaml", "", ""},
		{"rke2/var/lib/rancher/rke2/agent/pod-manifests/kube-apiserver.yaml", "", ""},
		{"openshift/etc/kubernetes/manifests/kube-apiserver-pod.yaml",
			"openshift/etc/kubernetes/static-pod-resources/kube-apiserver-pod-12/configmaps/config/config.yaml", ""},
		{"", "k3s-etcd/etc/rancher/k3s/config.yaml", "k3s-etcd/etc/systemd/system/k3s.service"},
	} {
		var seeds [3][]byte
		for i, file := range files {
			if file == "" {
				continue
			}
			content, err := os.ReadFile(path.Join("testdata", file))
			if err != nil {
				f.Fatal(err)
			}
			seeds[i] = content
		}
		f.Add(seeds[0], seeds[1], seeds[2])
	}
	f.Add([]byte("kind: Pod\nspec: {containers: [{name: kube-apiserver, command: [--etcd-servers, 'https://a:1,\"', --openshift-config=/a]}]}"), []byte("a: &a [*a]"), []byte("[Service]\nExecStart='\\"))
	const config = "/etc/kubernetes/static-pod-resources/kube-apiserver-pod-12/configmaps/config/config.yaml"
	f.Fuzz(func(t *testing.T, manifest, options, unit []byte) {
		host := fstest.MapFS{
			config[1:]:                       {Data: options},
			"etc/rancher/k3s/config.yaml":    {Data: options},
			"etc/systemd/system/k3s.service": {Data: unit},
			k3sServer[1:] + "/tls/x":         {},
			k3sServer[1:] + "/kine.sock":     {},
		}
		if len(manifest) > 0 {
			host[manifestFile[1:]] = &fstest.MapFile{Data: manifest}
		}
		got, err := Find(host)
		if again, e := Find(host); !reflect.DeepEqual(again, got) || (e == nil) != (err == nil) {
			t.Fatalf("%+v, %v, and then %+v, %v", got, err, again, e)
		}
		if err != nil {
			if !errors.Is(err, ErrNone) && !plainError(err.Error()) || !reflect.DeepEqual(got, Facts{}) {
				t.Fatalf("%+v, %v", got, err)
			}
			return
		}
		shown := append([]string{got.Distribution}, got.Warnings...)
		for _, file := range append([]string{got.CACert, got.Cert, got.Key, got.EncryptionConfig, got.Kubeconfig}, append(got.Files, got.Prefixes...)...) {
			if file != "" && (!path.IsAbs(file) || path.Clean(file) != file) {
				t.Fatalf("path %q", file)
			}
			shown = append(shown, file)
		}
		endpoints := got.Endpoints
		for _, o := range got.Overrides {
			if !plain(o.Resource) || len(o.Endpoints) == 0 {
				t.Fatalf("%+v", o)
			}
			endpoints = append(endpoints, o.Endpoints...)
		}
		for _, endpoint := range endpoints {
			if strings.ContainsAny(endpoint, " @$") || !strings.Contains(endpoint, ":") {
				t.Fatalf("endpoint %q", endpoint)
			}
		}
		for _, text := range append(shown, endpoints...) {
			if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("%q", text)
			}
		}
	})
}

// plainError tells whether an error has nothing in it but a path that flags of interest can name, and known words.
func plainError(text string) bool {
	file, what, ok := strings.Cut(text, ": ")
	for _, known := range []string{
		"not the manifest of a Pod", "not a KubeAPIServerConfig", "not a mapping of options", "file does not exist", "not a regular file",
		"data-dir is no absolute path", "invalid argument",
	} {
		if what == known {
			return ok && (strings.HasPrefix(file, "reading /") || strings.HasPrefix(file, "parsing /") || file == "reading the options of k3s")
		}
	}
	return false
}
