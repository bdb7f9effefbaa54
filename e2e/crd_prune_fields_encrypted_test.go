package e2e

import (
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// TestPruneFieldsOfEncryptedObjects: of an encrypted object nobody can see what a rewrite would drop, nor at which version
// it is stored. A naive version that finds no field that would be lost, and no object at another version, goes on.
func TestPruneFieldsOfEncryptedObjects(t *testing.T) {
	for _, resource := range []string{widgetCRD, "'*.*'"} {
		t.Run(strings.Trim(resource, "'"), func(t *testing.T) {
			of := []string{resource}
			p := startPlane(t, encryptionOf(of, "identity", "aescbc:key1", "aescbc:key2"), "--without-controller-manager")
			p.oddDefine(t, oddManifest(t, "widgets-wide"))
			p.oddCreate(t, "widgets", oddObject("v1", "Widget", "plain", map[string]any{"size": "small"}))
			p.oddDefine(t, oddManifest(t, "widgets-wide"))
			p.rotate(t, encryptionOf(of, "aescbc:key1", "aescbc:key2", "identity"))
			p.oddCreate(t, "widgets", oddObject("v1", "Widget", "hidden", map[string]any{"size": "small", "extra": canaryInData}))
			// Values are encrypted, so that the field itself tells when the narrow definition is in force.
			p.oddDefine(t, oddManifest(t, "widgets-narrow"))
			await(t, runLimit, "the apiserver to take up the narrow schema", p.oddHidden(t, "hidden"))
			before := p.raw(t, widgetDir)
			if len(before) != 2 || encryptedAs(before[0].Value) != "aescbc:key1" || encryptedAs(before[1].Value) != "identity" {
				t.Fatalf("etcd holds %d widgets", len(before))
			}

			row := p.oddRows(t, 3, widgetCRD, "--fail")[widgetCRD]
			row.wantBlocked(t, "cannot be seen", "encrypted")
			if row.Unknown != 1 || fmt.Sprint(row.Stored) != "map[v1:1]" {
				t.Errorf("%d unknown, stored %v, want 1 and 1 at v1", row.Unknown, row.Stored)
			}
			p.svmctl(t, "crds", "prune", widgetCRD).wantCode(t, 3)
			p.svmctl(t, "crds", "prune", widgetCRD, "--force").wantCode(t, 3)
			if stored := p.kubectl(t, "", "get", "crd", widgetCRD, "-o", "jsonpath={.status.storedVersions}"); stored != `["v1","v2"]` {
				t.Errorf("storedVersions is %s", stored)
			}
			p.wantOpenedFieldsSeen(t, before)
			// The in-tree controller would write both.
			svm := p.svmctl(t, "migrate", widgetCRD, "--backend", "svm", "--yes", "-o", "json")
			svm.wantCode(t, 3)
			svm.wantError(t, "cannot be seen", "--allow-pruning", "nothing was written")
			p.oddWantUnwritten(t, widgetDir, before)
			// A patch would write both as well: nobody can see that the encrypted one is at its version already.
			p.svmctl(t, "migrate", widgetCRD, "--yes").wantCode(t, 3)
			p.oddWantUnwritten(t, widgetDir, before)
			half := p.svmctl(t, "migrate", widgetCRD, "--yes", "--allow-pruning", "-o", "json")
			half.wantCode(t, 4)
			if report := half.oddMigration(t); verdict(report.Verdict) != "Indeterminate" || report.Outcomes.Rewritten != 2 || report.Outcomes.AlreadyCurrent != 0 {
				t.Errorf("verdict %s, outcomes %+v, want both rewritten and nothing claimed", verdict(report.Verdict), report.Outcomes)
			}
			// The second time the apiserver finds nothing to write, which is no failure, and no proof either.
			again := p.svmctl(t, "migrate", widgetCRD, "--yes", "--allow-pruning", "-o", "json")
			again.wantCode(t, 4)
			if report := again.oddMigration(t); verdict(report.Verdict) != "Indeterminate" || report.Outcomes.AlreadyCurrent != 2 || len(report.Failures) != 0 {
				t.Errorf("verdict %s, outcomes %+v, failures %+v", verdict(report.Verdict), report.Outcomes, report.Failures)
			}

			p.rotate(t, encryptionOf(of, "aescbc:key2", "aescbc:key1", "identity"))
			before = p.raw(t, widgetDir)
			rekey := []string{"migrate", widgetCRD, "--to", "aescbc:key2", "-o", "json"}
			dry := p.svmctl(t, append(rekey, "--dry-run")...)
			dry.wantCode(t, 0)
			if planned := dry.oddMigration(t).Plan.Resources[0]; planned.Unchecked != 2 || planned.WouldPrune != 0 {
				t.Errorf("the plan is %+v, want 2 unchecked", planned)
			}
			refused := p.svmctl(t, append(rekey, "--yes")...)
			refused.wantCode(t, 3)
			refused.wantError(t, widgetCRD, "cannot be seen", "--allow-pruning", "--snapshot-first", "nothing was written")
			if report := refused.oddMigration(t); len(report.prunedBy("unchecked")) != 2 || len(report.Pruned) != 2 || report.Outcomes.Rewritten != 0 {
				t.Errorf("pruned %+v, outcomes %+v, want 2 unchecked", report.Pruned, report.Outcomes)
			}
			p.oddWantUnwritten(t, widgetDir, before)

			allowed := p.svmctl(t, append(rekey, "--yes", "--allow-pruning")...)
			report := allowed.oddMigration(t)
			if report.Outcomes.Rewritten != 2 || len(report.prunedBy("unchecked")) != 2 || len(report.Failures) != 0 {
				t.Errorf("outcomes %+v, pruned %+v, failures %+v, want 2 rewritten and unchecked", report.Outcomes, report.Pruned, report.Failures)
			}
			allowed.wantCode(t, 0) // only the key was asked for
			for _, kv := range p.raw(t, widgetDir) {
				if is := encryptedAs(kv.Value); is != "aescbc:key2" {
					t.Errorf("%s is under %s", kv.Key, is)
				}
			}
			p.oddRows(t, 0, widgetCRD)[widgetCRD].wantBlocked(t, "cannot be seen")
		})
	}
}

// wantOpenedFieldsSeen: with the EncryptionConfiguration the version of each widget is seen, and what a rewrite would drop.
func (p *plane) wantOpenedFieldsSeen(t *testing.T, before []*mvccpb.KeyValue) {
	t.Helper()
	file := []string{"--encryption-provider-config", p.config}
	row := p.oddRows(t, 3, append(file, widgetCRD, "--fail")...)[widgetCRD]
	if row.State != "NeedsMigration" || row.Unknown != 0 || fmt.Sprint(row.Stored) != "map[v1:2]" {
		t.Errorf("%s with %d unknown, stored %v, want all versions seen", row.State, row.Unknown, row.Stored)
	}
	check := p.crdCheck(t, 0, oddCRD(t, "widgets-narrow"), file...).CRDs[0]
	if check.Unknown != 0 || check.Objects != 2 {
		t.Errorf("the check has %+v, want both objects seen", check)
	}
	refused := p.svmctl(t, append([]string{"migrate", widgetCRD, "--yes", "-o", "json"}, file...)...)
	refused.wantCode(t, 3)
	refused.wantError(t, "drops fields", "nothing was written")
	if lost := refused.oddMigration(t).prunedBy("refused"); fmt.Sprint(lost) != "map["+widgetDir+"default/hidden:[spec.extra]]" {
		t.Errorf("fields that would be lost are %v", lost)
	}
	p.oddWantUnwritten(t, widgetDir, before)
}
