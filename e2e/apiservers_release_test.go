package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	policies    = "mutatingadmissionpolicies.admissionregistration.k8s.io"
	policiesDir = "/registry/mutatingadmissionpolicies/"
	policy      = `{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": {"name": "old"}, "spec": {
  "matchConstraints": {"resourceRules": [{"apiGroups": ["none.example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nothings"]}]},
  "reinvocationPolicy": "Never",
  "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}]}}`
)

// TestAPIServerOfAnOlderRelease is an upgrade that has not come to one apiserver yet: it serves v1 of a built-in resource as
// the others do, and stores it at the version before, which it does not serve. Whoever migrates then and drops the old version
// has it written again by that apiserver.
func TestAPIServerOfAnOlderRelease(t *testing.T) {
	t.Parallel() // it waits most of the time
	c := startTrio(t, encryption("identity"))
	stop := c.startOlder(t)
	lease, address := c.lease(t, third), c.addresses[2]

	older := c.through(t, 3).Discovery().RESTClient()
	if err := older.Post().AbsPath("/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies").Body([]byte(policy)).Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
	written := func() (revision int64, version string) {
		t.Helper()
		kvs := c.raw(t, policiesDir)
		if len(kvs) != 1 {
			t.Fatalf("etcd holds %d policies", len(kvs))
		}
		for _, v := range []string{"v1beta1", "v1"} {
			if strings.Contains(string(kvs[0].Value[:100]), "admissionregistration.k8s.io/"+v) {
				return kvs[0].ModRevision, v
			}
		}
		return kvs[0].ModRevision, "neither"
	}
	was, version := written()
	if version != "v1beta1" {
		t.Fatalf("the older apiserver stored the policy as %s: the test shows nothing", version)
	}

	expected := []string{"migrate", "--settle", "1s", policies, "--expect-version", policies + "=admissionregistration.k8s.io/v1", "--yes", "-o", "json"}
	for name, args := range map[string][]string{
		"one resource":          expected,
		"all that are served":   {"migrate", "--settle", "1s", "--all-stale-versions", "--yes", "-o", "json"},
		"with too short a wait": append(expected, "--wait-converged", "2s"),
	} {
		t.Run(name, func(t *testing.T) {
			result := c.svmctl(t, slices.Concat(args, c.all())...)
			c.wantRefusal(t, result, address, lease, third, "storage version of "+policies+" is admissionregistration.k8s.io/v1beta1, of the others admissionregistration.k8s.io/v1")
			report := result.agreement(t)
			report.wantCounted(t, false)
			for _, d := range report.APIServers.Disagreements {
				if d.Server != address || !strings.HasPrefix(d.What, "storage version of ") {
					t.Errorf("%+v, want the older apiserver and a storage version", d)
				}
			}
			if now, _ := written(); now != was {
				t.Errorf("the policy was written\n%s", result)
			}
		})
	}

	t.Run("once it was upgraded", func(t *testing.T) {
		stop()
		c.playground(t, "start", third)
		result := c.svmctl(t, slices.Concat(expected, c.all())...)
		result.wantCode(t, 0)
		report := result.agreement(t)
		report.wantCounted(t, true)
		if now, version := written(); verdict(report.Verdict) != "Complete" || now == was || version != "v1" {
			t.Errorf("verdict %s, and the policy is stored as %s", verdict(report.Verdict), version)
		}
	})
}

// startOlder stops the third apiserver and starts one in its place that works as the release before.
func (c *trio) startOlder(t *testing.T) (stop func()) {
	t.Helper()
	var status struct {
		Processes []struct {
			Name string `json:"name"`
			PID  int    `json:"pid"`
		} `json:"processes"`
	}
	if err := json.Unmarshal([]byte(c.playground(t, "status", "-o", "json")), &status); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, process := range status.Processes {
		if process.Name == third {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", process.PID))
			if err != nil {
				t.Fatal(err)
			}
			args = strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
		}
	}
	if len(args) == 0 {
		t.Fatalf("the plane has no %s", third)
	}
	var release struct{ Major, Minor string }
	raw, err := c.kube.Discovery().RESTClient().Get().AbsPath("/version").DoRaw(t.Context())
	if err == nil {
		err = json.Unmarshal(raw, &release)
	}
	var minor int
	if _, scan := fmt.Sscan(release.Minor, &minor); err != nil || scan != nil {
		t.Fatalf("asking for the release: %v, %v", err, scan)
	}
	if minor != 37 {
		t.Skipf("it is between 1.36 and 1.37 that the storage version of %s changed, not before 1.%d", policies, minor)
	}
	c.playground(t, "stop", third)

	log, err := os.Create(filepath.Join(c.dir, "logs", "older.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	args = append([]string{"-c", `hostname "$0" && exec "$@"`, third}, append(args, "--emulated-version=1.36")...)
	cmd := exec.Command("/bin/sh", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUTS}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	stop = func() {
		cmd.Process.Kill()
		<-ended
	}
	t.Cleanup(stop)
	client := c.through(t, 3).Discovery().RESTClient()
	await(t, 60*time.Second, "the older apiserver", func(ctx context.Context) (bool, string) {
		body, err := client.Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil, fmt.Sprintf("%.300s %v", body, err)
	})
	return stop
}
