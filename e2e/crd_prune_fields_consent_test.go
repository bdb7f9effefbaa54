package e2e

import (
	"reflect"
	"testing"
	"time"
)

// TestPruneFieldsNarrowedBeforeTheAnswer: the schema is narrowed while the person reads the plan. What the plan said of the
// wider one is no consent; a naive version goes on with it.
func TestPruneFieldsNarrowedBeforeTheAnswer(t *testing.T) {
	p := startPlane(t, "", "--without-controller-manager")
	small := map[string]any{"size": "small"}
	p.oddDefine(t, oddManifest(t, "widgets-wide"))
	p.oddCreate(t, "widgets", oddObject("v1", "Widget", "one", map[string]any{"size": "small", "extra": canaryInData}))
	p.kubectl(t, "", "patch", "crd", widgetCRD, "--type=json", "-p", oddStoreSecond)
	p.oddAwaitStored(t, "widgets", "Widget", "v1", "v2", small)
	before := p.raw(t, widgetDir)

	term := p.onTerminal(t, "migrate", widgetCRD, "-o", "json")
	term.answer(t, "[y/N]", "")
	p.oddDefine(t, oddManifest(t, "widgets-narrow"))
	await(t, 30*time.Second, "the apiserver to take up the narrow schema", p.oddHidden(t, "one"))
	term.answer(t, "", "y\n")
	res := term.wait(t)
	if report := res.oddMigration(t); res.code != 3 || report.Outcomes.Rewritten != 0 || len(report.prunedBy("refused")) != 1 {
		t.Errorf("exit status %d, verdict %s, %d rewritten, pruned %+v; want 3 and the one object refused", res.code, verdict(report.Verdict),
			report.Outcomes.Rewritten, report.Pruned)
	}
	p.oddWantUnwritten(t, widgetDir, before)
}

// TestPruneFieldsWrittenBeforeTheController: the in-tree controller begins long after svmctl has looked, and asks for no
// resourceVersion. What was written meanwhile loses its field all the same; then the report must not call it done without
// a word.
func TestPruneFieldsWrittenBeforeTheController(t *testing.T) {
	p := startPlane(t, "")
	small := map[string]any{"size": "small"}
	p.oddDefine(t, oddManifest(t, "widgets-wide"))
	p.oddCreate(t, "widgets", oddObject("v1", "Widget", "one", small))
	p.oddCreate(t, "widgets", oddObject("v1", "Widget", "two", small))
	p.oddDefine(t, oddManifest(t, "widgets-narrow"))
	p.oddAwaitStored(t, "widgets", "Widget", "v1", "v2", small)
	since := p.revision(t)

	run := p.start(t, "migrate", widgetCRD, "--backend", "svm", "--yes", "-o", "json")
	p.awaitMigration(t)
	p.oddEdit(t, widgetDir+"default/two", func(object map[string]any) { object["spec"].(map[string]any)["extra"] = canaryInData })
	stop := p.oddPulse(t)
	res := run.wait(t)
	stop()
	lost := p.oddLost(t, since)
	if !reflect.DeepEqual(lost, []string{widgetDir + "default/two"}) {
		t.Fatalf("%v lost their field: the test shows nothing", lost)
	}
	report := res.oddMigration(t)
	if res.code == 0 || verdict(report.Verdict) == "Complete" || len(report.Pruned) == 0 {
		t.Errorf("exit status %d, verdict %s, pruned %+v; an object lost its field without consent", res.code, verdict(report.Verdict), report.Pruned)
	}
}
