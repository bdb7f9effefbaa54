package command

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/svmctl/svmctl/playground/supervisor"
)

// binEnv names the environment variable with the built binary, which the tests of this file drive.
const binEnv = "PLAYGROUND_BIN"

// drive runs the built binary in one directory.
type drive struct {
	t   *testing.T
	bin string
	dir string
	env []string
}

func newDrive(t *testing.T) *drive {
	t.Helper()
	bin := os.Getenv(binEnv)
	if bin == "" {
		bin = filepath.Join("..", "..", "bin", "playground")
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("the built playground is missing: set %s or build bin/playground: %v", binEnv, err)
	}
	d := &drive{t: t, bin: bin, dir: t.TempDir()}
	d.env = append(os.Environ(), dirEnv+"="+d.dir)
	t.Cleanup(func() {
		if out, err := exec.Command(bin, "down", "--dir", d.dir).CombinedOutput(); err != nil {
			t.Errorf("down: %v: %s", err, out)
		}
	})
	return d
}

// try returns stdout, and an error that holds stderr.
func (d *drive) try(args ...string) (string, error) {
	cmd := exec.CommandContext(d.t.Context(), d.bin, args...)
	cmd.Env = d.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("playground %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

func (d *drive) do(args ...string) string {
	d.t.Helper()
	out, err := d.try(args...)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// up starts the plane and takes over what it says to export.
func (d *drive) up(args ...string) {
	d.t.Helper()
	for line := range strings.Lines(d.do(append([]string{"up", "--detach"}, args...)...)) {
		if variable, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			d.env = append(d.env, variable)
		}
	}
}

func (d *drive) status() supervisor.Status {
	d.t.Helper()
	var status supervisor.Status
	if err := json.Unmarshal([]byte(d.do("status", "-o", "json")), &status); err != nil {
		d.t.Fatal(err)
	}
	return status
}

// pids are those of the supervisor and of all processes.
func (d *drive) pids() []int {
	d.t.Helper()
	status := d.status()
	pids := []int{status.PID}
	for _, process := range status.Processes {
		if process.PID == 0 {
			d.t.Errorf("%s is %s and has no pid", process.Name, process.State)
		}
		pids = append(pids, process.PID)
	}
	return pids
}

// runs tells whether there is a process, other than one that ended and was not yet waited for.
func (d *drive) runs(pid int) bool {
	d.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return false
	}
	if err != nil {
		d.t.Fatal(err)
	}
	// The state follows the name, which is in parentheses and may hold anything.
	_, rest, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')'):]), " ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func TestPlane(t *testing.T) {
	d := newDrive(t)
	d.up("--user", "viewer:viewers")

	d.do("kubectl", "create", "secret", "generic", "db", "--from-literal=password=hunter2")
	if value := d.do("etcdctl", "get", "/registry/secrets/default/db", "--print-value-only"); !strings.Contains(value, "hunter2") {
		t.Error("etcd does not hold the secret that kubectl made")
	}
	viewer := filepath.Join(d.dir, "kubeconfig-viewer")
	if _, err := d.try("kubectl", "--kubeconfig", viewer, "get", "secret", "db"); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("a user without a role read a secret: %v", err)
	}
	if out := d.do("kubectl", "--kubeconfig", viewer, "auth", "whoami"); !strings.Contains(out, "viewers") {
		t.Errorf("the user's group is missing: %s", out)
	}

	before := d.status()
	d.do("kill", "kube-apiserver")
	if _, err := d.try("kubectl", "get", "secret", "db"); err == nil {
		t.Error("a killed apiserver answered")
	}
	if got := d.status().Processes[1]; got.State != supervisor.Stopped || got.Exit != "signal: killed" {
		t.Errorf("after kill: %+v", got)
	}
	d.do("start", "kube-apiserver")
	d.do("kubectl", "get", "secret", "db")
	if got := d.status(); !got.Ready || got.Processes[1].Addresses[0] != before.Processes[1].Addresses[0] {
		t.Errorf("after start: %+v", got)
	}

	pids := d.pids()
	d.do("down")
	for _, pid := range pids {
		if d.runs(pid) {
			t.Errorf("process %d outlived down", pid)
		}
	}
	if len(pids) != 4 {
		t.Errorf("looked for %d processes, want a supervisor and three more", len(pids))
	}

	config := filepath.Join(t.TempDir(), "encryption.yaml")
	writeEncryption(t, config, "key1")
	d.up("--encryption-provider-config", config, "--encryption-reload-interval", "200ms")
	d.do("kubectl", "--kubeconfig", viewer, "auth", "whoami")
	d.do("kubectl", "get", "secret", "db")
	writeEncryption(t, config, "key2", "key1")
	// The minute after which an apiserver looks by itself would fail this.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		d.do("kubectl", "label", "secret", "db", "--overwrite", fmt.Sprintf("t=%d", time.Now().UnixNano()))
		if strings.HasPrefix(d.do("etcdctl", "get", "/registry/secrets/default/db", "--print-value-only"), "k8s:enc:aescbc:v1:key2:") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the apiserver never wrote with the new key")
		}
	}
}

