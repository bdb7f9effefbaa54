package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// plaintextByNameAlone has a file whose first provider for configmaps is identity: nothing is decrypted unless somebody says so.
// All is under key2, but for one secret under key3.
func (p *plane) plaintextByNameAlone(t *testing.T) {
	const dir = "/registry/configmaps/"
	_, rest, _ := strings.Cut(encryptionOf(all, "aescbc:key2", "aescbc:key3"), "resources:\n")
	p.rotate(t, encryptionOf([]string{"configmaps"}, "identity", "aescbc:key2")+rest)
	migrate := func(args ...string) result {
		return p.svmctl(t, slices.Concat([]string{"migrate", "--encryption-provider-config", p.config, "--yes", "--settle", "0"}, args)...)
	}
	before := p.everything(t, dir)

	refused := migrate("configmaps")
	refused.wantCode(t, 2)
	refused.wantError(t, "configmaps", "plaintext", "svmctl migrate configmaps --to identity")
	if !maps.Equal(before, p.everything(t, dir)) {
		t.Errorf("something was written\n%s", refused)
	}

	others := migrate("-o", "json")
	others.wantCode(t, 3)
	report := others.migration(t)
	if verdict(report.Verdict) != "Incomplete" || report.Outcomes.Rewritten != 1 || report.Outcomes.Failed != 0 ||
		!slices.ContainsFunc(report.Warnings, func(w string) bool {
			return strings.Contains(w, "configmaps") && strings.Contains(w, "--to identity")
		}) {
		t.Errorf("want the secret to be rewritten and the configmaps to be left out and named\n%s", others)
	}
	if !maps.Equal(before, p.everything(t, dir)) {
		t.Errorf("configmaps were written\n%s", others)
	}
	if n := len(before); len(report.Elsewhere) != 1 || report.Elsewhere[0].Resource != "configmaps" || *report.Elsewhere[0].Objects != int64(n) {
		t.Errorf("want the %d configmaps elsewhere\n%s", n, others)
	}
	p.wantAllUnder(t, "aescbc:key2")

	named := migrate("configmaps", "--to", "identity")
	named.wantCode(t, 0)
	named.wantStdout(t, "Verdict: Complete")
	if now := p.everything(t, dir); count(now, "identity") != len(before) {
		t.Errorf("configmaps are %v, want all in plaintext", now)
	}
	migrate().wantCode(t, 0)
	p.canRemove(t, "identity", "no", []string{"configmaps"})
}
