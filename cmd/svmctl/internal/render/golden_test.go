package render_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/migrate"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

// compareGolden compares with a file in testdata/golden, or writes it.
func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("..", "..", "..", "..", "testdata", "golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s\n(make golden writes the file)", name, got, want)
	}
}

func renderAudit(t *testing.T, r *audit.Report, opts render.Options) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := render.Audit(&out, r, opts); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func renderMigration(t *testing.T, r *migrate.Report, opts render.Options) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := render.Migration(&out, r, opts); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// options are those without colour and with every finding.
func options(f render.Format) render.Options {
	return render.Options{Format: f, Palette: render.NewPalette(false), MaxFindings: -1}
}

func coloured(f render.Format) render.Options {
	return render.Options{Format: f, Palette: render.NewPalette(true), MaxFindings: -1}
}

// rotation is a cluster in the middle of a rotation from key1 to key2, with a little of everything.
func rotation() *cluster {
	c := newCluster()
	c.put("/registry/apiextensions.k8s.io/customresourcedefinitions/selfierequests.stable.example.com",
		plain("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "selfierequests.stable.example.com"))
	c.put("/registry/configmaps/kube-system/settings", plain("v1", "ConfigMap", "kube-system", "settings"))
	c.put("/registry/deployments/default/web", plain("apps/v1", "Deployment", "default", "web"))
	c.put("/registry/masterleases/10.0.0.1", plain("v1", "Endpoints", "", ""))
	c.put("/registry/secrets/default/app", sealed("aescbc:v1:key2"))
	c.put("/registry/secrets/default/db", sealed("aescbc:v1:key1"))
	c.put("/registry/secrets/default/mail", sealed("aescbc:v1:key1"))
	c.put("/registry/secrets/kube-system/bootstrap", plain("v1", "Secret", "kube-system", "bootstrap"))
	c.put("/registry/secrets/kube-system/odd", "\x00\x01")
	c.put("/registry/stable.example.com/selfierequests/default/me", plain("stable.example.com/v1", "SelfieRequest", "default", "me"))
	c.put("/else/where", "not Kubernetes")
	return c
}

func TestAuditGolden(t *testing.T) {
	judged := rotation().audit(t, "secrets=aescbc:key2", "version deployments.apps=apps/v1")
	for name, opts := range map[string]render.Options{
		"audit.table": options(render.Table), "audit.colour.table": coloured(render.Table), "audit.wide": options(render.Wide),
		"audit.json": options(render.JSON), "audit.yaml": options(render.YAML), "audit.csv": options(render.CSV),
		"audit.one-finding.table": {Format: render.Table, Palette: render.NewPalette(false), MaxFindings: 1},
	} {
		compareGolden(t, name, renderAudit(t, judged, opts))
	}
	// Colour is for people: what programs read is the same with a palette that colours.
	for name, f := range map[string]render.Format{"audit.json": render.JSON, "audit.yaml": render.YAML, "audit.csv": render.CSV} {
		compareGolden(t, name, renderAudit(t, judged, coloured(f)))
	}
	compareGolden(t, "audit.unjudged.table", renderAudit(t, rotation().audit(t), options(render.Table)))

	complete := newCluster()
	complete.put("/registry/secrets/default/app", sealed("aescbc:v1:key2"))
	compareGolden(t, "audit.complete.colour.table", renderAudit(t, complete.audit(t, "*=encrypted"), coloured(render.Table)))
}