// writeEncryption writes an EncryptionConfiguration whose first key is the one to write with.
func writeEncryption(t *testing.T, path string, keys ...string) {
	t.Helper()
	var out strings.Builder
	out.WriteString(`apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aescbc:
      keys:
`)
	for _, key := range keys {
		material := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(key, 8)))
		fmt.Fprintf(&out, "      - {name: %s, secret: %s}\n", key, material)
	}
	out.WriteString("  - identity: {}\n")
	if err := os.WriteFile(path, []byte(out.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestForegroundEndsWithCtrlC(t *testing.T) {
	d := newDrive(t)
	cmd := exec.CommandContext(t.Context(), d.bin, "up", "--etcd-only", "--no-etcd-tls")
	cmd.Env = d.env
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil { // the exports come when it is ready
		t.Fatal(err)
	}
	pids := d.pids()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("up: %v", err)
	}
	for _, pid := range pids {
		if d.runs(pid) {
			t.Errorf("process %d outlived Ctrl-C", pid)
		}
	}
}

func TestWebhookOnAPlane(t *testing.T) {
	d := newDrive(t)
	d.up("--without-controller-manager")
	ready := filepath.Join(t.TempDir(), "url")
	hook := exec.CommandContext(t.Context(), d.bin, "webhook", "--ready-file", ready, "--deny-name", "^locked$", "--deny-message", "hands off")
	hook.Env = d.env
	if err := hook.Start(); err != nil {
		t.Fatal(err)
	}
	defer hook.Wait()
	defer hook.Process.Signal(syscall.SIGTERM)
	var url string
	for deadline := time.Now().Add(20 * time.Second); url == ""; time.Sleep(20 * time.Millisecond) {
		data, err := os.ReadFile(ready)
		if err == nil {
			url = strings.TrimSpace(string(data))
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"locked", "free"} {
		d.do("kubectl", "create", "secret", "generic", name)
	}
	config := filepath.Join(t.TempDir(), "webhook.yaml")
	if err := os.WriteFile(config, []byte(d.do("webhook-config", "--url", url)), 0o600); err != nil {
		t.Fatal(err)
	}
	d.do("kubectl", "apply", "-f", config)

	// The apiserver learns of a webhook with a delay.
	refused := func() bool {
		_, err := d.try("kubectl", "label", "secret", "locked", "--overwrite", fmt.Sprintf("t=%d", time.Now().UnixNano()))
		return err != nil && strings.Contains(err.Error(), "hands off")
	}
	for deadline := time.Now().Add(20 * time.Second); !refused(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the webhook never refused an update")
		}
	}
	d.do("kubectl", "label", "secret", "free", "t=1")
}

func TestNothingOutlivesAKilledSupervisor(t *testing.T) {
	d := newDrive(t)
	d.up("--etcd-only", "--etcd-auth")
	if _, err := d.try("etcdctl", "put", "a", "b"); err == nil {
		t.Error("etcd took a write from nobody in particular")
	}
	reader, err := os.ReadFile(filepath.Join(d.dir, "etcd-svmctl-password"))
	if err != nil {
		t.Fatal(err)
	}
	d.do("etcdctl", "--user=svmctl", "--password="+string(reader), "get", "--prefix", "/")
	if _, err := d.try("etcdctl", "--user=svmctl", "--password="+string(reader), "put", "a", "b"); err == nil {
		t.Error("etcd took a write from its reader")
	}
	pids := d.pids()
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); d.runs(pids[1]); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("etcd outlived its supervisor")
		}
	}
	if _, err := d.try("status"); err == nil {
		t.Error("a plane without a supervisor has a status")
	}
	d.up()
}

func TestFailedUpTellsWhy(t *testing.T) {
	d := newDrive(t)
	_, err := d.try("up", "--detach", "--apiserver-arg=--no-such-flag")
	if err == nil || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Errorf("error is %v", err)
	}
	if _, err := d.try("status"); err == nil {
		t.Error("a plane is up")
	}
}
