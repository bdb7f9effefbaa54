package e2e

import (
	"slices"
	"strings"
	"testing"
)

// TestAPIServersUnasked is a user who may do no more than patch secrets: no apiserver tells that user what it would write, so that
// each one has to show it.
func TestAPIServersUnasked(t *testing.T) {
	t.Parallel() // it waits most of the time
	const count = 60
	c := startTrio(t, encryption("aescbc:key1", "identity"), "--user", "rewriter")
	c.allow(t, "rewriter", "patch")
	c.namespace(t, "unasked")
	c.createSecrets(t, "unasked", "app", count)
	key1, key2 := encryption("aescbc:key1", "aescbc:key2", "identity"), encryption("aescbc:key2", "aescbc:key1", "identity")
	as := []string{"--kubeconfig", c.userKubeconfig("rewriter")}
	migrate := func(more ...string) result {
		return c.svmctl(t, slices.Concat([]string{"migrate", "secrets", "--settle", "1s", "--yes", "-o", "json"}, as, more)...)
	}
	wantUnchecked := func(t *testing.T, report agreementReport) {
		t.Helper()
		if warnings := strings.Join(report.Warnings, "\n"); report.agree() != "unknown" || !strings.Contains(warnings, "apiservers not checked") {
			t.Errorf("agree %s with the warnings %q, want apiservers not checked", report.agree(), warnings)
		}
	}

	c.reconfigure(t, key2, key1)
	// Whichever of them is tried first: a laggard that finds the object under its own key writes nothing and says 200.
	wantStopped := func(t *testing.T, result result) {
		t.Helper()
		result.wantCode(t, 3)
		if !strings.Contains(result.stderr, c.addresses[2]) || !strings.Contains(result.stderr, "aescbc:key1") {
			t.Errorf("the apiserver that writes key1 is not named\n%s", result)
		}
		for _, other := range c.addresses[:2] {
			if strings.Contains(result.stderr, "apiserver at "+other) {
				t.Errorf("an apiserver that is as it should be is named\n%s", result)
			}
		}
		report := result.agreement(t)
		wantUnchecked(t, report)
		if report.Stopped == nil || report.Stopped.Code != "NotConverged" || verdict(report.Verdict) != "Incomplete" {
			t.Errorf("want a run that was stopped as NotConverged\n%s", result)
		}
		if written := c.countUnder(t, "aescbc:key2"); written > 1 {
			t.Errorf("%d secrets were written, want none but the one that was tried", written)
		}
	}

	t.Run("a laggard among those given", func(t *testing.T) {
		result := migrate(append(c.all(), "--to", "aescbc:key2")...)
		result.wantError(t, c.addresses[2], "same configuration", "one object was written")
		wantStopped(t, result)
	})

	t.Run("a laggard among those given, without a target", func(t *testing.T) {
		term := c.onTerminal(t, slices.Concat([]string{"migrate", "secrets", "--settle", "1s", "-o", "json"}, as, c.all())...)
		term.answer(t, probeQuestion, "y\n")
		term.answer(t, planQuestion, "y\n")
		wantStopped(t, term.wait(t))
	})

	t.Run("none lags, without a target", func(t *testing.T) {
		c.reconfigure(t, key2, key2)
		term := c.onTerminal(t, slices.Concat([]string{"migrate", "secrets", "--settle", "1s", "-o", "json"}, as, c.all())...)
		term.answer(t, probeQuestion, "y\n")
		term.answer(t, planQuestion, "y\n")
		result := term.wait(t)
		// All three were seen to write it; that it is the right one nobody said.
		result.wantCode(t, 4)
		report := result.agreement(t)
		wantUnchecked(t, report)
		if report.Stopped != nil || verdict(report.Verdict) != "Indeterminate" {
			t.Errorf("want a run to the end\n%s", result)
		}
		c.wantAllUnder(t, "aescbc:key2")
	})

	t.Run("none lags", func(t *testing.T) {
		c.reconfigure(t, key1, key1)
		result := migrate(append(c.all(), "--to", "aescbc:key1")...)
		result.wantCode(t, 0)
		report := result.agreement(t)
		wantUnchecked(t, report)
		if o := report.Outcomes; verdict(report.Verdict) != "Complete" || o.ChangedByOthers > 0 || o.Rewritten+o.AlreadyCurrent != count || o.Failed > 0 {
			t.Errorf("verdict %s with %+v", verdict(report.Verdict), o)
		}
		c.wantAllUnder(t, "aescbc:key1")
	})

	t.Run("nothing but the kubeconfig", func(t *testing.T) {
		c.reconfigure(t, key2, key2)
		result := migrate("--to", "aescbc:key2")
		result.wantCode(t, 0)
		report := result.agreement(t)
		wantUnchecked(t, report)
		if verdict(report.Verdict) != "Complete" || report.Outcomes != (outcomes{Rewritten: count}) {
			t.Errorf("verdict %s with %+v", verdict(report.Verdict), report.Outcomes)
		}
		table := c.svmctl(t, slices.Concat([]string{"migrate", "secrets", "--settle", "1s", "--to", "aescbc:key2", "--yes"}, as)...)
		// Nothing was to be written, and so nothing has shown that this is the apiserver's etcd and no old copy of it.
		table.wantCode(t, 4)
		table.wantStdout(t, "apiservers not checked", "60 already current", "no old copy", "list on leases")
	})
}
