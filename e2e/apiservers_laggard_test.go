package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestLaggingAPIServer has three apiservers, one of which still writes under the key before. Whoever asks the kubeconfig's
// apiserver alone finds all in order, and what the laggard writes afterwards lies under the key that was to be removed.
func TestLaggingAPIServer(t *testing.T) {
	t.Parallel() // it waits most of the time
	const count = 60
	c := startTrio(t, encryption("aescbc:key1", "identity"))
	c.namespace(t, "lag")
	c.createSecrets(t, "lag", "app", count)
	older, newer := encryption("aescbc:key1", "aescbc:key2", "identity"), encryption("aescbc:key2", "aescbc:key1", "identity")
	c.reconfigure(t, newer, newer)
	c.restartThird(t, older)
	lease, address := c.lease(t, third), c.addresses[2]
	to := append(c.all(), "--to", "aescbc:key2")

	t.Run("is refused and named", func(t *testing.T) {
		report := c.refused(t, []string{address, lease, third, "EncryptionConfiguration"}, to...)
		c.wantLaggard(t, report, address, lease)
		if said := report.Stopped.Message; strings.Contains(said, c.addresses[0]) || strings.Contains(said, c.addresses[1]) {
			t.Errorf("%q names an apiserver that is as it should be", said)
		}
		table := c.svmctl(t, append([]string{"migrate", "secrets", "--settle", "1s", "--yes"}, to...)...)
		table.wantCode(t, 3)
		table.wantStdout(t, "Incomplete", "apiservers do not agree", address)
	})

	t.Run("is named by dry runs", func(t *testing.T) {
		plan := c.svmctl(t, append([]string{"migrate", "secrets", "--settle", "1s", "--dry-run"}, to...)...)
		plan.wantCode(t, 0)
		plan.wantStdout(t, "do not agree", address, lease)
		c.svmctl(t, append([]string{"migrate", "secrets", "--settle", "1s", "--dry-run=server"}, to...)...).wantCode(t, 3)
	})

	t.Run("is not waited for in vain", func(t *testing.T) {
		started := time.Now()
		report := c.refused(t, []string{address, lease}, append(to, "--wait-converged", "3s")...)
		if took := time.Since(started); took < 3*time.Second || took > 15*time.Second {
			t.Errorf("it took %s, want 3 s and little more", took)
		}
		c.wantLaggard(t, report, address, lease)
	})

	t.Run("is waited for", func(t *testing.T) {
		revisions, _ := c.stored(t)
		run := c.start(t, append([]string{"migrate", "secrets", "--settle", "1s", "--yes", "-o", "json", "--wait-converged", "60s"}, to...)...)
		select {
		case err := <-run.ended:
			t.Fatalf("it did not wait: %v\n%s%s", err, run.stdout.String(), run.stderr.String())
		case <-time.After(4 * time.Second):
		}
		if after, _ := c.stored(t); !maps.Equal(revisions, after) {
			t.Error("something was written before the laggard had reloaded")
		}
		started := time.Now()
		c.writeThird(t, newer)
		result := run.wait(t)
		t.Logf("it ended %s after the file was replaced", time.Since(started).Round(time.Millisecond))
		result.wantCode(t, 0)
		report := result.agreement(t)
		report.wantCounted(t, true)
		if verdict(report.Verdict) != "Complete" || report.Outcomes != (outcomes{Rewritten: count}) || report.APIServers.Forced {
			t.Errorf("verdict %s with %+v\n%s", verdict(report.Verdict), report.Outcomes, result)
		}
		c.wantAllUnder(t, "aescbc:key2")
	})

	// From here on all is under key2, and nothing is to be written.
	t.Run("keeps what is done from being complete", func(t *testing.T) {
		c.reconfigure(t, newer, older)
		result := c.svmctl(t, append([]string{"migrate", "secrets", "--settle", "1s", "--yes", "-o", "json"}, to...)...)
		result.wantCode(t, 4)
		report := result.agreement(t)
		c.wantLaggard(t, report, address, lease)
		if verdict(report.Verdict) != "Indeterminate" {
			t.Errorf("verdict %s while an apiserver may write key1 any moment", verdict(report.Verdict))
		}
	})

	t.Run("is overruled by force", func(t *testing.T) {
		last := encryption("aescbc:key3", "aescbc:key2", "aescbc:key1", "identity")
		c.reconfigure(t, last, encryption("aescbc:key2", "aescbc:key3", "aescbc:key1", "identity"))
		result := c.svmctl(t, slices.Concat([]string{"migrate", "secrets", "--settle", "1s", "--yes", "-o", "json", "--force", "--to", "aescbc:key3"}, c.all())...)
		result.wantCode(t, 4)
		report := result.agreement(t)
		c.wantLaggard(t, report, address, lease)
		if verdict(report.Verdict) != "Indeterminate" || report.Outcomes != (outcomes{Rewritten: count}) || !report.APIServers.Forced {
			t.Errorf("verdict %s, forced %t, %+v", verdict(report.Verdict), report.APIServers.Forced, report.Outcomes)
		}
		if warnings := strings.Join(report.Warnings, "\n"); !strings.Contains(warnings, "by force") || !strings.Contains(warnings, address) {
			t.Errorf("warnings are %q, want one that tells of the force and names the laggard", warnings)
		}
		c.wantAllUnder(t, "aescbc:key3")

		late := secret("lag", "late", "written through the laggard")
		if _, err := c.through(t, 3).CoreV1().Secrets("lag").Create(t.Context(), late, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		audited := c.svmctl(t, "audit", "--expect", "secrets=aescbc:key3", "-o", "json")
		audited.wantCode(t, 3)
		findings := audited.audit(t).Findings
		if len(findings) != 1 || findings[0].Code != "StaleKey" || findings[0].Name != "late" || findings[0].Found != "aescbc:key2" {
			t.Errorf("findings are %+v, want the secret that the laggard wrote", findings)
		}

		// Once the laggard has caught up, the same command without force does the rest.
		c.reconfigure(t, last, last)
		rest := c.svmctl(t, slices.Concat([]string{"migrate", "secrets", "--settle", "1s", "--yes", "-o", "json", "--to", "aescbc:key3"}, c.all())...)
		rest.wantCode(t, 0)
		report = rest.agreement(t)
		report.wantCounted(t, true)
		if verdict(report.Verdict) != "Complete" || report.Outcomes != (outcomes{Rewritten: 1, AlreadyCurrent: count}) {
			t.Errorf("verdict %s with %+v", verdict(report.Verdict), report.Outcomes)
		}
	})
}
