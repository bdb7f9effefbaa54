package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestMigrateStory is the story of Kubernetes' guide: secrets under key1 move to key2, and back.
func TestMigrateStory(t *testing.T) {
	p := startPlane(t, encryption("aescbc:key1", "identity"))
	p.namespace(t, "team-a")
	p.namespace(t, "team-b")
	p.createSecrets(t, "team-a", "app", 40)
	p.createSecrets(t, "team-b", "app", 20)
	p.kubectl(t, "", "create", "configmap", "settings", "-n", "team-a", "--from-literal=a=b")
	p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))
	contents := p.secrets(t)

	before := p.svmctl(t, "audit", "--expect", "secrets=aescbc:key2", "-o", "json")
	before.wantCode(t, 3)
	report := before.audit(t)
	wantStale(t, report, 60, "aescbc:key2", "aescbc:key1")
	configmaps := report.byKey("configmaps")["aescbc:key1"]
	if configmaps == 0 {
		t.Fatalf("no configmap is under key1: %v", report.byKey("configmaps"))
	}

	run := p.start(t, "migrate", "secrets", "--to", "aescbc:key2", "--backend", "svm", "--yes", "-o", "json")
	stop := p.pulseSecrets(t)
	result := run.wait(t)
	stop()
	result.wantCode(t, 0)
	migrated := result.migration(t)
	wantMigration(t, migrated, "svm", outcomes{Rewritten: 60})
	if len(migrated.Elsewhere) != 1 || migrated.Elsewhere[0].Objects == nil || migrated.Elsewhere[0].Resource != "configmaps" ||
		migrated.Elsewhere[0].Value != "aescbc:key1" || *migrated.Elsewhere[0].Objects != configmaps {
		t.Errorf("elsewhere is not the %d configmaps under key1\n%s", configmaps, result)
	}
	p.wantAllUnder(t, "aescbc:key2")

	after := p.svmctl(t, "audit", "--expect", "secrets=aescbc:key2", "-o", "json")
	after.wantCode(t, 0)
	if found := after.audit(t); verdict(found.Verdict) != "Complete" || len(found.Findings) != 0 || found.byKey("secrets")["aescbc:key1"] != 0 {
		t.Errorf("after the migration\n%s", after)
	}

	t.Run("and back", func(t *testing.T) {
		objects := len(p.secrets(t))
		p.rotate(t, encryption("aescbc:key1", "aescbc:key2", "identity"))
		back := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key1", "--backend", "patch", "--yes")
		back.wantCode(t, 0)
		back.wantStdout(t, fmt.Sprintf("%d rewritten", objects), "Complete")
		// Not "key2: 0": what else there is lies under the target's key, and configmaps stay there.
		wantLastLines(t, back, "1 of 1 apiserver asked, they agree", "other resources under ")
		p.wantAllUnder(t, "aescbc:key1")
	})
	t.Run("there again, seen by a person", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))
		again := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes")
		again.wantCode(t, 0)
		wantLastLines(t, again, "1 of 1 apiserver asked, they agree",
			fmt.Sprintf("other resources under key1: %d", configmaps))
	})
	t.Run("nothing left to do", func(t *testing.T) {
		revision := p.revision(t)
		done := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "-o", "json")
		done.wantCode(t, 0)
		wantMigration(t, done.migration(t), "patch", outcomes{AlreadyCurrent: len(p.secrets(t))})
		if p.secretsRevision(t) > revision {
			t.Error("something was written although nothing was stale")
		}
	})
	t.Run("in other formats", func(t *testing.T) {
		args := []string{"migrate", "secrets", "--to", "aescbc:key2", "--yes", "-o"}
		done := p.svmctl(t, append(args, "yaml")...)
		done.wantCode(t, 0)
		var report migrationReport
		if err := yaml.Unmarshal([]byte(done.stdout), &report); err != nil {
			t.Fatalf("%v\n%s", err, done)
		}
		wantMigration(t, report, "patch", outcomes{AlreadyCurrent: len(p.secrets(t))})
		wide := p.svmctl(t, append(args, "wide")...)
		wide.wantCode(t, 0)
		wide.wantStdout(t, "Complete")
	})
	t.Run("part of the store", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key1", "aescbc:key2", "identity"))
		part := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key1", "--yes", "-o", "json", "--prefix", secretsDir+"team-b")
		part.wantCode(t, 0)
		report := part.migration(t)
		wantMigration(t, report, "patch", outcomes{Rewritten: 20})
		if len(report.Elsewhere) != 1 || report.Elsewhere[0].Objects != nil || report.Elsewhere[0].Note != "not scanned" {
			t.Errorf("elsewhere should say that it was not scanned\n%s", part)
		}
	})

	now := p.secrets(t)
	for name := range now {
		if strings.Contains(name, "/pulse-") {
			delete(now, name)
		}
	}
	wantSameSecrets(t, contents, now)
}

