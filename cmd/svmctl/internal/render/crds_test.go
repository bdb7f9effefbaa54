package render_test

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/storedversions"
	"github.com/svmctl/svmctl/internal/verify"
)

// crdCluster has a custom resource in each state.
func crdCluster() *cluster {
	c := newCluster()
	both := []string{"v1", "v2"}
	put := func(plural, version, kind, name string) {
		c.put("/registry/example.com/"+plural+"/default/"+name, custom("example.com/"+version, kind, name, "{}"))
	}
	c.define("gadgets.example.com", "Gadget", []string{"v1"}, []string{"v1"})
	c.put("/registry/example.com/gadgets/default/a", `{"kind":"Gadget","apiVersion":"example.com/v1","metadata":{"name":"a","namespace":"default",`+
		`"managedFields":[{"manager":"kubectl","operation":"Apply","apiVersion":"example.com/v1alpha1"}]}}`)
	c.define("planets.example.com", "Planet", both, both)
	put("planets", "v2", "Planet", "earth")
	c.define("selfies.example.com", "Selfie", []string{"v2"}, []string{"v10", "v1", "v2"})
	put("selfies", "v1", "Selfie", "a")
	put("selfies", "v10", "Selfie", "b")
	put("selfies", "v2", "Selfie", "c")
	c.define("vaults.example.com", "Vault", both, both)
	put("vaults", "v1", "Vault", "open")
	for _, name := range []string{"x", "y", "z"} {
		c.put("/registry/example.com/vaults/default/"+name, sealed("aescbc:v1:key1"))
	}
	c.put("/registry/gone.example.com/relics/default/old", custom("gone.example.com/v1", "Relic", "old", "{}"))
	return c
}

func (c *cluster) crdRequest(t *testing.T) storedversions.Request {
	return storedversions.Request{
		Store: c, Origin: source(), Definitions: c.definitions(t), Version: "v1.0.0", Now: c.clock,
		Served: func(context.Context) (map[verify.Resource]bool, bool) { return nil, true },
	}
}

