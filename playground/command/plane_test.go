package command

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/svmctl/svmctl/playground/supervisor"
)

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

func TestForegroundEndsWithCtrlC(t *testing.T) {
	d := newDrive(t)
	cmd := d.foreground("--etcd-only", "--no-etcd-tls")
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
