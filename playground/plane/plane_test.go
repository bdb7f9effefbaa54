package plane

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/svmctl/svmctl/playground/supervisor"
)

func prepare(t *testing.T, layout Layout, state State) (*Plane, State) {
	t.Helper()
	p, err := Prepare(layout, &state)
	if err != nil {
		t.Fatal(err)
	}
	return p, state
}

func definition(t *testing.T, p *Plane, name string) supervisor.Definition {
	t.Helper()
	for _, d := range p.Definitions("/bin/playground") {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("no process %s", name)
	return supervisor.Definition{}
}

func names(p *Plane) []string {
	var out []string
	for _, d := range p.Definitions("/bin/playground") {
		out = append(out, d.Name)
	}
	return out
}

func TestProcesses(t *testing.T) {
	for _, test := range []struct {
		spec Spec
		want []string
	}{
		{Spec{}, []string{Etcd, APIServer, ControllerManager}},
		{Spec{WithoutControllerManager: true}, []string{Etcd, APIServer}},
		{Spec{EtcdOnly: true}, []string{Etcd}},
	} {
		p, _ := prepare(t, Layout{Dir: t.TempDir()}, State{Spec: test.spec})
		if got := names(p); !slices.Equal(got, test.want) {
			t.Errorf("%+v starts %v, want %v", test.spec, got, test.want)
		}
	}
}

func TestCommandLines(t *testing.T) {
	t.Setenv("ETCD_NAME", "from-outside")
	layout := Layout{Dir: t.TempDir()}
	p, _ := prepare(t, layout, State{Spec: Spec{
		EtcdPrefix:               "/kubernetes.io",
		EtcdQuota:                1 << 24,
		EtcdArgs:                 []string{"--log-level=debug"},
		EncryptionProviderConfig: "/conf/encryption.yaml",
		EncryptionReloadInterval: 2 * time.Second,
		AuditLog:                 true,
		APIServerArgs:            []string{"", "--v=4", "--runtime-config=api/all=true"},
		ControllerManagerArgs:    []string{"--v=2"},
	}})
	for _, test := range []struct {
		name string
		want []string
		last []string
	}{
		{Etcd, []string{"--unsafe-no-fsync", "--client-cert-auth", "--quota-backend-bytes=16777216"}, []string{"--log-level=debug"}},
		{APIServer, []string{
			"--etcd-prefix=/kubernetes.io", "--authorization-mode=RBAC",
			"--encryption-provider-config=/conf/encryption.yaml", "--encryption-provider-config-automatic-reload=true",
			"--audit-log-path=" + filepath.Join(layout.Dir, "audit.log"),
		}, []string{"--v=4", "--runtime-config=api/all=true"}},
		{ControllerManager, []string{"--leader-elect=false"}, []string{"--v=2"}},
	} {
		d := definition(t, p, test.name)
		for _, want := range test.want {
			if !slices.Contains(d.Argv, want) {
				t.Errorf("%s has no %s: %v", test.name, want, d.Argv)
			}
		}
		if last := d.Argv[len(d.Argv)-len(test.last):]; !slices.Equal(last, test.last) {
			t.Errorf("%s ends in %v, want %v", test.name, last, test.last)
		}
		if slices.Contains(d.Env, "ETCD_NAME=from-outside") {
			t.Errorf("%s inherits etcd's settings from outside", test.name)
		}
	}
	if env := definition(t, p, APIServer).Env; !slices.Contains(env, ReloadIntervalEnv+"=2s") {
		t.Error("the apiserver is not told the reload interval")
	}
}

func TestPlaneKeepsItsIdentity(t *testing.T) {
	layout := Layout{Dir: t.TempDir()}
	spec := Spec{EtcdAuth: true, Users: []User{{Name: "alice", Groups: []string{"devs", "ops"}}}}
	_, first := prepare(t, layout, State{Spec: spec})
	read := func() []byte {
		var all []byte
		for _, path := range []string{
			layout.Kubeconfig(), layout.UserKubeconfig("alice"), layout.tokens(), layout.Env(), layout.CA(),
			layout.EtcdPassword("root"), layout.EtcdPassword("svmctl"),
		} {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, data...)
		}
		return all
	}
	before := read()
	_, second := prepare(t, layout, first)
	if second.Ports != first.Ports {
		t.Errorf("ports were %+v and are %+v", first.Ports, second.Ports)
	}
	if !bytes.Equal(before, read()) {
		t.Error("a second run changed credentials of the first")
	}
	if data, _ := os.ReadFile(layout.tokens()); !strings.Contains(string(data), `,alice,uid-alice,"devs,ops"`) {
		t.Errorf("alice is not among the tokens as the apiserver wants it: %s", data)
	}
}

