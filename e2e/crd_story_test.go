package e2e

import (
	"context"
	"maps"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestSelfieRequestsMoveToV2 is the story of the guide, from v1 to a definition without v1. A naive version would take the
// apiserver's word: it shows every object at whatever version one asks for, and etcd alone tells which are still v1.
func TestSelfieRequestsMoveToV2(t *testing.T) {
	for _, story := range []struct{ backend, root string }{
		{"patch", "/registry"},
		{"patch", "/kubernetes.io"},
		{"svm", "/registry"},
	} {
		t.Run(story.backend+" under "+story.root, func(t *testing.T) {
			flags := []string{"--etcd-prefix=" + story.root}
			if story.backend == "patch" {
				flags = append(flags, "--without-controller-manager")
			}
			tellSelfieStory(t, startPlane(t, "", flags...), story.backend, story.root)
		})
	}
}

func tellSelfieStory(t *testing.T, p *plane, backend, root string) {
	p.defineSelfies(t, "selfierequests-v1", nil)
	p.awaitSelfiesWrittenAs(t, "v1")
	p.kubectl(t, "", "apply", "-f", selfieFile("cr1"))
	hook := p.startSelfieWebhook(t)
	p.defineSelfies(t, "selfierequests-v1-v2", hook)
	p.awaitSelfiesWrittenAs(t, "v2")
	p.kubectl(t, "", "create", "-f", selfieFile("cr2"))

	// The prefix is that of the group, with and without a slash at its end.
	for _, prefix := range []string{root + "/stable.example.com", root + "/stable.example.com/"} {
		seen := p.svmctl(t, "audit", "--prefix", prefix, "-o", "json")
		seen.wantCode(t, 0)
		wantSelfieGroups(t, seen.audit(t), root, map[string]int64{"stable.example.com/v1": 1, "stable.example.com/v2": 1})
	}
	before := p.selfiesStored(t)
	if before["cr1"].version != "v1" || before["cr2"].version != "v2" || len(before) != 2 {
		t.Fatalf("etcd holds %v", before)
	}
	p.wantPruneRefused(t, 1, 1, "1 object is stored at v1")
	p.wantSelfiesV1Kept(t)
	failing := p.svmctl(t, "audit", "--expect-storage-versions", "--prefix", root+"/stable.example.com", "-o", "json")
	failing.wantCode(t, 3)
	if found := failing.audit(t).Findings; len(found) != 1 || found[0].Code != "StaleVersion" || found[0].Name != "cr1" {
		t.Errorf("findings %+v, want cr1 alone as StaleVersion", found)
	}

	stop := func() {}
	if backend == "svm" {
		p.restartControllers(t)
		stop = p.pulseSelfies(t, "v2", "cr2")
	}
	done := p.svmctl(t, "migrate", selfies, "--backend", backend, "--yes", "-o", "json")
	stop()
	done.wantCode(t, 0)
	report := done.selfieMigration(t)
	if verdict(report.Verdict) != "Complete" || report.Outcomes.Rewritten != 1 || report.Outcomes.AlreadyCurrent != 1 || report.preflight("ConversionAnswers") != "info" {
		t.Errorf("verdict %s, outcomes %+v, plan %+v", verdict(report.Verdict), report.Outcomes, report.Plan)
	}
	p.wantSelfies(t, map[string]int{"v2": 2})
	if backend == "patch" && p.selfiesStored(t)["cr2"] != before["cr2"] {
		t.Error("cr2 was written, although it is stored as it should be")
	}

	after := p.svmctl(t, "audit", "--prefix", root+"/stable.example.com", "--expect-version", selfies+"=stable.example.com/v2", "-o", "json")
	after.wantCode(t, 0)
	wantSelfieGroups(t, after.audit(t), root, map[string]int64{"stable.example.com/v2": 2})
	p.wantPruned(t, 2)
	p.wantSelfies(t, map[string]int{"v2": 2})

	p.defineSelfies(t, "selfierequests-v2", nil)
	hook.stop()
	// There is no v1 any more and nobody who converts: what is read is what is stored.
	const want = `stable.example.com/v2 {"host":"localhost","port":"1234"}`
	await(t, 30*time.Second, "cr1 to be read as v2", func(context.Context) (bool, string) {
		got := p.kubectl(t, "", "get", selfies, "cr1", "-o", "jsonpath={.apiVersion} {.spec}")
		return got == want, got
	})
	if last := p.svmctl(t, "crds", selfies, "--fail", "-o", "json"); last.code != 0 || last.selfieRow(t).State != "Clean" {
		t.Errorf("exit status %d at the end\n%s", last.code, last)
	}
}

// wantSelfieGroups checks how many objects an audit counted per version, and that it counted nothing else.
func wantSelfieGroups(t *testing.T, report auditReport, root string, want map[string]int64) {
	t.Helper()
	found := make(map[string]int64)
	for _, g := range report.Groups {
		if g.Root != root || g.Group != "stable.example.com" || g.Resource != "selfierequests" || g.Stored == nil || g.Stored.Kind != "SelfieRequest" {
			t.Errorf("unexpected group %+v", g)
			continue
		}
		found[g.Stored.APIVersion] += g.Objects
	}
	if !maps.Equal(found, want) {
		t.Errorf("audit counts %v, want %v", found, want)
	}
}

// wantSelfiesV1Kept checks that v1 cannot go yet.
func (p *plane) wantSelfiesV1Kept(t *testing.T) {
	t.Helper()
	cmd := exec.Command(playgroundBinary(t), "kubectl", "apply", "-f", selfieFile("selfierequests-v2"))
	cmd.Env = append(cmd.Environ(), p.env...)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "storedVersions") {
		t.Errorf("v1 went while storedVersions named it: %v\n%s", err, out)
	}
}