// wantStale checks that an audit found so many objects, and nothing else, to be under the wrong key.
func wantStale(t *testing.T, report auditReport, count int, expected, found string) {
	t.Helper()
	if verdict(report.Verdict) != "Incomplete" || len(report.Findings) != count {
		t.Errorf("verdict %s with %d findings, want Incomplete with %d", verdict(report.Verdict), len(report.Findings), count)
	}
	for _, f := range report.Findings {
		if f.Code != "StaleKey" || f.Expected != expected || f.Found != found || f.Resource != "secrets" || f.Namespace == "" ||
			f.Key != secretsDir+f.Namespace+"/"+f.Name || f.ModRevision == 0 {
			t.Errorf("unexpected finding %+v", f)
		}
	}
}

// wantMigration checks a migration of secrets that ended well in one round, and that the one apiserver was asked.
func wantMigration(t *testing.T, report migrationReport, backend string, want outcomes) {
	t.Helper()
	wantRewritten(t, report, backend, want)
	if a := report.APIServers; a.Agree == nil || !*a.Agree || a.Known != 1 || a.Asked != 1 {
		t.Errorf("apiservers are %+v, want the one to have been asked", a)
	}
}

// wantRewritten is wantMigration where nothing is known of the apiservers.
func wantRewritten(t *testing.T, report migrationReport, backend string, want outcomes) {
	t.Helper()
	if report.APIVersion != "svmctl/v1alpha1" || report.Kind != "MigrationReport" || report.Backend != backend {
		t.Errorf("%s %s by %s", report.APIVersion, report.Kind, report.Backend)
	}
	rounds := 1
	if want.Rewritten == 0 {
		rounds = 0 // nothing was stale, and so nothing was taken up
	}
	if verdict(report.Verdict) != "Complete" || report.Rounds != rounds || len(report.Failures) != 0 {
		t.Errorf("verdict %s after %d rounds with failures %v, want Complete after %d with none", verdict(report.Verdict), report.Rounds, report.Failures, rounds)
	}
	if len(report.Targets) != 1 || report.Targets[0].Resource != "secrets" || report.Targets[0].From != "flag" {
		t.Errorf("targets are %+v, want secrets from a flag", report.Targets)
	}
	if report.Outcomes != want {
		t.Errorf("outcomes are %+v, want %+v", report.Outcomes, want)
	}
	if len(report.Before.Findings) != 0 {
		t.Errorf("before has findings that were settled: %v", report.Before.Findings[:1])
	}
	if report.After == nil || verdict(report.After.Verdict) != "Complete" || report.After.Source.Revision < report.Before.Source.Revision {
		t.Errorf("after is %+v, want a Complete audit that is not older than before", report.After)
	}
}

// wantLastLines checks how the lines at the end of stdout begin.
func wantLastLines(t *testing.T, r result, beginnings ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	lines = lines[max(0, len(lines)-len(beginnings)):]
	if !slices.EqualFunc(lines, beginnings, strings.HasPrefix) {
		t.Errorf("stdout ends %q, want %q", lines, beginnings)
	}
}
