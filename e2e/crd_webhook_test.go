package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSelfieWebhookFailsForFive: a naive version converts one object to see whether the webhook answers, and meets one
// of the five; or it goes on at the first success and calls the five done; or it prints what the webhook said of them.
func TestSelfieWebhookFailsForFive(t *testing.T) {
	t.Parallel() // it waits most of the time
	const count = 2000
	// The first and the last are among them.
	failing := []string{"selfie-00000", "selfie-00007", "selfie-00800", "selfie-01234", "selfie-01999"}
	message := "cannot convert " + canaryInAnnotation

	p := startPlane(t, "", "--without-controller-manager")
	p.defineSelfies(t, "selfierequests-v1", nil)
	p.awaitSelfiesWrittenAs(t, "v1")
	p.createSelfies(t, count)
	hook := p.startSelfieWebhook(t, "--fail-message", message)
	p.defineSelfies(t, "selfierequests-v1-v2", hook)
	p.awaitSelfiesWrittenAs(t, "v2")
	hook.fail(t, "name=^("+strings.Join(failing, "|")+")$")
	before := p.selfiesStored(t)
	p.wantSelfies(t, map[string]int{"v1": count})

	migrate := func(t *testing.T, code int, flags ...string) selfieMigration {
		t.Helper()
		started := time.Now()
		done := p.svmctl(t, append([]string{"migrate", selfies, "--max-outage", "3s", "-o", "json"}, flags...)...)
		t.Logf("svmctl %s: %s", strings.Join(flags, " "), time.Since(started).Round(time.Millisecond))
		done.wantCode(t, code)
		report := done.selfieMigration(t)
		if !slices.Contains(flags, "--show-messages") && strings.Contains(done.stdout+done.stderr, "cannot convert") {
			t.Errorf("the webhook's own words are there unasked\n%s", done)
		}
		return report
	}

	t.Run("dry run", func(t *testing.T) {
		planned := migrate(t, 0, "--dry-run")
		if planned.Plan.Resources[0].Stale != count || planned.Outcomes.Rewritten != 0 {
			t.Errorf("plan %+v, outcomes %+v", planned.Plan, planned.Outcomes)
		}
		if !maps.Equal(before, p.selfiesStored(t)) {
			t.Error("a dry run has written")
		}
	})
	t.Run("dry run on the server", func(t *testing.T) {
		tried := migrate(t, 3, "--dry-run=server", "--show-messages")
		wantFailingSelfies(t, tried, failing, message)
		if tried.Outcomes.Accepted != count-len(failing) || tried.Outcomes.Rewritten != 0 {
			t.Errorf("outcomes %+v", tried.Outcomes)
		}
		if !maps.Equal(before, p.selfiesStored(t)) {
			t.Error("a dry run has written")
		}
	})
	t.Run("1,995 of 2,000", func(t *testing.T) {
		report := migrate(t, 3, "--yes")
		if verdict(report.Verdict) != "Incomplete" || report.stopCode() != "" || report.Outcomes.outcomes != (outcomes{Rewritten: count - len(failing), Failed: len(failing)}) {
			t.Errorf("verdict %s, stopped %q, outcomes %+v", verdict(report.Verdict), report.stopCode(), report.Outcomes)
		}
		wantFailingSelfies(t, report, failing, "")
		p.wantSelfies(t, map[string]int{"v2": count - len(failing), "v1": len(failing)})
		after := p.selfiesStored(t)
		for _, name := range failing {
			if after[name] != before[name] {
				t.Errorf("%s was %v and is %v", name, before[name], after[name])
			}
		}
		p.wantPruneRefused(t, int64(len(failing)), count-int64(len(failing)), "5 objects are stored at v1")
	})
	t.Run("to a person", func(t *testing.T) {
		table := p.svmctl(t, "migrate", selfies, "--max-outage", "3s", "--yes")
		table.wantCode(t, 3)
		// All that are left fail: the webhook itself is in doubt, and nothing is tried.
		table.wantError(t, "conversion webhook", "nothing was written")
		p.wantSelfies(t, map[string]int{"v2": count - len(failing), "v1": len(failing)})
	})
	t.Run("the webhook recovers", func(t *testing.T) {
		hook.fail(t, "name=")
		report := migrate(t, 0, "--yes")
		if verdict(report.Verdict) != "Complete" || report.Outcomes.outcomes != (outcomes{Rewritten: len(failing), AlreadyCurrent: count - len(failing)}) {
			t.Errorf("verdict %s, outcomes %+v", verdict(report.Verdict), report.Outcomes)
		}
		p.wantSelfies(t, map[string]int{"v2": count})
		p.wantPruned(t, count)
	})
}

