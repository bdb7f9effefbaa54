package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wantCandidatePluginsAsked judges candidates by the plugins that they name themselves.
func (c *cipherPlane) wantCandidatePluginsAsked(t *testing.T) {
	nobody := filepath.Join(c.dir, "nobody.sock")
	for _, x := range []struct {
		name     string
		secrets  []string
		code     int
		findings string // of all secrets
		said     []string
	}{
		{"without the plugin", []string{"aescbc:key3"}, 3, "CandidateCannotRead", nil},
		{"the plugin elsewhere", []string{"kms-v2:vault=" + nobody}, 4, "CandidateCannotRead", []string{"vault", nobody, "does not answer"}},
		{"a further plugin that is not there", []string{"kms-v2:fresh=" + nobody, "kms-v2:vault=" + c.v2.socket}, 4, "CandidateRewrites", []string{"fresh", nobody, "does not answer"}},
		{"another key first", []string{"aesgcm:key2", "kms-v2:vault=" + c.v2.socket}, 0, "CandidateRewrites", nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			file := filepath.Join(c.dir, "candidate.yaml")
			own := encryptionRule([]string{"secrets"}, "kms-v2:vault="+c.v2.socket)
			text := strings.Replace(c.rules(), own, encryptionRule([]string{"secrets"}, x.secrets...), 1)
			text = strings.Replace(text, encryptionRule([]string{"configmaps"}, "kms-v1:older="+c.v1.socket, "identity"), encryptionRule([]string{"configmaps"}, "identity", "kms-v1:older="+c.v1.socket), 1)
			text = strings.ReplaceAll(text, "timeout: 3s", "timeout: 500ms")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			was := c.v2.decrypted(t)
			audit := c.svmctl(t, "audit", "--encryption-provider-config", c.config, "--candidate", file, "-o", "json")
			if c.v2.decrypted(t) > was && !strings.Contains(audit.stderr, "asks the KMS plugin vault") {
				t.Errorf("the plugin was asked, and that was not said\n%s", audit.stderr)
			}
			audit.wantCode(t, x.code)
			found := make(map[string]int)
			for _, f := range audit.audit(t).Findings {
				if f.Key != "" && f.Resource != "configmaps" {
					found[f.Resource+" "+f.Code]++
				}
			}
			if found["secrets "+x.findings] != 8+3 || len(found) != 1 {
				t.Errorf("findings %v", found)
			}
			if x.said != nil {
				audit.wantError(t, x.said...)
			}
		})
	}
}