func (c *cluster) survey(t *testing.T) *storedversions.Report {
	t.Helper()
	r, err := storedversions.Survey(t.Context(), c.crdRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (c *cluster) prune(t *testing.T, change func(*storedversions.PruneRequest)) *storedversions.Report {
	t.Helper()
	req := storedversions.PruneRequest{Request: c.crdRequest(t), Client: c.definitions(t), Agreement: func(context.Context, *crd.Definition) apiservers.Agreement {
		return apiservers.Agreement{Known: 3, Counted: true, Asked: 3, Agree: new(true)}
	}}
	change(&req)
	r, err := storedversions.Prune(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// racing is the cluster with a definition of which an object of the dropped version is written right after it was dropped.
func racing() *cluster {
	c := crdCluster()
	c.define("racers.example.com", "Racer", []string{"v1", "v2"}, []string{"v1", "v2"})
	c.late = map[string]func(){"racers.example.com": func() {
		c.put("/registry/example.com/racers/default/late", custom("example.com/v1", "Racer", "late", "{}"))
	}}
	return c
}

func renderCRDs(t *testing.T, r *storedversions.Report, opts render.Options) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := render.CRDs(&out, r, opts); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestCRDsGolden(t *testing.T) {
	report := crdCluster().survey(t)
	var states []storedversions.State
	for _, row := range report.CRDs {
		states = append(states, row.State)
	}
	for _, s := range []storedversions.State{storedversions.Clean, storedversions.Prunable, storedversions.NeedsMigration, storedversions.Blocked} {
		if !slices.Contains(states, s) {
			t.Fatalf("no row is %s: %v", s, states)
		}
	}
	for name, opts := range map[string]render.Options{
		"crds.table": options(render.Table), "crds.colour.table": coloured(render.Table), "crds.wide": options(render.Wide),
		"crds.json": options(render.JSON), "crds.yaml": options(render.YAML), "crds.csv": options(render.CSV),
	} {
		compareGolden(t, name, renderCRDs(t, report, opts))
	}
	compareGolden(t, "crds.json", renderCRDs(t, report, coloured(render.JSON)))
	none := newCluster()
	none.put("/registry/configmaps/default/a", plain("v1", "ConfigMap", "default", "a"))
	compareGolden(t, "crds.none.table", renderCRDs(t, none.survey(t), options(render.Table)))
}

func TestPruneGolden(t *testing.T) {
	report := racing().prune(t, func(*storedversions.PruneRequest) {})
	for name, opts := range map[string]render.Options{
		"crds.prune.table": options(render.Table), "crds.prune.colour.table": coloured(render.Table), "crds.prune.wide": options(render.Wide),
		"crds.prune.json": options(render.JSON), "crds.prune.csv": options(render.CSV),
	} {
		compareGolden(t, name, renderCRDs(t, report, opts))
	}
	compareGolden(t, "crds.prune.dry-run.table", renderCRDs(t, racing().prune(t, func(r *storedversions.PruneRequest) { r.DryRun = true }), options(render.Table)))

	apart := racing().prune(t, func(r *storedversions.PruneRequest) {
		r.Names = []string{"planets.example.com"}
		r.Agreement = func(context.Context, *crd.Definition) apiservers.Agreement {
			return apiservers.Agreement{Known: 3, Counted: true, Asked: 2, Agree: new(false), Missing: []string{"apiserver-2"}, Gone: []string{"apiserver-\x1b[2J"}}
		}
	})
	compareGolden(t, "crds.prune.not-converged.table", renderCRDs(t, apart, options(render.Table)))
}

// What was put back, or never written, was not dropped: a line that says so would be believed.
func TestPutBackIsNotDropped(t *testing.T) {
	row := storedversions.Row{Name: "racers.example.com", State: storedversions.NeedsMigration, Reason: "1 object is stored at v1", Refused: true,
		StoredVersions: []string{"v2", "v1"}, Dropped: []string{"v1"}, PutBack: []string{"v1"}}
	out := renderCRDs(t, &storedversions.Report{CRDs: []storedversions.Row{row}}, options(render.Table))
	if bytes.Contains(out, []byte("dropped")) || !bytes.Contains(out, []byte("put back v1")) {
		t.Errorf("got %s", out)
	}
	row.PutBack = []string{}
	row.Reason = "nobody can tell whether storedVersions was written"
	out = renderCRDs(t, &storedversions.Report{CRDs: []storedversions.Row{row}}, options(render.Table))
	if bytes.Contains(out, []byte("dropped")) || !bytes.Contains(out, []byte("refused: nobody can tell")) {
		t.Errorf("got %s", out)
	}
}

var crdFields = []string{
	"apiVersion", "kind",
	"tool.version",
	"source.type", "source.endpoints[]", "source.path", "source.sha256", "source.integrity", "source.clusterID", "source.kine", "source.revision",
	"scope.prefixes[]", "scope.history", "scope.found", "scope.outside", "scope.whole",
	"dryRun", "warnings[]", "startedAt", "finishedAt",
	"apiservers", "apiservers.known", "apiservers.counted", "apiservers.asked", "apiservers.agree",
	"crds[].name", "crds[].state", "crds[].reason", "crds[].storageVersion", "crds[].served[]", "crds[].storedVersions[]",
	"crds[].stored.v1", "crds[].stored.v2", "crds[].stored.v10", "crds[].unknown", "crds[].managedFields.objects", "crds[].managedFields.versions[]",
	"crds[].fromRevision", "crds[].toRevision", "crds[].dropped[]", "crds[].putBack[]", "crds[].refused",
}

func TestCRDFields(t *testing.T) {
	got := make(map[string]bool)
	pruned := racing().prune(t, func(*storedversions.PruneRequest) {})
	pruned.Warnings = append(pruned.Warnings, "trimmed by force")
	for _, r := range []*storedversions.Report{crdCluster().survey(t), pruned} {
		document := parseJSON(t, renderCRDs(t, r, options(render.JSON))).(map[string]any)
		fields(got, "", document)
		for _, row := range document["crds"].([]any) {
			for _, name := range []string{"served", "storedVersions", "dropped", "putBack"} {
				if _, ok := row.(map[string]any)[name].([]any); !ok {
					t.Errorf("%s is %v", name, row.(map[string]any)[name])
				}
			}
		}
	}
	expectFields(t, got, crdFields)
}
