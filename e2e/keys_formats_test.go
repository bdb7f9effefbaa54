package e2e

import (
	"encoding/csv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// keysFormats looks at one answer in each form. All is under key2, and key1 is still in the file.
func (p *plane) keysFormats(t *testing.T) {
	for _, format := range []string{"table", "wide"} {
		result := p.keys(t, "--can-remove", "aescbc:key1", "-o", format)
		result.wantCode(t, 0)
		result.wantStdout(t, "KEY", "REMOVABLE", "aescbc:key1", "aescbc:key2", "plaintext", "Can aescbc:key1 be removed from the EncryptionConfiguration? yes", "snapshots")
		if wide := strings.Contains(result.stdout, "DESTROYABLE"); wide != (format == "wide") {
			t.Errorf("-o %s has the column DESTROYABLE: %t\n%s", format, wide, result)
		}
	}

	document := p.keys(t, "-o", "json")
	document.wantCode(t, 0)
	report := document.keys(t)
	if report.APIVersion != "svmctl/v1alpha1" || report.Kind != "KeyReport" || report.CanRemove != nil || len(report.Keys) != 3 {
		t.Errorf("want a KeyReport of three keys without an answer\n%s", document)
	}
	if old := report.row(t, "aescbc:key1"); old.Write || old.Removable != "yes" || old.Destroyable != "unknown" || len(old.Objects) != 0 {
		t.Errorf("key1 is %+v, want it removable, and what history and snapshots hold unknown", old)
	}
	if now := report.row(t, "aescbc:key2"); !now.Write || now.Removable != "no" || now.Destroyable != "no" || now.Objects["secrets"] == 0 {
		t.Errorf("key2 is %+v, want it needed", now)
	}

	same := p.keys(t, "-o", "yaml")
	same.wantCode(t, 0)
	text, err := yaml.YAMLToJSON([]byte(same.stdout))
	if err != nil {
		t.Fatalf("stdout is no YAML: %v\n%s", err, same)
	}
	if got := (result{stdout: string(text)}).keys(t); len(got.Keys) != 3 || got.row(t, "aescbc:key1").Removable != "yes" {
		t.Errorf("the YAML document is another than the JSON one\n%s", same)
	}

	table := p.keys(t, "-o", "csv")
	table.wantCode(t, 0)
	rows, err := csv.NewReader(strings.NewReader(table.stdout)).ReadAll()
	if err != nil || len(rows) != 4 {
		t.Errorf("%d rows, %v: want a head and three keys\n%s", len(rows), err, table)
	}

	for key, near := range map[string]string{"aescbc:key9": "aescbc:key1", "secretbox:key1": "aescbc:key1"} {
		strange := p.keys(t, "--can-remove", key)
		strange.wantCode(t, 2)
		strange.wantError(t, key, near)
		if strange.stdout != "" {
			t.Errorf("something is on stdout\n%s", strange)
		}
	}
}

// keysThree begins a rotation on one that has not ended. All is under key2.
func (p *plane) keysThree(t *testing.T) {
	p.rotate(t, encryptionOf(all, "aescbc:key3", "aescbc:key2", "identity"))
	p.createSecrets(t, "default", "third", 1)
	if two := p.keys(t, "-o", "json").keys(t); len(two.Warnings) != 0 {
		t.Errorf("two keys, of which one is the write key, and the warnings are %v", two.Warnings)
	}
	p.rotate(t, encryptionOf(all, "aescbc:key1", "aescbc:key3", "aescbc:key2", "identity"))
	three := p.keys(t)
	three.wantCode(t, 0)
	three.wantStdout(t, "Warning: secrets have 3 live keys at once", "aescbc:key1, aescbc:key2, aescbc:key3")
	p.canRemove(t, "aescbc:key2", "no", []string{"clusterroles"})
	p.canRemove(t, "aescbc:key3", "no", []string{"1 secrets"})
	p.canRemove(t, "aescbc:key1", "no", []string{"writes *.*"})
}
