package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// plugin is the playground's KMS plugin. Its keys outlive a stop.
type plugin struct {
	dir, socket, url string
	args             []string
	cmd              *exec.Cmd
}

// startPlugin serves one until the test ends. It comes before the plane, which is not ready without it.
func startPlugin(t *testing.T, args ...string) *plugin {
	t.Helper()
	// Not t.TempDir: the path of a unix socket is limited to about 100 bytes.
	dir, err := os.MkdirTemp("", "kms")
	if err != nil {
		t.Fatal(err)
	}
	k := &plugin{dir: dir, socket: filepath.Join(dir, "vault.sock"), args: args}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Cleanup(k.stop)
	k.start(t)
	return k
}

func (k *plugin) start(t *testing.T) {
	t.Helper()
	ready := filepath.Join(k.dir, "url")
	os.Remove(ready)
	k.cmd = exec.Command(playgroundBinary(t), append([]string{"kms", "--dir", k.dir, "--socket", k.socket, "--ready-file", ready}, k.args...)...)
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, 20*time.Second, "the KMS plugin to listen", func(context.Context) (bool, string) {
		url, err := os.ReadFile(ready)
		k.url = strings.TrimSpace(string(url))
		return k.url != "", fmt.Sprint(err)
	})
}

func (k *plugin) stop() {
	k.cmd.Process.Kill()
	_ = k.cmd.Wait()
}

// steer calls one of its controls, such as /rotate?id=kek-2.
func (k *plugin) steer(t *testing.T, control string) {
	t.Helper()
	response, err := http.Post(k.url+control, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v\n%s", control, response.Status, err, body)
	}
}

// encryption is an EncryptionConfiguration that has secrets under the plugin's key. The number makes it another file, which an
// apiserver loads, and then it asks the plugin at once.
func (k *plugin) encryption(number int) string {
	config := encryptionOf([]string{"secrets"}, "kms-v2:vault="+k.socket, "identity")
	return fmt.Sprintf("# %d\n%s", number, strings.ReplaceAll(config, "timeout: 3s", "timeout: 1s"))
}

// decrypted is how many data keys the plugin has decrypted.
func (k *plugin) decrypted(t *testing.T) int64 {
	t.Helper()
	var counts struct{ Decrypt int64 }
	answer, err := http.Get(k.url + "/counts")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&counts); err != nil {
		t.Fatal(err)
	}
	return counts.Decrypt
}
