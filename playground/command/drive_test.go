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

	"github.com/svmctl/svmctl/playground/supervisor"
)

// binEnv names the environment variable with the built binary, which the tests drive.
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

// foreground starts `up` with the flags in the foreground, and returns when it is ready.
func (d *drive) foreground(flags ...string) *exec.Cmd {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), d.bin, append([]string{"up"}, flags...)...)
	cmd.Env = d.env
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil { // the exports come when it is ready
		d.t.Fatal(err)
	}
	return cmd
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
