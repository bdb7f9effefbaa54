package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// wantPluginSpared: nobody who does not ask for it has a plugin decrypt more than a thousand data keys.
func (c *cipherPlane) wantPluginSpared(t *testing.T) {
	const many = 1000
	inParallel(t, 16, many, func(ctx context.Context, i int) error {
		config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("many-%03d", i)}, Data: map[string]string{"password": canaryInData}}
		_, err := c.kube.CoreV1().ConfigMaps("default").Create(ctx, config, metav1.CreateOptions{})
		return err
	})
	keys, _ := c.dataKeys(t)
	opened := func(limit int64, args ...string) {
		t.Helper()
		was := c.v1.decrypted(t)
		audit := c.svmctl(t, append([]string{"audit", "--encryption-provider-config", c.config, "--expect", "configmaps=encrypted", "-o", "json"}, args...)...)
		audit.wantCode(t, 0)
		if got := c.v1.decrypted(t) - was; got != limit {
			t.Errorf("%v: the plugin was asked %d times, want %d", args, got, limit)
		}
		if said := fmt.Sprintf("the KMS plugin older for %d data keys\n", limit); !strings.Contains(audit.stderr, said) {
			t.Errorf("%v: stderr\n%swant %s", args, audit.stderr, said)
		}
		report := audit.audit(t)
		c.wantSums(t, report)
		got := make(map[string]int64)
		for _, g := range report.Groups {
			if g.Resource == "configmaps" {
				got[g.Opened] += g.Objects
			}
		}
		if got["verified"] != limit || got["notTried"] != keys-limit {
			t.Errorf("%v: opened %v of %d", args, got, keys)
		}
		if closed := report.reason("NotOpened"); closed.Objects != keys-limit {
			t.Errorf("%v: %+v", args, closed)
		}
	}
	opened(1000)
	opened(keys, "--open", "all")
}