func TestKubeconfigNamesTheServer(t *testing.T) {
	layout := Layout{Dir: t.TempDir()}
	p, state := prepare(t, layout, State{})
	config, err := clientcmd.BuildConfigFromFlags("", layout.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if want := "https://127.0.0.1:" + strconv.Itoa(state.Ports.APIServer); config.Host != want {
		t.Errorf("server is %s, want %s", config.Host, want)
	}
	if config.BearerToken == "" || config.BearerToken != p.tokens[adminUser] {
		t.Errorf("token is not that of the admin")
	}
}

func TestTakenPortIsReplaced(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := listener.Addr().(*net.TCPAddr).Port
	ports, err := Ports{Etcd: taken, EtcdPeer: taken}.choose(0)
	if err != nil {
		t.Fatal(err)
	}
	all := []int{ports.Etcd, ports.EtcdPeer, ports.APIServer, ports.ControllerManager}
	slices.Sort(all)
	if len(slices.Compact(all)) != 4 || slices.Contains(all, taken) {
		t.Errorf("ports are %+v, with %d taken", ports, taken)
	}
}

func TestStateSurvives(t *testing.T) {
	layout := Layout{Dir: t.TempDir()}
	if _, err := LoadState(layout); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("state of a new directory: %v", err)
	}
	state := State{Spec: Spec{EtcdPrefix: "/x", EncryptionReloadInterval: time.Second}, Ports: Ports{Etcd: 1}}
	if err := state.Save(layout); err != nil {
		t.Fatal(err)
	}
	got, err := LoadState(layout)
	if err != nil || got.Spec.EtcdPrefix != "/x" || got.Spec.EncryptionReloadInterval != time.Second || got.Ports.Etcd != 1 {
		t.Errorf("state is %+v (%v)", got, err)
	}
}

func TestSocketOfALongDirectory(t *testing.T) {
	layout := Layout{Dir: filepath.Join(t.TempDir(), strings.Repeat("long", 30))}
	if err := os.Mkdir(layout.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var state State
	socket, err := state.Listen(layout)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(state.Socket)
	if err != nil || info.Mode().Perm() != 0o600 || len(state.Socket) > socketPathLimit {
		t.Errorf("socket is %s with mode %v (%v)", state.Socket, info.Mode(), err)
	}
	state.Close(layout, socket)
	if _, err := os.Stat(filepath.Dir(state.Socket)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory of the socket was left: %v", err)
	}
}

func TestExports(t *testing.T) {
	layout := Layout{Dir: filepath.Join(t.TempDir(), "it's here")}
	if err := os.Mkdir(layout.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p, _ := prepare(t, layout, State{Spec: Spec{NoEtcdTLS: true, EtcdOnly: true}})
	exports := p.Exports()
	for _, want := range []string{
		`export PLAYGROUND_DIR='` + strings.ReplaceAll(layout.Dir, "'", `'\''`) + `'`,
		"export ETCDCTL_ENDPOINTS=http://127.0.0.1:",
		"unset ETCDCTL_CACERT\n",
		"unset KUBECONFIG\n",
	} {
		if !strings.Contains(exports, want) {
			t.Errorf("no line %s in\n%s", want, exports)
		}
	}
}

func TestComplaintNamesFailedChecks(t *testing.T) {
	for body, want := range map[string]string{
		"[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\n[-]informer-sync failed\nreadyz check failed\n": "etcd failed: reason withheld, informer-sync failed",
		"namespaces \"default\" not found\n": `namespaces "default" not found`,
	} {
		if got := complaint([]byte(body)); got != want {
			t.Errorf("complaint is %q, want %q", got, want)
		}
	}
}
