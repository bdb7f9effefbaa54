package e2e

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
)

// crates have their fields in lists, in maps and where the schema keeps whatever there is. The narrow definition stores at
// v2 and does not know spec.notes, a part of each of spec.parts and of spec.doors any more.
const (
	crateHead = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crates.odd.example.com}
spec:
  group: odd.example.com
  scope: Namespaced
  names: {plural: crates, singular: crate, kind: Crate}
  versions:
`
	crateWide = crateHead + `  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {
      size: {type: string}, notes: {type: object, properties: {inner: {type: string}}},
      parts: {type: array, items: {type: object, properties: {name: {type: string}, hidden: {type: string}}}},
      doors: {type: object, additionalProperties: {type: object, properties: {shown: {type: string}, hidden: {type: string}}}},
      free: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}}
  - {name: v2, served: true, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`
	crateNarrow = crateHead + `  - {name: v1, served: true, storage: false, schema: &narrow {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {
      size: {type: string},
      parts: {type: array, items: {type: object, properties: {name: {type: string}}}},
      doors: {type: object, additionalProperties: {type: object, properties: {shown: {type: string}}}},
      free: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}}
  - {name: v2, served: true, storage: true, schema: *narrow}
`
)

// TestPruneFieldsNamesWhatTheApiserverDrops compares the paths of the report with what was in etcd before and is not
// after, apart from svmctl. A naive version looks at the top of the spec alone, or holds a field for lost that the schema
// keeps unseen.
func TestPruneFieldsNamesWhatTheApiserverDrops(t *testing.T) {
	t.Run("json", func(t *testing.T) { wantCratesPruned(t, startPlane(t, "", "--without-controller-manager")) })
	t.Run("cbor", func(t *testing.T) {
		wantCratesPruned(t, startPlane(t, "", "--without-controller-manager", "--apiserver-arg=--feature-gates=CBORServingAndStorage=true"))
	})
}

func wantCratesPruned(t *testing.T, p *plane) {
	const crates, name = oddDir + "crates/", "crates.odd.example.com"
	p.oddDefine(t, crateWide)
	secret := func(s string) string { return canaryInData + " in " + s }
	p.oddCreate(t, "crates", oddObject("v1", "Crate", "full", map[string]any{
		"size": "small", "notes": map[string]any{"inner": secret("notes")},
		"parts": []any{map[string]any{"name": "one"}, map[string]any{"name": "two", "hidden": secret("parts")}},
		"doors": map[string]any{"front": map[string]any{"shown": "1", "hidden": secret("doors")}, "back": map[string]any{"shown": "2"}},
		"free":  map[string]any{"anything": map[string]any{"at": secret("all")}},
	}))
	p.oddCreate(t, "crates", oddObject("v1", "Crate", "light", map[string]any{"size": "small", "free": map[string]any{"x": secret("free")}}))
	p.oddDefine(t, crateNarrow)
	p.oddAwaitStored(t, "crates", "Crate", "v2", "v2", map[string]any{"size": "small"})

	before := p.raw(t, crates)
	refused := p.svmctl(t, "migrate", name, "--yes", "-o", "json")
	refused.wantCode(t, 3)
	refused.wantError(t, name, "--allow-pruning", "--snapshot-first", "nothing was written")
	p.oddWantUnwritten(t, crates, before)
	report := refused.oddMigration(t)
	want := map[string][]string{crates + "default/full": {"spec.doors.front.hidden", "spec.notes", "spec.parts[1].hidden"}}
	if got := report.prunedBy("refused"); !reflect.DeepEqual(got, want) || len(report.Pruned) != len(want) {
		t.Errorf("pruned is %+v, want the refused %v alone", report.Pruned, want)
	}
	if verdict(report.Verdict) != "Incomplete" || report.Stopped == nil || report.Stopped.Code != "WouldPrune" || report.Outcomes.Rewritten != 0 {
		t.Errorf("verdict %s, stopped %+v, outcomes %+v", verdict(report.Verdict), report.Stopped, report.Outcomes)
	}
	if planned := report.Plan.Resources[0]; planned.WouldPrune != 1 || planned.Stale != 2 || planned.Unchecked != 0 {
		t.Errorf("the plan is %+v, want 2 stale, 1 that would be pruned", planned)
	}

	allowed := p.svmctl(t, "migrate", name, "--yes", "--allow-pruning", "-o", "json")
	allowed.wantCode(t, 0)
	report = allowed.oddMigration(t)
	if got := report.prunedBy("lost"); !reflect.DeepEqual(got, want) || len(report.Pruned) != len(want) {
		t.Errorf("pruned is %+v, want the lost %v alone", report.Pruned, want)
	}
	if verdict(report.Verdict) != "Complete" || report.Outcomes.Rewritten != 2 {
		t.Errorf("verdict %s, outcomes %+v", verdict(report.Verdict), report.Outcomes)
	}
	lost := make(map[string][]string)
	for i, kv := range p.raw(t, crates) {
		is := oddDecode(t, kv)
		if is["apiVersion"] != "odd.example.com/v2" {
			t.Errorf("%s is stored at %v", kv.Key, is["apiVersion"])
		}
		if paths := oddLosses("", oddDecode(t, before[i]), is); paths != nil {
			lost[string(kv.Key)] = paths
		}
	}
	if !reflect.DeepEqual(lost, want) {
		t.Errorf("etcd lost %v, want %v", lost, want)
	}
}

// TestPruneFieldsRefusesAllBeforeAnyIsWritten: of many objects one would lose a field. A naive version writes those that
// come before it and stops there.
func TestPruneFieldsRefusesAllBeforeAnyIsWritten(t *testing.T) {
	p := startPlane(t, "", "--without-controller-manager")
	p.oddDefine(t, oddManifest(t, "widgets-wide"))
	lossy := map[string][]string{}
	for i := range 20 {
		spec := map[string]any{"size": "small"}
		if i == 11 || i == 17 {
			spec["extra"] = fmt.Sprint(canaryInData, i)
			lossy[fmt.Sprintf("%sdefault/w-%02d", widgetDir, i)] = []string{"spec.extra"}
		}
		p.oddCreate(t, "widgets", oddObject("v1", "Widget", fmt.Sprintf("w-%02d", i), spec))
	}
	p.oddDefine(t, oddManifest(t, "widgets-narrow"))
	p.oddAwaitStored(t, "widgets", "Widget", "v1", "v2", map[string]any{"size": "small"})
	before := p.raw(t, widgetDir)

	dry := p.svmctl(t, "migrate", widgetCRD, "--dry-run", "-o", "json")
	dry.wantCode(t, 0)
	if report := dry.oddMigration(t); report.Plan.Resources[0].WouldPrune != 2 || !reflect.DeepEqual(report.prunedBy("refused"), lossy) {
		t.Errorf("the dry run shows %+v and %+v, want 2 that would be pruned", report.Plan.Resources, report.Pruned)
	}
	p.svmctl(t, "migrate", widgetCRD, "--dry-run").wantStdout(t, "w-11", "w-17", "spec.extra")
	server := p.svmctl(t, "migrate", widgetCRD, "--dry-run=server")
	server.wantCode(t, 3)
	server.wantError(t, "fields", "--allow-pruning")
	for _, args := range [][]string{
		{"migrate", widgetCRD, "--yes"},
		{"migrate", widgetCRD, "--yes", "-o", "yaml"},
		{"migrate", widgetCRD, "--yes", "--force"}, // of another consent
		{"migrate", widgetCRD, "--yes", "--backend", "svm"},
	} {
		res := p.svmctl(t, args...)
		res.wantCode(t, 3)
		res.wantError(t, widgetCRD, "fields", "--allow-pruning", "nothing was written")
		res.wantStdout(t, "spec.extra", "w-11", "w-17", "Incomplete")
	}
	// What nobody named keeps nothing else from being migrated, and the verdict from Complete.
	all := p.svmctl(t, "migrate", "--all-stale-versions", "--yes")
	all.wantCode(t, 3)
	all.wantStdout(t, widgetCRD, "fields", "--allow-pruning", "spec.extra", "w-11", "w-17", "Incomplete")
	p.svmctl(t, "migrate", "--all-stale-versions", "--dry-run=server").wantCode(t, 3)
	p.oddWantUnwritten(t, widgetDir, before)

	allowed := p.svmctl(t, "migrate", widgetCRD, "--yes", "--allow-pruning", "-o", "json")
	allowed.wantCode(t, 0)
	if report := allowed.oddMigration(t); !reflect.DeepEqual(report.prunedBy("lost"), lossy) || report.Outcomes.Rewritten != 20 {
		t.Errorf("pruned %+v, outcomes %+v, want %v lost", report.Pruned, report.Outcomes, slices.Collect(maps.Keys(lossy)))
	}
	for i, kv := range p.raw(t, widgetDir) {
		_, had := oddDecode(t, before[i])["spec"].(map[string]any)["extra"]
		if extra, has := oddDecode(t, kv)["spec"].(map[string]any)["extra"]; has {
			t.Errorf("%s still has its field %v (it had it before: %v)", kv.Key, extra, had)
		}
	}
}
