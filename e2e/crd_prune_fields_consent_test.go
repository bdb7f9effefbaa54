package e2e

import (
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

// TestPruneFieldsUnderASchemaOfTheMeantime: the in-tree controller begins long after svmctl has looked, and asks for no
// resourceVersion. The schema is another one for a moment, and then as it was when svmctl looked: what was written under it
// and dropped after it nobody has seen, and a naive version calls it Complete.
func TestPruneFieldsUnderASchemaOfTheMeantime(t *testing.T) {
	p := startPlane(t, "")
	p.oddDefine(t, oddManifest(t, "widgets-wide"))
	p.oddCreate(t, "widgets", oddObject("v1", "Widget", "one", map[string]any{"size": "small"}))
	p.oddDefine(t, oddManifest(t, "widgets-narrow"))
	p.oddAwaitStored(t, "widgets", "Widget", "v1", "v2", map[string]any{"size": "small"})

	p.playground(t, "stop", "kube-controller-manager")
	run := p.start(t, "migrate", widgetCRD, "--backend", "svm", "--yes", "-o", "json")
	p.awaitMigration(t)
	p.oddDefine(t, oddManifest(t, "widgets-wide"))
	p.oddDefine(t, oddManifest(t, "widgets-narrow"))
	p.playground(t, "start", "kube-controller-manager")
	stop := p.oddPulse(t)
	res := run.wait(t)
	stop()
	if report := res.oddMigration(t); res.code != 4 || verdict(report.Verdict) != "Indeterminate" {
		t.Errorf("exit status %d, verdict %s; nobody knows by which schema the objects were pruned", res.code, verdict(report.Verdict))
	}
	res.wantStdout(t, "WouldPrune", "definition was changed")
}
