package render_test

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/migrate"
)

// These lists repeat what the report types say, on purpose: scripts depend on the names, so that none may change or go by
// accident. A new field is added here and to docs/json.md.
var auditFields = []string{
	"apiVersion", "kind",
	"tool.version",
	"verdict",
	"reasons[].code", "reasons[].severity", "reasons[].resource", "reasons[].expected", "reasons[].found", "reasons[].objects", "reasons[].message",
	"source.type", "source.endpoints[]", "source.path", "source.sha256", "source.integrity", "source.clusterID", "source.kine", "source.revision",
	"scope.prefixes[]", "scope.history", "scope.found", "scope.outside", "scope.whole",
	"startedAt", "finishedAt",
	"totals.keys", "totals.bytes",
	"expectations[].resource", "expectations[].value", "expectations[].version", "expectations[].from", "expectations[].reason",
	"encryptionConfig", "encryptionConfig.path", "encryptionConfig.hash", "encryptionConfig.open",
	"candidate", "candidate.path", "candidate.hash", "candidate.open",
	"groups[].root", "groups[].group", "groups[].resource",
	"groups[].atRest.provider", "groups[].atRest.version", "groups[].atRest.key", "groups[].atRest.keyID", "groups[].atRest.keyInferred",
	"groups[].stored", "groups[].stored.apiVersion", "groups[].stored.kind", "groups[].stored.encoding",
	"groups[].opened", "groups[].authenticated", "groups[].note", "groups[].objects", "groups[].bytes",
	"history", "history.compacted", "history.revisions",
	"history.groups[].root", "history.groups[].group", "history.groups[].resource", "history.groups[].note", "history.groups[].revisions", "history.groups[].bytes",
	"history.groups[].atRest.provider", "history.groups[].atRest.version", "history.groups[].atRest.key", "history.groups[].atRest.keyID", "history.groups[].atRest.keyInferred",
	"findingCount", "findingsOmitted",
	"findings[].code", "findings[].severity", "findings[].key", "findings[].group", "findings[].resource", "findings[].namespace", "findings[].name",
	"findings[].modRevision", "findings[].message", "findings[].expected", "findings[].found",
}

var migrationFields = []string{
	"apiVersion", "kind",
	"tool.version",
	"verdict",
	"reasons[].code", "reasons[].severity", "reasons[].resource", "reasons[].expected", "reasons[].found", "reasons[].objects", "reasons[].message",
	"stopped", "stopped.code", "stopped.message", "stopped.hint",
	"dryRun", "backend",
	"targets[].resource", "targets[].value", "targets[].version", "targets[].from", "targets[].reason",
	"plan.resources[].resource", "plan.resources[].value", "plan.resources[].version", "plan.resources[].from", "plan.resources[].objects",
	"plan.resources[].stale", "plan.resources[].bytes", "plan.resources[].namespaces", "plan.resources[].refused",
	"plan.resources[].reason", "plan.resources[].terminating", "plan.resources[].unreadable", "plan.resources[].wouldPrune", "plan.resources[].unchecked", "plan.resources[].converted", "plan.resources[].conversion",
	"plan.resources[].preflight[].code", "plan.resources[].preflight[].severity", "plan.resources[].preflight[].subject", "plan.resources[].preflight[].message",
	"plan.backend", "plan.revision", "plan.bytes", "plan.dbSize", "plan.quota",
	"outcomes.rewritten", "outcomes.alreadyCurrent", "outcomes.notRewritten", "outcomes.changedByOthers", "outcomes.deleted", "outcomes.failed", "outcomes.accepted",
	"rounds",
	"apiservers.known", "apiservers.counted", "apiservers.asked", "apiservers.agree", "apiservers.forced",
	"apiservers.disagreements[].server", "apiservers.disagreements[].identity", "apiservers.disagreements[].what", "apiservers.disagreements[].found",
	"apiservers.disagreements[].others", "apiservers.disagreements[].wanted", "apiservers.disagreements[].reloadedAt", "apiservers.missing[]", "apiservers.gone[]", "apiservers.unchecked[]",
	"settled", "settled.seconds", "settled.writes", "settled.late",
	"snapshot", "snapshot.path", "snapshot.sha256",
	"elsewhere[].resource", "elsewhere[].value", "elsewhere[].objects", "elsewhere[].note",
	"warnings[]",
	"startedAt", "finishedAt",
	"prunedCount", "prunedOmitted",
	"pruned[].key", "pruned[].resource", "pruned[].paths[]", "pruned[].omitted", "pruned[].state", "pruned[].text",
	"failureCount", "failuresOmitted",
	"failures[].key", "failures[].resource", "failures[].namespace", "failures[].name", "failures[].code", "failures[].kind", "failures[].reason",
	"failures[].by", "failures[].fields[]", "failures[].text", "failures[].message",
}

