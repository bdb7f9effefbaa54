package e2e

import (
	"fmt"
	"os"
	"testing"
)

// wantClosed: what is not opened is said to be closed, and no plugin is asked about it.
func (c *cipherPlane) wantClosed(t *testing.T) {
	wasV1, wasV2 := c.v1.decrypted(t), c.v2.decrypted(t)
	none := c.svmctl(t, "audit", "--encryption-provider-config", c.config, "--open", "none", "--expect", "configmaps=encrypted", "-o", "json")
	none.wantCode(t, 0)
	report := none.audit(t)
	c.wantSums(t, report)
	if report.EncryptionConfig == nil || report.EncryptionConfig.Open != "none" || none.stderr != "" {
		t.Errorf("%+v, stderr %q", report.EncryptionConfig, none.stderr)
	}
	wantUnopened(t, report)

	bare := c.svmctl(t, "audit", "-o", "json")
	bare.wantCode(t, 0)
	report = bare.audit(t)
	if report.EncryptionConfig != nil || report.Verdict != nil {
		t.Errorf("%+v, verdict %s", report.EncryptionConfig, verdict(report.Verdict))
	}
	wantUnopened(t, report)
	for _, g := range report.Groups {
		as, _ := c.ruled(g.Resource, g.Group)
		if got := fmt.Sprint(g.AtRest.Provider, " ", g.AtRest.Version, " ", g.AtRest.Key); g.Resource != "" && got != as {
			t.Errorf("%s is %q without the file, want %q", g.Resource, got, as)
		}
	}
	if c.v1.decrypted(t) != wasV1 || c.v2.decrypted(t) != wasV2 {
		t.Error("a plugin was asked for data keys")
	}

	sample := c.svmctl(t, "audit", "--encryption-provider-config", c.config, "--open", "sample", "--expect", "configmaps=encrypted", "-o", "json")
	sample.wantCode(t, 0)
	report = sample.audit(t)
	c.wantSums(t, report)
	if report.EncryptionConfig == nil || report.EncryptionConfig.Open != "sample" {
		t.Errorf("%+v", report.EncryptionConfig)
	}
	opened := make(map[string]int64)
	for _, g := range report.Groups {
		if g.Resource == "clusterroles" && g.Root == "/registry" {
			opened[g.Opened] += g.Objects
		}
		if g.Opened == "notTried" && (g.Stored != nil || g.Authenticated) && g.Resource != "" {
			t.Errorf("not opened: %+v", g)
		}
	}
	if opened["verified"] == 0 || opened["notTried"] == 0 || len(opened) != 2 {
		t.Errorf("a sample of the clusterroles is %v", opened)
	}

	c.svmctl(t, "audit", "--open", "some").wantCode(t, 2)
}

// wantUnopened: plaintext is read all the same.
func wantUnopened(t *testing.T, report auditReport) {
	t.Helper()
	for _, g := range report.Groups {
		switch {
		case g.Resource == "":
		case g.AtRest.Provider == "identity" && g.Opened == "verified" && g.Stored != nil:
		case g.AtRest.Provider != "identity" && g.Opened == "notTried" && g.Stored == nil && !g.Authenticated:
		default:
			t.Errorf("opened: %+v", g)
		}
	}
}

// wantNothingLeft: no run left a file behind.
func (p *plane) wantNothingLeft(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(p.home)
	if err != nil || len(entries) > 0 {
		t.Errorf("svmctl left %v behind (%v)", entries, err)
	}
}
