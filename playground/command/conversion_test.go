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
)

// crds is where the manifests lie.
var crds = filepath.Join("..", "..", "testdata", "crd")

func TestConversionFlagsAreRefusedBeforeAnythingStarts(t *testing.T) {
	manifest := filepath.Join(crds, "selfierequests-v1-v2.yaml")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"conversion", "--fail-name", "("}, "--fail-name"},
		{[]string{"conversion", "--wrong", "all"}, "want version, count, uid, metadata"},
		{[]string{"conversion", "--key", "x"}, "--cert and --key"},
		{[]string{"conversion"}, "loading certificate of the webhook"},
		{[]string{"conversion-crd", manifest}, "url"},
		{[]string{"conversion-crd", "--url", "https://127.0.0.1:1"}, "accepts 1 arg"},
		{[]string{"conversion-crd", "--url", "https://127.0.0.1:1", "/no/such/file"}, "reading CustomResourceDefinition"},
		{[]string{"conversion-crd", "--url", "https://127.0.0.1:1", manifest}, "reading the plane's authority"},
	} {
		code, stdout, stderr := run(t, append(test.args, "--dir", t.TempDir())...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit status %d, stdout %q, stderr %q", test.args, code, stdout, stderr)
		}
	}
}

// convert runs the conversion webhook until the test ends, and returns its URL.
func (d *drive) convert(args ...string) string {
	d.t.Helper()
	ready := filepath.Join(d.t.TempDir(), "url")
	hook := exec.Command(d.bin, append([]string{"conversion", "--ready-file", ready}, args...)...)
	hook.Env = d.env
	if err := hook.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		hook.Process.Signal(syscall.SIGTERM)
		hook.Wait()
	})
	var url string
	d.until(func() error {
		data, err := os.ReadFile(ready)
		url = strings.TrimSpace(string(data))
		return err
	})
	return url
}

// apply hands a manifest with the webhook filled in to the apiserver.
func (d *drive) apply(url, name string) {
	d.t.Helper()
	filled := filepath.Join(d.t.TempDir(), name)
	if err := os.WriteFile(filled, []byte(d.do("conversion-crd", "--url", url, filepath.Join(crds, name))), 0o600); err != nil {
		d.t.Fatal(err)
	}
	d.do("kubectl", "apply", "-f", filled)
}

// until repeats a step until it succeeds: the apiserver follows a changed definition, webhook or
// policy with a delay.
func (d *drive) until(step func() error) {
	d.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		err := step()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatal(err)
		}
	}
}

// eventually repeats a call until it prints what is wanted.
func (d *drive) eventually(want string, args ...string) {
	d.t.Helper()
	d.until(func() error {
		out, err := d.try(args...)
		if err == nil && out != want {
			err = fmt.Errorf("%v: printed %q, want %q", args, out, want)
		}
		return err
	})
}

// stored tells as what version etcd holds a SelfieRequest.
func (d *drive) stored(name string) string {
	d.t.Helper()
	value := d.do("etcdctl", "get", "/registry/stable.example.com/selfierequests/default/"+name, "--print-value-only")
	_, rest, _ := strings.Cut(value, `"apiVersion":"stable.example.com/`)
	version, _, _ := strings.Cut(rest, `"`)
	return version
}

func TestConversionOnAPlane(t *testing.T) {
	d := newDrive(t)
	d.up("--without-controller-manager")
	const spec = "-o=jsonpath={.items[*].spec}"
	list := func(version string) []string {
		return []string{"kubectl", "get", "selfierequests." + version + ".stable.example.com", spec}
	}

	d.do("kubectl", "apply", "-f", filepath.Join(crds, "selfierequests-v1.yaml"))
	d.do("kubectl", "wait", "--for=condition=Established", "crd/selfierequests.stable.example.com")
	d.eventually("", list("v1")...)
	d.do("kubectl", "apply", "-f", filepath.Join(crds, "cr1.yaml"))

	url := d.convert()
	d.apply(url, "selfierequests-v1-storage-v1-v2-served.yaml")
	d.eventually(`{"host":"localhost","port":"1234"}`, list("v2")...)
	d.do("kubectl", "annotate", "selfierequests.v2.stable.example.com", "cr1", "a=b")
	if got := d.stored("cr1"); got != "v1" {
		t.Errorf("while v1 is the storage version, cr1 is stored as %q", got)
	}

	d.apply(url, "selfierequests-v1-v2.yaml")
	// An object may still be stored as v1 for a moment after.
	d.until(func() error {
		d.do("kubectl", "replace", "--force", "-f", filepath.Join(crds, "cr2.yaml"))
		if got := d.stored("cr2"); got != "v2" {
			return fmt.Errorf("while v2 is the storage version, cr2 is stored as %q", got)
		}
		return nil
	})
	if got := d.stored("cr1"); got != "v1" {
		t.Errorf("nobody wrote it, and cr1 is stored as %q", got)
	}
	d.eventually(`{"hostPort":"localhost:1234"} {"hostPort":"localhost:5678"}`, list("v1")...)
	d.eventually(`{"host":"localhost","port":"1234"} {"host":"localhost","port":"5678"}`, list("v2")...)

	const canary = "CANARY-1f0c"
	d.apply(d.convert("--fail-name", "^cr1$", "--fail-message", canary), "selfierequests-v1-v2.yaml")
	d.until(func() error {
		_, err := d.try("kubectl", "get", "selfierequests.v2.stable.example.com", "cr1")
		if err == nil || !strings.Contains(err.Error(), canary) {
			return fmt.Errorf("the conversion of cr1 never failed: %v", err)
		}
		return nil
	})
	d.do("kubectl", "get", "selfierequests.v2.stable.example.com", "cr2")

	// The end of the way, but for the proof: cr1 is rewritten, v1 is struck off and goes.
	d.apply(url, "selfierequests-v1-v2.yaml")
	d.eventually("localhost", "kubectl", "get", "selfierequests.v2.stable.example.com", "cr1", "-o=jsonpath={.spec.host}")
	d.do("kubectl", "label", "selfierequests.v2.stable.example.com", "cr1", "a=b")
	if got := d.stored("cr1"); got != "v2" {
		t.Errorf("after an update cr1 is stored as %q", got)
	}
	last := filepath.Join(crds, "selfierequests-v2.yaml")
	if _, err := d.try("kubectl", "apply", "-f", last); err == nil || !strings.Contains(err.Error(), "storedVersions") {
		t.Errorf("v1 went while storedVersions named it: %v", err)
	}
	d.do("kubectl", "patch", "crd", "selfierequests.stable.example.com", "--subresource=status", "--type=merge", `-p={"status":{"storedVersions":["v2"]}}`)
	d.do("kubectl", "apply", "-f", last)
	d.eventually(`{"host":"localhost","port":"1234"} {"host":"localhost","port":"5678"}`, "kubectl", "get", "selfierequests", spec)
}
