package e2e

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestMigrateOutages takes the apiserver and etcd away half-way through a migration. There are 1,500 secrets all along,
// moved from one key to the other in each part.
func TestMigrateOutages(t *testing.T) {
	t.Parallel() // it waits most of the time
	const count = 1500
	// An apiserver that has lost its etcd holds each request for this long.
	p := startPlane(t, encryption("aescbc:key1", "identity"), "--without-controller-manager", "--apiserver-arg=--request-timeout=10s")
	p.namespace(t, "outage")
	p.createSecrets(t, "outage", "app", count)
	contents := p.secrets(t)

	t.Run("apiserver killed and started again", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))
		run := p.halfWay(t, "aescbc:key2", count)
		p.playground(t, "kill", "kube-apiserver")
		p.playground(t, "start", "kube-apiserver")
		result := run.wait(t)
		result.wantCode(t, 0)
		wantMigration(t, result.migration(t), "patch", outcomes{Rewritten: count})
		p.wantAllUnder(t, "aescbc:key2")
	})

	t.Run("apiserver killed for longer than the limit", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key1", "aescbc:key2", "identity"))
		run := p.halfWay(t, "aescbc:key1", count, "--max-outage", "5s")
		p.playground(t, "kill", "kube-apiserver")
		result := run.wait(t)
		result.wantCode(t, 3)
		result.wantError(t, "apiserver out of service")
		report := result.migration(t)
		if verdict(report.Verdict) != "Incomplete" {
			t.Errorf("verdict %s, want Incomplete", verdict(report.Verdict))
		}
		done := p.countUnder(t, "aescbc:key1")
		if done == 0 || done >= count {
			t.Fatalf("%d of %d were rewritten before the outage", done, count)
		}
		p.playground(t, "start", "kube-apiserver")
		rest := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key1", "--yes", "-o", "json")
		rest.wantCode(t, 0)
		wantMigration(t, rest.migration(t), "patch", outcomes{Rewritten: count - done, AlreadyCurrent: done})
		p.wantAllUnder(t, "aescbc:key1")
	})

	t.Run("no apiserver from the start", func(t *testing.T) {
		p.playground(t, "stop", "kube-apiserver")
		result := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "--max-outage", "2s")
		result.wantCode(t, 1)
		result.wantError(t, "refused")
		p.playground(t, "start", "kube-apiserver")
	})

	t.Run("etcd stopped and started again", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))
		run := p.halfWay(t, "aescbc:key2", count)
		p.playground(t, "stop", "etcd")
		p.playground(t, "start", "etcd")
		result := run.wait(t)
		// It may get over that or give up, as long as it is honest; the same command does the rest.
		honest(t, p, result, "aescbc:key2")
		rest := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes")
		rest.wantCode(t, 0)
		p.wantAllUnder(t, "aescbc:key2")
	})

	wantSameSecrets(t, contents, p.secrets(t))

	t.Run("interrupted while etcd is gone", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key1", "aescbc:key2", "identity"))
		run := p.halfWay(t, "aescbc:key1", count)
		p.playground(t, "kill", "etcd")
		if err := run.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		interrupted := time.Now()
		result := run.wait(t)
		result.wantCode(t, 130)
		if took := time.Since(interrupted); took > 30*time.Second {
			t.Errorf("took %s to end", took)
		}
		if report := result.migration(t); report.Outcomes.Rewritten == 0 || verdict(report.Verdict) == "Complete" {
			t.Errorf("verdict %s with %+v", verdict(report.Verdict), report.Outcomes)
		}
		p.playground(t, "start", "etcd")
		rest := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key1", "--yes")
		rest.wantCode(t, 0)
	})

	t.Run("etcd gone for good", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))
		run := p.halfWay(t, "aescbc:key2", count, "--max-outage", "5s")
		p.playground(t, "kill", "etcd")
		result := run.wait(t)
		// Nobody could look again: what was done is reported, and nothing is claimed.
		result.wantCode(t, 4)
		result.wantError(t, "etcd")
		report := result.migration(t)
		if verdict(report.Verdict) != "Indeterminate" || report.After != nil || report.Outcomes.Rewritten == 0 {
			t.Errorf("verdict %s with %+v, after %v", verdict(report.Verdict), report.Outcomes, report.After)
		}
		again := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes")
		again.wantCode(t, 1)
		again.wantError(t, "etcd")
		p.playground(t, "kill", "kube-apiserver") // which would wait for etcd before it goes
	})
}

// halfWay starts a migration and returns when half of count secrets were written.
func (p *plane) halfWay(t *testing.T, to string, count int, flags ...string) *process {
	t.Helper()
	begin := p.revision(t)
	run := p.start(t, append([]string{"migrate", "secrets", "--to", to, "--yes", "-o", "json"}, flags...)...)
	p.awaitWrites(t, begin, count/2)
	return run
}

// honest checks a run that may have ended well or not: its exit status, its report and etcd must agree.
func honest(t *testing.T, p *plane, r result, target string) {
	t.Helper()
	report := r.migration(t)
	left := len(p.secrets(t)) - p.countUnder(t, target)
	want := map[int]string{0: "Complete", 3: "Incomplete", 4: "Indeterminate"}[r.code]
	if want == "" || verdict(report.Verdict) != want || (left > 0) == (r.code == 0) {
		t.Errorf("verdict %s with %d secrets left to do\n%s", verdict(report.Verdict), left, r)
	}
	if r.code != 0 {
		r.wantError(t)
	}
	t.Logf("ended with %d and %d left: %s", r.code, left, strings.TrimSpace(r.stderr))
}
