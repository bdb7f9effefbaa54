package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestMigrateRefusals has an admission webhook in the way of a migration.
func TestMigrateRefusals(t *testing.T) {
	p := startPlane(t, encryption("aescbc:key1", "identity"), "--without-controller-manager")
	p.namespace(t, "shop")
	p.createSecrets(t, "shop", "app", 500)
	refused := []string{"app-00100", "app-00250", "app-00499"}
	// The webhook quotes the object, as real ones do.
	message := "the password may not be " + canaryInData
	hook := p.startWebhook(t, "--deny-name", "^("+strings.Join(refused, "|")+")$", "--deny-message", message)

	t.Run("refuses three of 500", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))
		contents := p.secrets(t)
		revisions, _ := p.stored(t)

		tried := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--dry-run=server", "-o", "json")
		tried.wantCode(t, 3)
		wantRefused(t, tried.migration(t).Failures, refused)
		if after, _ := p.stored(t); !maps.Equal(revisions, after) {
			t.Error("a dry run on the server has written")
		}

		done := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "-o", "json")
		done.wantCode(t, 3)
		report := done.migration(t)
		if verdict(report.Verdict) != "Incomplete" || report.Outcomes != (outcomes{Rewritten: 497, Failed: 3}) {
			t.Errorf("verdict %s with %+v, want Incomplete with 497 rewritten and 3 failed", verdict(report.Verdict), report.Outcomes)
		}
		wantRefused(t, report.Failures, refused)
		if strings.Contains(done.stdout, "the password may") {
			t.Errorf("the webhook's own words are in the report\n%s", done)
		}
		if under := p.countUnder(t, "aescbc:key2"); under != 497 {
			t.Errorf("etcd holds %d secrets under key2, want 497", under)
		}
		wantSameSecrets(t, contents, p.secrets(t))

		// Three are left, and the same command says the same of them to a person.
		table := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes")
		table.wantCode(t, 3)
		table.wantStdout(t, append([]string{webhookName, "shop", "403", "Incomplete", "3 failed"}, refused...)...)
		if strings.Contains(table.stdout+table.stderr, "the password may") {
			t.Errorf("the webhook's own words are shown\n%s", table)
		}
		for _, format := range []string{"table", "json"} {
			words := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "--show-messages", "-o", format)
			words.wantCode(t, 3)
			words.wantStdout(t, message)
		}

		hook.remove(t)
		rest := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "-o", "json")
		rest.wantCode(t, 0)
		wantMigration(t, rest.migration(t), "patch", outcomes{Rewritten: 3, AlreadyCurrent: 497})
		accepted := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--dry-run=server")
		accepted.wantCode(t, 0)
	})

	t.Run("fails for a while", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key1", "aescbc:key2", "identity"))
		flaky := p.startWebhook(t)
		flaky.fail(t, "for=6s")
		result := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key1", "--yes", "-o", "json")
		result.wantCode(t, 0)
		wantMigration(t, result.migration(t), "patch", outcomes{Rewritten: 500})
		p.wantAllUnder(t, "aescbc:key1")
		flaky.remove(t)
	})

	t.Run("fails on and on", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))
		broken := p.startWebhook(t)
		broken.fail(t, "for=1h")
		result := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "-o", "json", "--max-outage", "3s")
		result.wantCode(t, 3)
		report := result.migration(t)
		if verdict(report.Verdict) != "Incomplete" || report.Outcomes.Rewritten != 0 || len(report.Failures) == 0 {
			t.Errorf("verdict %s with %+v and %d failures", verdict(report.Verdict), report.Outcomes, len(report.Failures))
		}
		for _, f := range report.Failures {
			if f.By != webhookName || f.Code != 500 {
				t.Errorf("unexpected failure %+v", f)
				break
			}
		}
		broken.remove(t)
		again := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "-o", "json")
		again.wantCode(t, 0)
		wantMigration(t, again.migration(t), "patch", outcomes{Rewritten: 500})
	})
}

// wantRefused checks that the failures are these objects of the namespace shop, refused by the webhook.
func wantRefused(t *testing.T, failures []failure, names []string) {
	t.Helper()
	var found []string
	for _, f := range failures {
		found = append(found, f.Name)
		if f.By != webhookName || f.Code != 403 || f.Reason != "Forbidden" || f.Resource != "secrets" || f.Namespace != "shop" ||
			f.Key != secretsDir+"shop/"+f.Name || f.Message != "" {
			t.Errorf("unexpected failure %+v", f)
		}
	}
	slices.Sort(found)
	if !slices.Equal(found, names) {
		t.Errorf("failures name %v, want %v", found, names)
	}
}
