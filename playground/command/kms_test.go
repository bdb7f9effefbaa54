package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/svmctl/svmctl/playground/kms"
)

func TestKMSFlagsAreRefusedBeforeAnythingStarts(t *testing.T) {
	damaged := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(damaged, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"kms"}, "socket"},
		{[]string{"kms", "--socket", "x", "--version", "v3"}, "want v2 or v1"},
		{[]string{"kms", "--socket", "x", "--name", "a/b"}, "no name for a key file"},
		{[]string{"kms", "--socket", "x", "--key-file", damaged}, "current key"},
		{[]string{"kms", "--socket", "x", "--key-id", "\xff"}, "not UTF-8"},
		{[]string{"kms", "--socket", strings.Repeat("x", 108)}, "may have 107 bytes"},
	} {
		code, stdout, stderr := run(t, append(test.args, "--dir", t.TempDir())...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit status %d, stdout %q, stderr %q", test.args, code, stdout, stderr)
		}
	}
}

// kmsPlugin is a process that serves a KMS plugin, and where it is steered.
type kmsPlugin struct {
	d      *drive
	socket string
	url    string
	cmd    *exec.Cmd
}

// kms runs a plugin on the socket until the test ends.
func (d *drive) kms(socket string, args ...string) *kmsPlugin {
	d.t.Helper()
	ready := filepath.Join(d.t.TempDir(), "url")
	p := &kmsPlugin{d: d, socket: socket}
	p.cmd = exec.Command(d.bin, append([]string{"kms", "--socket", socket, "--ready-file", ready}, args...)...)
	p.cmd.Env = d.env
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	d.until(func() error {
		data, err := os.ReadFile(ready)
		p.url = strings.TrimSpace(string(data))
		return err
	})
	return p
}

func (p *kmsPlugin) do(target string) kms.State {
	p.d.t.Helper()
	method := http.MethodPost
	if target == "/counts" {
		method = http.MethodGet
	}
	request, err := http.NewRequestWithContext(p.d.t.Context(), method, p.url+target, nil)
	if err != nil {
		p.d.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.d.t.Fatal(err)
	}
	defer response.Body.Close()
	var state kms.State
	if err := json.NewDecoder(response.Body).Decode(&state); err != nil || response.StatusCode != http.StatusOK {
		p.d.t.Fatalf("%s: %s: %v", target, response.Status, err)
	}
	return state
}

// writeKMS writes an EncryptionConfiguration with a plugin. Another comment makes it another file to the apiserver, which
// then asks the plugin anew.
func writeKMS(t *testing.T, path, version, socket, comment string) {
	t.Helper()
	config := fmt.Sprintf(`# %s
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - kms: {apiVersion: %s, name: vault, endpoint: unix://%s, timeout: 3s}
  - identity: {}
`, comment, version, socket)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

// shortDir is for sockets: a path below t.TempDir may be too long.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kms")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (d *drive) secret(name string) string {
	d.t.Helper()
	return d.do("etcdctl", "get", "/registry/secrets/default/"+name, "--print-value-only")
}

func TestKMSRotationOnAPlane(t *testing.T) {
	const prefix, rotated = "k8s:enc:kms:v2:vault:", "arn:aws:kms:eu-central-1:key/schlüssel"
	d := newDrive(t)
	dir := shortDir(t)
	socket, config := filepath.Join(dir, "vault.sock"), filepath.Join(dir, "encryption.yaml")
	plugin := d.kms(socket, "--annotate")
	writeKMS(t, config, "v2", socket, "as it starts")
	d.up("--without-controller-manager", "--encryption-provider-config", config, "--encryption-reload-interval", "200ms")
	for _, name := range []string{"left", "rewritten"} {
		d.do("kubectl", "create", "secret", "generic", name, "--from-literal=password=hunter2")
		if value := d.secret(name); !strings.HasPrefix(value, prefix) || !strings.Contains(value, "kek-1") || strings.Contains(value, "hunter2") {
			t.Errorf("%s is stored as %q", name, value)
		}
	}

	plugin.do("/rotate?id=" + url.QueryEscape(rotated))
	writeKMS(t, config, "v2", socket, "after the rotation")
	d.until(func() error {
		d.do("kubectl", "label", "secret", "rewritten", "--overwrite", fmt.Sprintf("t=%d", time.Now().UnixNano()))
		if value := d.secret("rewritten"); !strings.HasPrefix(value, prefix) || !strings.Contains(value, rotated) {
			return fmt.Errorf("after the rotation it is stored as %q", value)
		}
		return nil
	})
	if value := d.secret("left"); !strings.Contains(value, "kek-1") {
		t.Errorf("nobody wrote it, and it is stored as %q", value)
	}

	if err := plugin.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := plugin.cmd.Wait(); err != nil {
		t.Errorf("the plugin ended with: %v", err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	plugin = d.kms(socket)
	d.do("restart", "kube-apiserver") // which had opened both in memory
	for _, name := range []string{"left", "rewritten"} {
		if got := d.do("kubectl", "get", "secret", name, "-o=jsonpath={.data.password}"); got != "aHVudGVyMg==" {
			t.Errorf("%s is %q", name, got)
		}
	}
	if state := plugin.do("/counts"); state.Decrypt < 2 || state.Failed != 0 || state.KeyID != rotated {
		t.Errorf("state is %+v", state)
	}

	plugin.do("/drop?id=kek-1")
	writeKMS(t, config, "v2", socket, "after the drop")
	d.until(func() error {
		if _, err := d.try("kubectl", "get", "secret", "left"); err == nil || !strings.Contains(err.Error(), "no such key") {
			return fmt.Errorf("under a dropped key it can be read: %v", err)
		}
		return nil
	})
	d.do("kubectl", "get", "secret", "rewritten")
}

func TestKMSV1OnAPlane(t *testing.T) {
	d := newDrive(t)
	dir := shortDir(t)
	socket, config := filepath.Join(dir, "vault.sock"), filepath.Join(dir, "encryption.yaml")
	plugin := d.kms(socket, "--version", "v1")
	writeKMS(t, config, "v1", socket, "")
	d.up("--without-controller-manager", "--encryption-provider-config", config, "--apiserver-arg", "--feature-gates=KMSv1=true")
	before := plugin.do("/rotate").Encrypt
	d.do("kubectl", "create", "secret", "generic", "db", "--from-literal=password=hunter2")
	if value := d.secret("db"); !strings.HasPrefix(value, "k8s:enc:kms:v1:vault:") || strings.Contains(value, "hunter2") {
		t.Errorf("it is stored as %q", value)
	}
	if state := plugin.do("/counts"); state.Encrypt <= before {
		t.Errorf("a write did not ask the plugin: %+v", state)
	}
}