// fields adds the paths of all that is neither an object nor a list.
func fields(paths map[string]bool, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			fields(paths, strings.TrimPrefix(path+"."+name, "."), inner)
		}
	case []any:
		for _, inner := range v {
			fields(paths, path+"[]", inner)
		}
	default:
		paths[path] = true
	}
}

func expectFields(t *testing.T, got map[string]bool, want []string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(got)) {
		if !slices.Contains(want, path) {
			t.Errorf("%s is new", path)
		}
	}
	for _, path := range want {
		if !got[path] {
			t.Errorf("%s is gone", path)
		}
	}
}

func parseJSON(t *testing.T, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return v
}

func TestAuditFields(t *testing.T) {
	got := make(map[string]bool)
	report := rotation().audit(t, "secrets=aescbc:key2")
	fields(got, "", parseJSON(t, renderAudit(t, report, options(render.JSON))))
	report.Encryption, report.Candidate, report.History = new(audit.Encryption), new(audit.Encryption), &audit.History{Groups: []audit.OldGroup{{}}}
	fields(got, "", parseJSON(t, renderAudit(t, report, options(render.JSON))))
	expectFields(t, got, auditFields)
}

func TestMigrationFields(t *testing.T) {
	refusing := mendable()
	refusing.refuses = map[string]string{"db": webhookRefusal, "mail": validationRefusal}
	refusing.put("/registry/configmaps/default/sealed", sealed("aescbc:v1:key1"))
	lagging := mendable()
	lagging.ignores = true
	for _, name := range []string{"a", "b"} {
		lagging.put("/registry/secrets/many/"+name, sealed("aescbc:v1:key1"))
	}
	everything := rotation()
	everything.put("/registry/stable.example.com/selfierequests/default/sealed", sealed("aescbc:v1:key1"))

	pruning := selfieCluster("me", "wide").migrateSelfies(t, func(r *migrate.Request) {
		r.AllowPruning, r.SnapshotFile = true, filepath.Join(t.TempDir(), "before.db")
	})
	doubted := mendable().migrate(t, asked)
	doubted.Settled, doubted.After.Encryption, doubted.After.Candidate = new(migrate.Settled), new(audit.Encryption), new(audit.Encryption)
	doubted.After.History = &audit.History{Groups: []audit.OldGroup{{}}}
	doubted.APIServers.Agreement = apiservers.Agreement{Agree: new(false), Disagreements: []apiservers.Disagreement{{Server: "10.0.0.1:6443"}},
		Missing: []string{"apiserver-1"}, Gone: []string{"apiserver-2"}, Unchecked: []string{"something"}}

	got, before, after := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	for _, report := range []*migrate.Report{
		pruning, doubted,
		refusing.migrate(t, func(r *migrate.Request) { r.ShowMessages = true }),
		lagging.migrate(t, asked),
		everything.migrate(t, func(r *migrate.Request) {
			r.Resources, r.DryRun = nil, migrate.ClientDryRun
			r.Expectations = expectations(t, []string{"selfierequests.stable.example.com=aescbc:key2"})
		}),
	} {
		document := parseJSON(t, renderMigration(t, report, options(render.JSON))).(map[string]any)
		fields(before, "", document["before"])
		if document["after"] != nil {
			fields(after, "", document["after"])
		}
		delete(document, "before")
		delete(document, "after")
		fields(got, "", document)
	}
	expectFields(t, got, migrationFields)
	expectFields(t, after, slices.DeleteFunc(slices.Clone(auditFields), func(f string) bool { return f == "groups[].note" && !after[f] }))
	for path := range before {
		if !slices.Contains(auditFields, path) && path != "findings" {
			t.Errorf("before.%s is no field of an audit report", path)
		}
	}
}

