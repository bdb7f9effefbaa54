package e2e

import (
	"slices"
	"strings"
	"testing"
)

// TestAPIServerTurnsLaggard restarts an apiserver with the older EncryptionConfiguration after all had agreed and while
// objects are rewritten. All that the first one writes is right; a look before the first write alone would call that
// Complete.
func TestAPIServerTurnsLaggard(t *testing.T) {
	t.Parallel() // it waits most of the time
	const count = 3000
	c := startTrio(t, encryption("aescbc:key1", "identity"))
	c.namespace(t, "turn")
	c.createSecrets(t, "turn", "app", count)
	older, newer := encryption("aescbc:key1", "aescbc:key2", "identity"), encryption("aescbc:key2", "aescbc:key1", "identity")
	c.reconfigure(t, newer, newer)
	lease := c.lease(t, third)

	before := c.revision(t)
	run := c.start(t, slices.Concat([]string{"migrate", "secrets", "--settle", "1s", "--yes", "-o", "json", "--qps", "200", "--to", "aescbc:key2"}, c.all())...)
	c.awaitWrites(t, before, 100)
	c.restartThird(t, older)
	select {
	case err := <-run.ended:
		t.Fatalf("it ended (%v) before the apiserver was back: the test shows nothing", err)
	default:
	}
	result := run.wait(t)
	result.wantCode(t, 4)
	report := result.agreement(t)
	c.wantLaggard(t, report, c.addresses[2], lease)
	if verdict(report.Verdict) != "Indeterminate" || report.Outcomes != (outcomes{Rewritten: count}) || report.APIServers.Forced {
		t.Errorf("verdict %s with %+v, forced %t", verdict(report.Verdict), report.Outcomes, report.APIServers.Forced)
	}
	c.wantAllUnder(t, "aescbc:key2")
}

// TestAPIServersWhileMigrating changes what is known of the apiservers while objects are rewritten.
func TestAPIServersWhileMigrating(t *testing.T) {
	t.Parallel() // it waits most of the time
	const count = 60
	c := startTrio(t, encryption("aescbc:key1", "identity"), "--user", "watcher")
	c.namespace(t, "while")
	c.createSecrets(t, "while", "app", count)
	key1, key2 := encryption("aescbc:key1", "aescbc:key2", "identity"), encryption("aescbc:key2", "aescbc:key1", "identity")
	// migrate starts a run of some seconds, and returns it once it writes.
	migrate := func(t *testing.T, args ...string) *process {
		before := c.revision(t)
		run := c.start(t, slices.Concat([]string{"migrate", "secrets", "--settle", "1s", "--yes", "-o", "json", "--qps", "12"}, c.all(), args)...)
		c.awaitWrites(t, before, 5)
		return run
	}
	wantRunning := func(t *testing.T, run *process) {
		t.Helper()
		select {
		case err := <-run.ended:
			t.Fatalf("it ended (%v) before anything had changed: the test shows nothing", err)
		default:
		}
	}

	t.Run("a laggard catches up", func(t *testing.T) {
		// What it wrote before it did may be newer than the last look at etcd. The same command again will see it.
		c.reconfigure(t, key2, key1)
		run := migrate(t, "--to", "aescbc:key2", "--force")
		c.writeThird(t, key2)
		c.awaitConfig(t, 3, key2)
		wantRunning(t, run)
		result := run.wait(t)
		result.wantCode(t, 4)
		report := result.agreement(t)
		c.wantLaggard(t, report, c.addresses[2], c.lease(t, third))
		if verdict(report.Verdict) != "Indeterminate" || !report.APIServers.Forced {
			t.Errorf("verdict %s, forced %t", verdict(report.Verdict), report.APIServers.Forced)
		}
		c.svmctl(t, append([]string{"migrate", "secrets", "--settle", "1s", "--yes", "--to", "aescbc:key2"}, c.all()...)...).wantCode(t, 0)
	})

	t.Run("the rights to ask are taken away", func(t *testing.T) {
		// That they agreed before says nothing of what they do after, and nobody could look.
		c.reconfigure(t, key1, key1)
		c.kubectl(t, "", "create", "clusterrolebinding", "watcher", "--clusterrole=cluster-admin", "--user=watcher")
		c.allow(t, "watcher", "patch")
		run := migrate(t, "--to", "aescbc:key1", "--kubeconfig", c.userKubeconfig("watcher"))
		c.kubectl(t, "", "delete", "clusterrolebinding", "watcher")
		wantRunning(t, run)
		result := run.wait(t)
		result.wantCode(t, 0)
		report := result.agreement(t)
		if warnings := strings.Join(report.Warnings, "\n"); report.agree() != "unknown" || !strings.Contains(warnings, "apiservers not checked after the last write") {
			t.Errorf("agree %s with the warnings %q, want one that they were not checked at the end", report.agree(), warnings)
		}
		if report.Outcomes != (outcomes{Rewritten: count}) {
			t.Errorf("outcomes are %+v", report.Outcomes)
		}
	})
}
