package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAPIServersOfANetwork has three apiservers with addresses of their own, as every real control plane has, so that
// svmctl finds them all by itself.
func TestAPIServersOfANetwork(t *testing.T) {
	t.Parallel() // it waits most of the time
	older, newer := encryption("aescbc:key1", "aescbc:key2", "identity"), encryption("aescbc:key2", "aescbc:key1", "identity")
	c := startTrio(t, older, "--netns")
	for i := range 5 {
		c.inside(t, "create", "secret", "generic", fmt.Sprintf("app-%d", i), "--from-literal=password="+canaryInData)
	}
	secrets := func() string {
		return c.inside(t, "get", "secrets", "-A", "--sort-by=.metadata.name", "-o", "jsonpath={range .items[*]}{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}")
	}
	lease := strings.TrimSpace(c.inside(t, "get", "leases", "-n", "kube-system", "-o", "jsonpath={.items[*].metadata.name}",
		"-l", "apiserver.kubernetes.io/identity=kube-apiserver,kubernetes.io/hostname="+third))
	use := func(number int, file, config string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		kubeconfig := filepath.Join(c.dir, fmt.Sprintf("kubeconfig-apiserver-%d", number))
		awaitHash(t, config, func(context.Context) (string, error) {
			return c.inside(t, "--kubeconfig", kubeconfig, "get", "--raw", "/metrics"), nil
		})
	}
	use(1, c.config, newer)
	use(2, c.config, newer)

	was := secrets()
	refused := c.svmctlInside(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "-o", "json")
	c.wantRefusal(t, refused, c.addresses[2], lease, third)
	c.wantLaggard(t, refused.agreement(t), c.addresses[2], lease)
	if secrets() != was {
		t.Errorf("something was written\n%s", refused)
	}

	use(3, c.file, newer)
	started := time.Now()
	result := c.svmctlInside(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "-o", "json")
	result.wantCode(t, 0)
	report := result.agreement(t)
	report.wantCounted(t, true)
	if verdict(report.Verdict) != "Complete" || report.Outcomes != (outcomes{Rewritten: 5}) {
		t.Errorf("verdict %s with %+v", verdict(report.Verdict), report.Outcomes)
	}
	if took := time.Since(started); took < 30*time.Second {
		t.Errorf("it took %s, and should have watched for late writes for 30 s", took)
	}
}

// inside runs kubectl inside the plane's network namespace.
func (c *trio) inside(t *testing.T, args ...string) string {
	t.Helper()
	return c.tool(t, "", append([]string{"exec", "--dir", c.dir, "--", playgroundBinary(t), "kubectl"}, args...)...)
}

// svmctlInside runs svmctl inside the plane's network namespace.
func (c *trio) svmctlInside(t *testing.T, args ...string) result {
	t.Helper()
	cmd := c.command(t, args...)
	cmd.Path = playgroundBinary(t)
	cmd.Args = append([]string{cmd.Path, "exec", "--dir", c.dir, "--", svmctlBinary(t)}, args...)
	run := &process{p: c.plane, args: args, cmd: cmd, ended: make(chan error, 1)}
	run.cmd.Stdout, run.cmd.Stderr = &run.stdout, &run.stderr
	if err := run.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run.cmd.Process.Kill() })
	go func(cmd *exec.Cmd) { run.ended <- cmd.Wait() }(cmd)
	return run.wait(t)
}
