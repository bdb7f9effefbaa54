package render_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/migrate"
)

func TestCustomMigrationGolden(t *testing.T) {
	objects := []string{"current", "me", "odd", "wide", "you"}
	refused := selfieCluster(objects...).migrateSelfies(t, asked)
	for name, opts := range map[string]render.Options{
		"migrate.pruned.table": options(render.Table), "migrate.pruned.colour.table": coloured(render.Table), "migrate.pruned.json": options(render.JSON),
		"migrate.pruned.one.table": {Format: render.Table, Palette: render.NewPalette(false), MaxFindings: 1},
	} {
		compareGolden(t, name, renderMigration(t, refused, opts))
	}

	file := filepath.Join(t.TempDir(), "before.db")
	lost := selfieCluster("current", "me", "wide", "you").migrateSelfies(t, func(r *migrate.Request) {
		r.AllowPruning, r.SnapshotFile = true, file
	})
	if lost.Snapshot == nil {
		t.Fatal("no snapshot was taken")
	}
	lost.Snapshot.Path = "before.db"
	compareGolden(t, "migrate.lost.table", renderMigration(t, lost, options(render.Table)))
	compareGolden(t, "migrate.custom.json", renderMigration(t, lost, options(render.JSON)))
	for name, f := range map[string]render.Format{"migrate.custom.dry-run.table": render.Table, "migrate.custom.dry-run.wide": render.Wide} {
		tried := selfieCluster(objects...).migrateSelfies(t, func(r *migrate.Request) { r.DryRun = migrate.ClientDryRun })
		compareGolden(t, name, renderMigration(t, tried, options(f)))
	}

	lagging := selfieCluster("current", "me")
	lagging.stores["second"] = "v1"
	apart := lagging.migrateSelfies(t, asked)
	compareGolden(t, "migrate.not-converged.table", renderMigration(t, apart, options(render.Table)))
	compareGolden(t, "migrate.not-converged.json", renderMigration(t, apart, options(render.JSON)))
	forced := lagging.migrateSelfies(t, func(r *migrate.Request) { r.APIServers.Force = true })
	compareGolden(t, "migrate.forced.table", renderMigration(t, forced, options(render.Table)))
}

// What a plan knows of its resources stands below them: the worst is not lost among what could not be read.
func TestPlanGolden(t *testing.T) {
	plan := &migrate.Plan{Backend: migrate.Patch, Bytes: 4096, Resources: []migrate.PlannedResource{
		{
			Target: migrate.Target{Resource: selfies, Version: "stable.example.com/v2", From: "config",
				Reason: "CustomResourceDefinition " + selfies + ": v2 is its storage version"},
			Objects: 40, Stale: 20, Bytes: 4096, Namespaces: 2, Terminating: 3, WouldPrune: 2, Unchecked: 1,
			Conversion: "Webhook: service stable/converter port 443 path \"/convert\"",
			Preflight: []migrate.Note{
				{Code: "NoBackend", Severity: "blocking", Subject: "ValidatingWebhookConfiguration guard", Message: "its service has no ready endpoint, and it fails closed"},
				{Code: "NotRead", Severity: "warning", Subject: "mutatingadmissionpolicies.admissionregistration.k8s.io", Message: "not read: the apiserver answered 403"},
				{Code: "Slow", Severity: "warning", Subject: "MutatingWebhookConfiguration \x1b[2Jslow", Message: "may take 30 s for each object"},
				{Code: "NotRead", Severity: "warning", Subject: "validatingadmissionpolicies.admissionregistration.k8s.io", Message: "not read: the apiserver answered 403"},
				{Code: "ConversionAnswers", Severity: "info", Subject: "conversion webhook of " + selfies, Message: "it answers"},
			},
		},
		{Target: migrate.Target{Resource: "secrets", Value: "aescbc:key2", From: "flag"}, Objects: 3, Stale: 3, Refused: "no API serves it", Preflight: []migrate.Note{}},
	}}
	var out bytes.Buffer
	if err := render.Plan(&out, plan); err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "migrate.plan", out.Bytes())
}
