package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestSubresourceStatus: a policy refuses the update of an object, and does not mind one of its status. A naive version
// writes the object all the same, or takes a 200 of a resource without a status for done.
func TestSubresourceStatus(t *testing.T) {
	p := startPlane(t, "", "--without-controller-manager")
	const guards, dir = "guards.odd.example.com", oddDir + "guards/"
	p.oddDefine(t, oddManifest(t, "guards"), oddManifest(t, "hollows"))
	for name, owner := range map[string]string{"disowned": "nobody", "owned": "somebody"} {
		p.oddCreate(t, "guards", oddObject("v1", "Guard", name, map[string]any{"owner": owner}))
	}
	if _, err := p.oddAPI(t, "guards", "v1").Patch(t.Context(), "disowned", types.MergePatchType, []byte(`{"status":{"phase":"Watching"}}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	p.oddCreate(t, "hollows", oddObject("v1", "Hollow", "one", map[string]any{"size": "small"}))
	for _, crd := range []string{guards, "hollows.odd.example.com"} {
		p.kubectl(t, "", "patch", "crd", crd, "--type=json", "-p", oddStoreSecond)
	}
	p.oddAwaitStored(t, "guards", "Guard", "v1", "v2", map[string]any{"owner": "somebody"})
	p.oddAwaitStored(t, "hollows", "Hollow", "v1", "v2", map[string]any{"size": "small"})
	p.kubectl(t, oddManifest(t, "guards-policy"), "apply", "-f", "-")
	await(t, 30*time.Second, "the policy to be in force", func(ctx context.Context) (bool, string) {
		_, err := p.oddAPI(t, "guards", "v1").Patch(ctx, "disowned", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		return err != nil, fmt.Sprint(err)
	})
	before := p.raw(t, dir)

	for _, args := range [][]string{{"--subresource", "scale"}, {"--subresource", "nothing"}} {
		res := p.svmctl(t, append([]string{"migrate", guards, "--yes"}, args...)...)
		if res.code != 1 && res.code != 2 {
			t.Errorf("exit status %d\n%s", res.code, res)
		}
		p.oddWantUnwritten(t, dir, before)
	}
	without := p.raw(t, oddDir+"hollows/")
	hollow := p.svmctl(t, "migrate", "hollows.odd.example.com", "--subresource", "status", "--yes")
	hollow.wantCode(t, 1)
	hollow.wantError(t, "hollows.odd.example.com", "subresource", "status")
	p.oddWantUnwritten(t, oddDir+"hollows/", without)

	dry := p.svmctl(t, "migrate", guards, "--dry-run=server", "-o", "json")
	dry.wantCode(t, 3)
	dry.wantStdout(t, "disowned", "refused by admission policy")
	p.svmctl(t, "migrate", guards, "--dry-run=server", "--subresource", "status").wantCode(t, 0)
	p.oddWantUnwritten(t, dir, before)

	refused := p.svmctl(t, "migrate", guards, "--yes", "-o", "json")
	refused.wantCode(t, 3)
	report := refused.oddMigration(t)
	if len(report.Failures) != 1 || report.Failures[0].Name != "disowned" || report.Failures[0].By != "guards.odd.example.com" || report.Failures[0].Code != 422 {
		t.Errorf("failures are %+v, want disowned refused by the policy", report.Failures)
	}
	if verdict(report.Verdict) != "Incomplete" || report.Outcomes.Rewritten != 1 || report.Outcomes.Failed != 1 {
		t.Errorf("verdict %s, outcomes %+v", verdict(report.Verdict), report.Outcomes)
	}
	named := false
	for _, note := range report.Plan.Resources[0].Preflight {
		named = named || note.Subject != "" && note.Code != "Nothing"
	}
	if !named {
		t.Errorf("the plan does not name the policy: %+v", report.Plan.Resources[0].Preflight)
	}

	through := p.svmctl(t, "migrate", guards, "--yes", "--subresource", "status", "-o", "json")
	through.wantCode(t, 0)
	if report = through.oddMigration(t); verdict(report.Verdict) != "Complete" || report.Outcomes.Rewritten != 1 || len(report.Failures) != 0 {
		t.Errorf("verdict %s, outcomes %+v, failures %+v", verdict(report.Verdict), report.Outcomes, report.Failures)
	}
	for i, kv := range p.raw(t, dir) {
		was, is := oddDecode(t, before[i]), oddDecode(t, kv)
		if is["apiVersion"] != "odd.example.com/v2" || len(oddLosses("", was, is)) > 0 || fmt.Sprint(was["spec"], was["status"]) != fmt.Sprint(is["spec"], is["status"]) {
			t.Errorf("%s has changed from %v to %v", kv.Key, was, is)
		}
	}
}