// What scripts iterate over is a list even when there is nothing in it.
func TestListsAreNeverNull(t *testing.T) {
	c := newCluster()
	c.put("/registry/secrets/default/app", sealed("aescbc:v1:key2"))
	document := parseJSON(t, renderAudit(t, c.audit(t), options(render.JSON))).(map[string]any)
	for _, name := range []string{"reasons", "expectations", "groups", "findings"} {
		if _, ok := document[name].([]any); !ok {
			t.Errorf("%s is %v", name, document[name])
		}
	}
	document = parseJSON(t, renderMigration(t, c.migrate(t, asked), options(render.JSON))).(map[string]any)
	for _, name := range []string{"reasons", "targets", "elsewhere", "warnings", "pruned", "failures"} {
		if _, ok := document[name].([]any); !ok {
			t.Errorf("%s is %v", name, document[name])
		}
	}
	for _, name := range []string{"disagreements", "missing", "gone", "unchecked"} {
		if list, ok := document["apiservers"].(map[string]any)[name].([]any); !ok {
			t.Errorf("apiservers.%s is %v", name, list)
		}
	}
	odd := parseJSON(t, renderMigration(t, selfieCluster("odd").migrateSelfies(t, asked), options(render.JSON))).(map[string]any)
	if paths, ok := odd["pruned"].([]any)[0].(map[string]any)["paths"].([]any); !ok || len(paths) > 0 {
		t.Errorf("paths is %v", paths)
	}
	refusing := mendable()
	refusing.refuses = map[string]string{"db": webhookRefusal}
	document = parseJSON(t, renderMigration(t, refusing.migrate(t, asked), options(render.JSON))).(map[string]any)
	failure := document["failures"].([]any)[0].(map[string]any)
	if _, ok := failure["fields"].([]any); !ok {
		t.Errorf("fields is %v", failure["fields"])
	}
}

// Whoever adds up findings and those left out gets their number.
func TestFindingsAddUp(t *testing.T) {
	refusing := mendable()
	refusing.refuses = map[string]string{"db": webhookRefusal}
	document := parseJSON(t, renderMigration(t, refusing.migrate(t, asked), options(render.JSON))).(map[string]any)
	for _, name := range []string{"before", "after"} {
		report := document[name].(map[string]any)
		listed, omitted, count := len(report["findings"].([]any)), report["findingsOmitted"].(float64), report["findingCount"].(float64)
		if float64(listed)+omitted != count {
			t.Errorf("%s lists %d findings and omits %v of %v", name, listed, omitted, count)
		}
	}
}

func TestYAMLHoldsWhatJSONHolds(t *testing.T) {
	refusing := mendable()
	refusing.refuses = map[string]string{"db": webhookRefusal, "mail": validationRefusal}
	report := refusing.migrate(t, asked)
	asJSON, err := yaml.YAMLToJSON(renderMigration(t, report, options(render.YAML)))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(parseJSON(t, asJSON))
	want, _ := json.Marshal(parseJSON(t, renderMigration(t, report, options(render.JSON))))
	if string(got) != string(want) {
		t.Errorf("YAML\n%s\nJSON\n%s", got, want)
	}
}
