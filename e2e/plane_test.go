package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// plane is a real control plane that lives as long as a test.
type plane struct {
	dir    string
	config string   // EncryptionConfiguration file
	env    []string // what `playground up` says to export
	home   string   // HOME and TMPDIR of every svmctl that is run
	kube   kubernetes.Interface
	rest   *rest.Config
	etcd   *clientv3.Client
	record record
}

// startPlane runs `playground up` with the given flags besides those for the EncryptionConfiguration, which is the one
// given. An empty one leaves encryption out. When the test ends, all that svmctl said is searched for stored values.
func startPlane(t *testing.T, encryption string, flags ...string) *plane {
	t.Helper()
	// Not t.TempDir: the path of a unix socket is limited to about 100 bytes.
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{dir: dir, config: filepath.Join(dir, "encryption.yaml"), home: filepath.Join(dir, "svmctl-home")}
	t.Cleanup(func() {
		if t.Failed() {
			p.printLogs(t)
		}
		if out, err := exec.Command(playgroundBinary(t), "down", "--dir", dir).CombinedOutput(); err != nil {
			t.Errorf("playground down: %v\n%s", err, out)
			return
		}
		os.RemoveAll(dir)
	})
	t.Cleanup(func() { p.searchForCanaries(t) })
	if err := os.Mkdir(p.home, 0o700); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"up", "--detach", "--dir", dir}, flags...)
	if encryption != "" {
		if err := os.WriteFile(p.config, []byte(encryption), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--encryption-provider-config", p.config, "--encryption-reload-interval", "1s")
	}
	started := time.Now()
	if out, err := exec.Command(playgroundBinary(t), args...).CombinedOutput(); err != nil {
		t.Fatalf("playground up: %v\n%s", err, out)
	}
	t.Logf("plane %s was up after %s", dir, time.Since(started).Round(time.Millisecond))
	p.connect(t)
	return p
}

// connect makes clients of what DIR/env names.
func (p *plane) connect(t *testing.T) {
	t.Helper()
	exports, err := os.ReadFile(filepath.Join(p.dir, "env"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(exports)) {
		if assignment, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			name, value, _ := strings.Cut(assignment, "=")
			p.env = append(p.env, name+"="+strings.Trim(value, "'"))
		}
	}
	if kubeconfig := p.variable("KUBECONFIG"); kubeconfig != "" {
		p.rest = restConfig(t, kubeconfig)
		if p.kube, err = kubernetes.NewForConfig(p.rest); err != nil {
			t.Fatal(err)
		}
	}
	etcdConfig := clientv3.Config{Endpoints: []string{p.variable("ETCDCTL_ENDPOINTS")}, Logger: zap.NewNop(), MaxCallRecvMsgSize: 1 << 30}
	if ca := p.variable("ETCDCTL_CACERT"); ca != "" {
		tls := transport.TLSInfo{TrustedCAFile: ca, CertFile: p.variable("ETCDCTL_CERT"), KeyFile: p.variable("ETCDCTL_KEY")}
		if etcdConfig.TLS, err = tls.ClientConfig(); err != nil {
			t.Fatal(err)
		}
	}
	if p.etcd, err = clientv3.New(etcdConfig); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.etcd.Close() })
}

// restConfig is without client-side throttling: thousands of objects are made with it.
func restConfig(t *testing.T, kubeconfig string) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return config
}

// variable is the value of one of the plane's variables, empty when it has none of that name.
func (p *plane) variable(name string) string {
	for _, assignment := range p.env {
		if value, ok := strings.CutPrefix(assignment, name+"="); ok {
			return value
		}
	}
	return ""
}

// userKubeconfig is that of a user given with --user.
func (p *plane) userKubeconfig(name string) string { return filepath.Join(p.dir, "kubeconfig-"+name) }

// playground runs a call of the playground on this plane, as "kill", "kube-apiserver".
func (p *plane) playground(t *testing.T, args ...string) string {
	t.Helper()
	return p.tool(t, "", append(args, "--dir", p.dir)...)
}

// kubectl runs kubectl as the plane's admin with stdin.
func (p *plane) kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	return p.tool(t, stdin, append([]string{"kubectl"}, args...)...)
}

// etcdctl runs etcdctl with the plane's client certificate, which may do everything.
func (p *plane) etcdctl(t *testing.T, args ...string) string {
	t.Helper()
	return p.tool(t, "", append([]string{"etcdctl"}, args...)...)
}

func (p *plane) tool(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(playgroundBinary(t), args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("playground %s: %v\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// printLogs shows the end of each log of the plane, for a test that failed.
func (p *plane) printLogs(t *testing.T) {
	logs, _ := filepath.Glob(filepath.Join(p.dir, "logs", "*.log"))
	for _, path := range logs {
		data, _ := os.ReadFile(path)
		const tail = 2000
		if len(data) > tail {
			data = data[len(data)-tail:]
		}
		t.Logf("end of %s:\n%s", filepath.Base(path), data)
	}
}

// await polls until the condition holds. The condition says what it saw, for the case that it never does.
func await(t *testing.T, limit time.Duration, what string, condition func(context.Context) (bool, string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var seen string
	for {
		var ok bool
		if ok, seen = condition(ctx); ok {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("waiting for %s: not within %s; last seen: %s", what, limit, seen)
		}
	}
}

func svmctlBinary(t *testing.T) string     { return binary(t, "SVMCTL_BIN", "svmctl") }
func playgroundBinary(t *testing.T) string { return binary(t, "PLAYGROUND_BIN", "playground") }

// binary finds a program of this repository. A missing one is a failure: a skipped test would look like a passed one.
func binary(t *testing.T, variable, name string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		path = filepath.Join("..", "bin", name)
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%s is missing: make build playground (or set %s)", path, variable)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}
