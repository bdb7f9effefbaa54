package e2e

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestPruneFieldsOfCurrentObjects: an object that lies at the storage version already holds a field that the schema does
// not know. A rewrite by patches leaves it alone; the in-tree controller writes every object, so that with it a naive
// version, which looks at the stale objects alone, loses the field.
func TestPruneFieldsOfCurrentObjects(t *testing.T) {
	p := startPlane(t, "")
	const current = widgetDir + "default/current"
	small := map[string]any{"size": "small"}
	p.oddDefine(t, oddManifest(t, "widgets-wide"))
	p.oddCreate(t, "widgets", oddObject("v1", "Widget", "stale", small))
	p.oddCreate(t, "widgets", oddObject("v1", "Widget", "stale-too", small))
	// The definition stores at v2 now and still knows the field.
	p.kubectl(t, "", "patch", "crd", widgetCRD, "--type=json", "-p", oddStoreSecond)
	p.oddAwaitStored(t, "widgets", "Widget", "v1", "v2", small)
	p.oddCreate(t, "widgets", oddObject("v1", "Widget", "current", map[string]any{"size": "small", "extra": canaryInData}))
	p.oddDefine(t, oddManifest(t, "widgets-narrow"))
	await(t, 30*time.Second, "the apiserver to take up the narrow schema", p.oddHidden(t, "current"))
	before := p.raw(t, widgetDir)
	if len(before) != 3 || oddDecode(t, before[0])["spec"].(map[string]any)["extra"] != canaryInData {
		t.Fatalf("etcd holds %d widgets, and the first is %v", len(before), before[0])
	}

	refused := p.svmctl(t, "migrate", widgetCRD, "--backend", "svm", "--yes", "-o", "json")
	refused.wantCode(t, 3)
	refused.wantError(t, widgetCRD, "fields", "--allow-pruning", "nothing was written")
	want := map[string][]string{current: {"spec.extra"}}
	report := refused.oddMigration(t)
	if !reflect.DeepEqual(report.prunedBy("refused"), want) || len(report.Pruned) != 1 {
		t.Errorf("pruned is %+v, want %v", report.Pruned, want)
	}
	p.oddWantUnwritten(t, widgetDir, before)

	// A patch of the stale objects alone loses nothing, and needs no consent.
	patched := p.svmctl(t, "migrate", widgetCRD, "--yes", "-o", "json")
	patched.wantCode(t, 0)
	if report = patched.oddMigration(t); len(report.Pruned) != 0 || report.Outcomes.Rewritten != 2 {
		t.Errorf("pruned %+v, outcomes %+v, want 2 rewritten and nothing lost", report.Pruned, report.Outcomes)
	}
	after := p.raw(t, widgetDir)
	if string(after[0].Key) != current || after[0].ModRevision != before[0].ModRevision {
		t.Errorf("%s was written", after[0].Key)
	}

	// With consent the controller goes on, and the report lists what is gone.
	for _, name := range []string{"stale", "stale-too"} {
		p.oddEdit(t, widgetDir+"default/"+name, func(object map[string]any) { object["apiVersion"] = "odd.example.com/v1" })
	}
	p.restartControllers(t)
	run := p.start(t, "migrate", widgetCRD, "--backend", "svm", "--allow-pruning", "--yes", "-o", "json")
	stop := p.oddPulse(t)
	allowed := run.wait(t)
	stop()
	allowed.wantCode(t, 0)
	if report = allowed.oddMigration(t); !reflect.DeepEqual(report.prunedBy("lost"), want) || len(report.Pruned) != 1 {
		t.Errorf("pruned is %+v, want %v lost", report.Pruned, want)
	}
	for _, kv := range p.raw(t, widgetDir) {
		object := oddDecode(t, kv)
		if _, has := object["spec"].(map[string]any)["extra"]; has || object["apiVersion"] != "odd.example.com/v2" {
			t.Errorf("%s is at %v, has the field: %v", kv.Key, object["apiVersion"], has)
		}
	}
}

// oddPulse writes further widgets until stop is called. It begins when the migration is there, so that svmctl has seen none
// of them.
func (p *plane) oddPulse(t *testing.T) (stop func()) {
	t.Helper()
	p.awaitMigration(t)
	api := p.oddAPI(t, "widgets", "v1")
	return pulse(t, func(ctx context.Context, n int) {
		_, _ = api.Create(ctx, oddObject("v1", "Widget", fmt.Sprintf("pulse-%04d", n), map[string]any{"size": "small"}), metav1.CreateOptions{})
	})
}
