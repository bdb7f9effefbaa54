package render_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/crd/upgrade"
	"github.com/svmctl/svmctl/internal/gate"
)

func gateRow(name, verdict string) gate.Row {
	return gate.Row{Name: name, Verdict: verdict, Problems: []gate.Problem{}, Stored: map[string]int{}, Unreadable: map[string]int{},
		Already: map[string]int{}, Lost: map[string]int{}, Doubts: []string{}}
}

// upgradeOfAll is the report on a set of definitions, one for each thing that can be said.
func upgradeOfAll() *gate.Report {
	clean := gateRow("gadgets.example.com", "Clean")
	clean.Objects, clean.Stored, clean.Converted = 4, map[string]int{"v1": 3, "v2": 1}, 3
	fresh := gateRow("planets.example.com", "Clean")
	fresh.New = true
	loses := gateRow("widgets.example.com", "Loses")
	loses.Objects, loses.Stored, loses.Unreadable = 12, map[string]int{"v1alpha1": 2, "v1": 9, "": 1}, map[string]int{"v1alpha1": 2, "": 1}
	loses.Losing, loses.Lost, loses.Omitted = 5, map[string]int{"spec.extra": 5, "spec.ports[*].proto": 1, "metadata.labels[\"a\\x1b\"]": 1}, 7
	rejected := gateRow("relics.example.com", "Rejected")
	rejected.Objects, rejected.Stored, rejected.Unreadable = 1, map[string]int{"v1": 1}, map[string]int{"v1": 1}
	rejected.Problems = []gate.Problem{
		{Code: upgrade.Refused, Field: "status.storedVersions[0]", Message: `Invalid value "v1": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions`},
		{Code: upgrade.UnknownField, Field: "spec.oops", Message: "not a field of apiextensions.k8s.io/v1"},
	}
	unknown := gateRow("guards.example.com", "Unknown")
	unknown.Objects, unknown.Unknown, unknown.Already, unknown.Stored = 8, 6, map[string]int{"v0": 2}, map[string]int{"v0": 2}
	unknown.Doubts = []string{"the cluster's definition was changed while etcd was read"}
	return &gate.Report{
		APIVersion: audit.APIVersion, Kind: "CRDCheckReport", Tool: audit.Tool{Version: "v1.0.0"}, Verdict: "Rejected",
		Source: audit.Source{Type: "etcd", Endpoints: []string{"https://127.0.0.1:2379"}, Integrity: "absent", ClusterID: "cdf818194e3a8c32", Revision: 4711},
		Scope:  audit.Scope{Prefixes: []string{"/registry/example.com/gadgets/", "/registry/example.com/widgets/"}, Found: true, Whole: true},
		CRDs:   []gate.Row{clean, fresh, loses, rejected, unknown}, Skipped: 2,
		StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), FinishedAt: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC),
	}
}

func renderGate(t *testing.T, r *gate.Report, opts render.Options) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := render.Gate(&out, r, opts); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestGateGolden(t *testing.T) {
	r := upgradeOfAll()
	for name, opts := range map[string]render.Options{
		"gate-all.table": options(render.Table), "gate-all.colour.table": coloured(render.Table), "gate-all.wide": options(render.Wide),
		"gate-all.json": coloured(render.JSON), "gate-all.yaml": options(render.YAML),
	} {
		compareGolden(t, name, renderGate(t, r, opts))
	}
	r.CRDs, r.Verdict, r.Skipped = r.CRDs[1:2], "Clean", 0
	compareGolden(t, "gate-clean.table", renderGate(t, r, options(render.Table)))
}

func TestGateOfManyFieldsIsShort(t *testing.T) {
	r := upgradeOfAll()
	row := gateRow("many.example.com", "Loses")
	row.Losing = 1
	for i := range 64 {
		row.Lost["spec."+strings.Repeat("x", i+1)] = 1
	}
	r.CRDs = []gate.Row{row}
	text := string(renderGate(t, r, options(render.Table)))
	if n := strings.Count(text, " in 1 object\n"); n != 20 || !strings.Contains(text, "… and 44 more fields; -o json lists them") {
		t.Errorf("%d fields are named:\n%s", n, text)
	}
}

func TestGateIsInert(t *testing.T) {
	r := upgradeOfAll()
	row := gateRow("a\x1b[2Jb", "Loses")
	row.Losing, row.Lost, row.Unreadable = 1, map[string]int{"spec\x1b[2J": 1}, map[string]int{"v\x1b[2J": 1}
	row.Stored, row.Already = row.Unreadable, row.Unreadable
	row.Doubts = []string{"\x1b[2J\nDoubt"}
	row.Problems = []gate.Problem{{Code: upgrade.Refused, Field: "\x1b[2J", Message: "\x1b[2J\r"}}
	r.CRDs = append(r.CRDs, row)
	for _, f := range []render.Format{render.Table, render.Wide, render.JSON, render.YAML} {
		if text := renderGate(t, r, options(f)); bytes.ContainsAny(text, "\x1b\r") {
			t.Errorf("%s: a control character came through:\n%q", f, text)
		}
	}
}

func TestGateHasNoCSV(t *testing.T) {
	if err := render.Gate(io.Discard, upgradeOfAll(), options(render.CSV)); err == nil {
		t.Error("it was written")
	}
}
