package e2e

import (
	"maps"
	"strings"
	"testing"
)

const (
	probeQuestion = "Patch it? [y/N]"
	planQuestion  = "? [y/N]"
	ctrlC         = "\x03"
	ctrlD         = "\x04"
)

// TestMigrateAsksAPerson is migrate on a terminal, with and without a target that somebody named.
func TestMigrateAsksAPerson(t *testing.T) {
	const count = 30
	p := startPlane(t, encryption("aescbc:key1", "identity"), "--without-controller-manager")
	p.namespace(t, "probe")
	p.createSecrets(t, "probe", "app", count)
	p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))
	revisions, _ := p.stored(t)

	for _, test := range []struct {
		name, answer string
		code         int
	}{
		{"says no", "n\n", 1}, {"says nothing", "\n", 1}, {"says something else", "maybe\n", 1}, {"ends the input", ctrlD, 1}, {"interrupts", ctrlC, 130},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, args := range [][]string{{"migrate", "secrets"}, {"migrate", "secrets", "--to", "aescbc:key2"}} {
				term := p.onTerminal(t, args...)
				term.answer(t, planQuestion, test.answer)
				result := term.wait(t)
				result.wantCode(t, test.code)
				if strings.Count(result.stderr, "svmctl: error: ") != 1 || result.stdout != "" {
					t.Errorf("want one error and no report\n%s", result)
				}
			}
			if after, _ := p.stored(t); !maps.Equal(revisions, after) {
				t.Error("something was written without consent")
			}
		})
	}

	t.Run("lets it probe and refuses the plan", func(t *testing.T) {
		term := p.onTerminal(t, "migrate", "secrets")
		term.answer(t, probeQuestion, "y\n")
		term.answer(t, planQuestion, "n\n")
		term.wait(t).wantCode(t, 1)
		if written := p.countUnder(t, "aescbc:key2"); written != 1 {
			t.Errorf("%d objects were written, want the one that was agreed to", written)
		}
	})

	t.Run("agrees to what was probed", func(t *testing.T) {
		term := p.onTerminal(t, "migrate", "secrets", "-o", "json")
		term.answer(t, probeQuestion, "y\n")
		term.answer(t, planQuestion, "y\n")
		result := term.wait(t)
		result.wantCode(t, 4)
		for _, word := range []string{"aescbc:key2", "probe", "Rewrite 29 objects"} {
			if !strings.Contains(result.stderr, word) {
				t.Errorf("the plan does not say %q\n%s", word, result)
			}
		}
		report := result.migration(t)
		if verdict(report.Verdict) != "Indeterminate" || report.Outcomes != (outcomes{Rewritten: count - 1, AlreadyCurrent: 1}) || report.APIServers.Agree == nil || !*report.APIServers.Agree {
			t.Errorf("verdict %s with %+v, apiservers %+v", verdict(report.Verdict), report.Outcomes, report.APIServers)
		}
		if len(report.Targets) != 1 || report.Targets[0].Value != "aescbc:key2" || report.Targets[0].From != "probe" {
			t.Errorf("targets are %+v", report.Targets)
		}
		p.wantAllUnder(t, "aescbc:key2")
		// With the target named, the same etcd is good enough.
		p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes").wantCode(t, 0)
	})

	t.Run("agrees to a target of their own", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key1", "aescbc:key2", "identity"))
		term := p.onTerminal(t, "migrate", "secrets", "--to", "aescbc:key1", "--qps", "20")
		term.answer(t, "Rewrite 30 objects? [y/N]", "yes\n")
		result := term.wait(t)
		result.wantCode(t, 0)
		result.wantStdout(t, "30 rewritten", "Complete")
		if !strings.Contains(result.stderr, "rewriting secrets") {
			t.Errorf("no progress on the terminal\n%s", result)
		}
		p.wantAllUnder(t, "aescbc:key1")
	})

	t.Run("has an apiserver that writes another key", func(t *testing.T) {
		// Nobody is asked about a proposal that is not one: --to is what the person said.
		term := p.onTerminal(t, "migrate", "secrets", "--to", "aescbc:key2")
		term.answer(t, "Rewrite 30 objects? [y/N]", "y\n")
		result := term.wait(t)
		result.wantCode(t, 3)
		p.wantAllUnder(t, "aescbc:key1")
	})

	t.Run("has an apiserver that writes plaintext", func(t *testing.T) {
		p.rotate(t, encryption("identity", "aescbc:key1"))
		term := p.onTerminal(t, "migrate", "secrets")
		term.answer(t, probeQuestion, "y\n")
		result := term.wait(t)
		result.wantCode(t, 1)
		if written := p.countUnder(t, "identity"); written != 1 || !strings.Contains(result.stderr, "plaintext") {
			t.Errorf("%d objects are plaintext, want the one that was agreed to\n%s", written, result)
		}
	})
}
