package plane

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func TestThreeAPIServersOnLoopback(t *testing.T) {
	layout := Layout{Dir: t.TempDir()}
	p, state := prepare(t, layout, State{Spec: Spec{
		APIServers:                 3,
		AuditLog:                   true,
		EncryptionProviderConfig:   "/conf/all.yaml",
		EncryptionProviderConfigOf: map[string]string{"kube-apiserver-2": "/conf/second.yaml", "kube-apiserver-3": ""},
	}})
	if want := []string{Etcd, APIServer, "kube-apiserver-2", "kube-apiserver-3", ControllerManager}; !slices.Equal(names(p), want) {
		t.Fatalf("processes are %v, want %v", names(p), want)
	}
	seen := map[string]string{}
	for _, test := range []struct {
		name, hostname, encryption string
		port                       int
		together, announced        bool
	}{
		{APIServer, "", "/conf/all.yaml", state.Ports.APIServer, false, true},
		{"kube-apiserver-2", "kube-apiserver-2", "/conf/second.yaml", state.Ports.FurtherAPIServers[0], false, false},
		{"kube-apiserver-3", "kube-apiserver-3", "", state.Ports.FurtherAPIServers[1], true, false},
	} {
		d := definition(t, p, test.name)
		if d.Hostname != test.hostname || d.Together != test.together {
			t.Errorf("%s has the hostname %q and starts together: %t", test.name, d.Hostname, d.Together)
		}
		if got := flag(d.Argv, "--secure-port"); got != strconv.Itoa(test.port) || d.Addresses[0] != "127.0.0.1:"+got {
			t.Errorf("%s has port %s and address %v, want %d", test.name, got, d.Addresses, test.port)
		}
		if got := flag(d.Argv, "--encryption-provider-config"); got != test.encryption {
			t.Errorf("%s encrypts as %q says, want %q", test.name, got, test.encryption)
		}
		if got := flag(d.Argv, "--endpoint-reconciler-type") != "none"; got != test.announced {
			t.Errorf("%s writes itself into the EndpointSlice: %t", test.name, got)
		}
		for _, own := range []string{d.Addresses[0], d.LogFile, flag(d.Argv, "--audit-log-path")} {
			if other := seen[own]; other != "" || own == "" {
				t.Errorf("%s has %q, as %q", test.name, own, other)
			}
			seen[own] = test.name
		}
	}
	exports, err := os.ReadFile(layout.Env())
	if err != nil {
		t.Fatal(err)
	}
	var servers []string
	for number := 1; number <= 3; number++ {
		config, err := clientcmd.BuildConfigFromFlags("", layout.APIServerKubeconfig(number))
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, config.Host)
	}
	if want := "export PLAYGROUND_APISERVERS=" + strings.Join(servers, ",") + "\n"; !strings.Contains(string(exports), want) {
		t.Errorf("no line %s in\n%s", want, exports)
	}

	state.Spec = Spec{APIServers: 1}
	before := state.Ports
	_, state = prepare(t, layout, state)
	if state.Ports != before {
		t.Errorf("ports were %+v and are %+v", before, state.Ports)
	}
	for number := 1; number <= 3; number++ {
		if _, err := os.Stat(layout.APIServerKubeconfig(number)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the kubeconfig of apiserver %d was left: %v", number, err)
		}
	}
}

func TestAPIServersInANamespace(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://proxy.example.com")
	layout := Layout{Dir: t.TempDir()}
	prepare(t, layout, State{}) // the directory has a certificate without the addresses of the namespace
	p, state := prepare(t, layout, State{Spec: Spec{APIServers: 3, NetNS: true}})
	if state.Ports.FurtherAPIServers != [2]int{} {
		t.Errorf("ports of their own were chosen: %+v", state.Ports)
	}
	for index, name := range []string{APIServer, "kube-apiserver-2", "kube-apiserver-3"} {
		d := definition(t, p, name)
		ip := state.Spec.Addresses()[index]
		if flag(d.Argv, "--advertise-address") != ip || flag(d.Argv, "--bind-address") != ip || flag(d.Argv, "--endpoint-reconciler-type") != "" {
			t.Errorf("%s does not announce %s as its own: %v", name, ip, d.Argv)
		}
		if got := flag(d.Argv, "--secure-port"); got != strconv.Itoa(state.Ports.APIServer) {
			t.Errorf("%s has port %s, want the one of all", name, got)
		}
		if slices.Contains(d.Env, "HTTPS_PROXY=http://proxy.example.com") {
			t.Errorf("%s is told of a proxy that it cannot reach", name)
		}
		data, err := os.ReadFile(flag(d.Argv, "--tls-cert-file"))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(data)
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{ip, "127.0.0.1", "localhost", "kubernetes.default.svc"} {
			if err := certificate.VerifyHostname(host); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// flag is the value of a flag on a command line, empty without it.
func flag(argv []string, name string) string {
	for _, arg := range argv {
		if value, ok := strings.CutPrefix(arg, name+"="); ok {
			return value
		}
	}
	return ""
}

func TestEnvironmentIsWhatAShellWouldHave(t *testing.T) {
	layout := Layout{Dir: t.TempDir() + "/it's here"}
	_, state := prepare(t, layout, State{Spec: Spec{NoEtcdTLS: true, APIServers: 2}})
	outside := []string{"PATH=/bin", "KUBECONFIG=/other", "ETCDCTL_CACERT=/other", "HTTPS_PROXY=http://p"}
	got, err := state.Spec.Environment(layout, outside)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"PATH=/bin", "KUBECONFIG=" + layout.Kubeconfig(), "PLAYGROUND_DIR=" + layout.Dir, "HTTPS_PROXY=http://p",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %v", want, got)
		}
	}
	for _, variable := range got {
		if variable == "KUBECONFIG=/other" || strings.HasPrefix(variable, "ETCDCTL_CACERT=") {
			t.Errorf("%s was left", variable)
		}
	}
	state.Spec.NetNS = true
	if got, _ = state.Spec.Environment(layout, outside); slices.Contains(got, "HTTPS_PROXY=http://p") {
		t.Error("a program inside the namespace is told of a proxy that it cannot reach")
	}
}