// wantFailingSelfies checks that the failures are these, each for its conversion, with the webhook's words or none.
func wantFailingSelfies(t *testing.T, report selfieMigration, names []string, words string) {
	t.Helper()
	var found []string
	for _, f := range report.Failures {
		found = append(found, f.Name)
		if f.Kind != "conversion" || f.Code != 500 || f.Resource != selfies || f.Namespace != "default" ||
			!strings.HasSuffix(f.Message, words) || (words == "") != (f.Message == "") || f.Key != "/registry"+selfiePath+"default/"+f.Name {
			t.Errorf("unexpected failure %+v", f)
		}
	}
	slices.Sort(found)
	if !slices.Equal(found, names) {
		t.Errorf("failures name %v, want %v", found, names)
	}
	if report.preflight("ConversionFails") == "blocking" {
		t.Error("preflight says that the webhook does not answer, and it answers for nearly all")
	}
}

// TestSelfieWebhookOutOfOrder: a naive version finds out object by object, for as long as it may try each, that nobody
// converts; or takes a 200 with a wrong conversion in it for a rewrite.
func TestSelfieWebhookOutOfOrder(t *testing.T) {
	t.Parallel() // it waits most of the time
	const count = 40
	p := startPlane(t, "")
	p.defineSelfies(t, "selfierequests-v1", nil)
	p.awaitSelfiesWrittenAs(t, "v1")
	p.createSelfies(t, count)
	hook := p.startSelfieWebhook(t)
	p.defineSelfies(t, "selfierequests-v1-v2", hook)
	p.awaitSelfiesWrittenAs(t, "v2")
	before := p.selfiesStored(t)

	// refused has a migration find out that nobody converts.
	refused := func(t *testing.T, flags ...string) {
		t.Helper()
		revision := p.revision(t)
		done := p.svmctl(t, append([]string{"migrate", selfies, "--stall-timeout", "20s", "-o", "json"}, flags...)...)
		done.wantCode(t, 3)
		done.wantError(t, "conversion webhook of "+selfies, "nothing was written")
		report := done.selfieMigration(t)
		if report.stopCode() != "Conversion" || report.preflight("ConversionFails") != "blocking" || report.Outcomes.outcomes != (outcomes{}) || report.FailureCount != 0 {
			t.Errorf("stopped by %q, preflight %+v, outcomes %+v, %d failures", report.stopCode(), report.Plan.Resources[0].Preflight, report.Outcomes, report.FailureCount)
		}
		if v := verdict(report.Verdict); v == "Complete" {
			t.Errorf("verdict %s", v)
		}
		if !maps.Equal(before, p.selfiesStored(t)) {
			t.Errorf("objects were written after revision %d", revision)
		}
	}

	t.Run("down", func(t *testing.T) {
		hook.stop()
		for _, flags := range [][]string{{"--yes"}, {"--yes", "--backend", "svm"}, {"--dry-run=server"}} {
			refused(t, flags...)
		}
		p.wantNoMigrations(t)
		p.wantPruneRefused(t, count, 0, fmt.Sprintf("%d objects are stored at v1", count))
	})
	for _, fault := range []string{"version", "count", "uid", "metadata"} {
		t.Run("wrong "+fault, func(t *testing.T) {
			hook.restart(t, "--wrong", fault)
			refused(t, "--yes")
		})
	}
	t.Run("slow", func(t *testing.T) {
		hook.restart(t, "--delay", "300ms")
		started := time.Now()
		done := p.svmctl(t, "migrate", selfies, "--yes", "-o", "json")
		t.Logf("%d objects with 300ms per conversion: %s", count, time.Since(started).Round(time.Millisecond))
		done.wantCode(t, 0)
		report := done.selfieMigration(t)
		if verdict(report.Verdict) != "Complete" || report.Outcomes.outcomes != (outcomes{Rewritten: count}) || report.preflight("ConversionAnswers") != "info" {
			t.Errorf("verdict %s, outcomes %+v, preflight %+v", verdict(report.Verdict), report.Outcomes, report.Plan.Resources[0].Preflight)
		}
		p.wantSelfies(t, map[string]int{"v2": count})
		p.wantPruned(t, count)
	})
}
