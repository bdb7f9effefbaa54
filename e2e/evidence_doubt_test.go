package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestEvidenceInDoubt: whatever cannot be looked at, or turns up while a bundle is made, keeps the claims that it concerns from passing.
func TestEvidenceInDoubt(t *testing.T) {
	events := startEtcd(t)
	covered := []string{"secrets", "events"}
	p := startPlane(t, encryptionOf(covered, "aescbc:key1", "identity"), "--without-controller-manager", "--user", "watcher",
		"--apiserver-arg=--etcd-servers-overrides=/events#"+events.variable("ETCDCTL_ENDPOINTS"))
	p.createSecrets(t, "default", "app", 5)
	p.kubectl(t, eventNamed("one"), "create", "-f", "-")
	audit := func(t *testing.T, bundle string, code int, args ...string) {
		t.Helper()
		p.svmctl(t, append([]string{"audit", "--evidence", bundle, "--previous", "none"}, args...)...).wantCode(t, code)
		p.svmctl(t, "evidence", "verify", bundle).wantCode(t, 0)
	}
	secrets := []string{"--expect", "secrets=aescbc:key1"}
	whole := append([]string{"--encryption-provider-config", p.config, "--reconcile-api"}, secrets...)

	t.Run("a resource in another etcd", func(t *testing.T) {
		audit(t, "override", 4, "--encryption-provider-config", p.config, "--reconcile-api")
		p.wantWhy(t, "override", "SVM-E1", "events")
		p.wantWhy(t, "override", "SVM-E2", "events")
		p.wantWhy(t, "override", "SVM-E3", "events")
		// What is said of secrets alone does not depend on where events are.
		audit(t, "secrets-only", 0, append([]string{"--reconcile-api", "--prefix", "/registry/secrets"}, secrets...)...)
		p.wantClaims(t, "secrets-only", "SVM-E1 pass", "SVM-E2 pass", "SVM-E3 inconclusive")
	})
	t.Run("the API was not asked to list", func(t *testing.T) {
		audit(t, "unreconciled", 0, secrets...)
		for _, id := range []string{"SVM-E1", "SVM-E2", "SVM-E3"} {
			p.wantWhy(t, "unreconciled", id, "--reconcile-api was not given")
		}
	})
	t.Run("an apiserver without metrics", func(t *testing.T) {
		audit(t, "no-metrics", 0, append([]string{"--as", "nobody", "--reconcile-api"}, secrets...)...)
		p.wantWhy(t, "no-metrics", "SVM-E4", "metrics")
		p.wantWhy(t, "no-metrics", "SVM-E5", "does not tell what it writes")
		p.wantWhy(t, "no-metrics", "SVM-E1", "could not be compared")
	})
	t.Run("no kubeconfig", func(t *testing.T) {
		audit(t, "no-kubeconfig", 0, append([]string{"--context", "none", "--reconcile-api"}, secrets...)...)
		for _, id := range []string{"SVM-E1", "SVM-E4", "SVM-E5"} {
			p.wantWhy(t, "no-kubeconfig", id, "there is no kubeconfig that can be used")
		}
	})
	t.Run("an object that is only in etcd", func(t *testing.T) {
		const ghost = "/registry/secrets/default/ghost"
		p.putByHand(t, ghost, "k8s:enc:aescbc:v1:key1:"+string(encryptedCBC(t, "key1", ghost, "k8s no object")))
		defer p.etcd.Delete(t.Context(), ghost)
		audit(t, "ghost", 3, append([]string{"--prefix", "/registry/secrets"}, whole...)...)
		p.wantWhy(t, "ghost", "SVM-E1", "could not be compared with the API")
	})
	t.Run("a key that opens nothing", func(t *testing.T) {
		const closed = "/registry/secrets/default/closed"
		p.putByHand(t, closed, "k8s:enc:aescbc:v1:key1:"+string(encryptedCBC(t, "other", closed, `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"closed","namespace":"default"}}`)))
		defer p.etcd.Delete(t.Context(), closed)
		audit(t, "closed", 3, append([]string{"--prefix", "/registry/secrets"}, whole...)...)
		p.wantWhy(t, "closed", "SVM-E1", "cannot be opened")
		p.wantWhy(t, "closed", "SVM-E2", "cannot be opened")
		p.wantWhy(t, "closed", "SVM-E3", "cannot be opened")
	})
	t.Run("objects that are created meanwhile", func(t *testing.T) {
		// In plaintext, without a pause, so that some come after the revision that is read. Those before it are found there.
		ctx, stop := context.WithCancel(t.Context())
		var writing sync.WaitGroup
		writing.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, _ = p.etcd.Put(ctx, fmt.Sprintf("/registry/secrets/late/s-%d", i%500), fmt.Sprintf(`{"kind":"Secret","apiVersion":"v1","metadata":{"name":"s-%d","namespace":"late"}}`, i%500))
			}
		})
		result := p.svmctl(t, append([]string{"audit", "--evidence", "meanwhile", "--reconcile-api"}, secrets...)...)
		stop()
		writing.Wait()
		if result.code != 3 && result.code != 0 {
			t.Errorf("exit status %d\n%s", result.code, result)
		}
		p.wantClaims(t, "meanwhile", "SVM-E1 fail", "SVM-E2 fail", "SVM-E5 fail")
		p.wantWhy(t, "meanwhile", "SVM-E1", "were written in plaintext after that revision")
		p.etcdctl(t, "del", "/registry/secrets/late/", "--prefix")
	})
	t.Run("names are hidden, and approved deviations stay nameless", func(t *testing.T) {
		const open = "/registry/secrets/default/canary-name"
		p.putByHand(t, open, `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"canary-name","namespace":"default"}}`)
		defer p.etcd.Delete(t.Context(), open)
		key, approved := p.write(t, "redaction.key", strings.Repeat("0123456789", 4)), p.write(t, "approved.yaml", `
exceptions:
- {id: EX-1, selector: {resource: secrets, namespace: default, name: canary-name}, reason: a test, approver: the chief, expires: 2099-01-01}
- {id: EX-2, selector: {resource: secrets, name: other-canary-name}, reason: a test, approver: the chief, expires: 2020-01-01}`)
		audit(t, "hidden", 3, append([]string{"--prefix", "/registry/secrets", "--reconcile-api", "--redact", "hmac", "--redaction-key", key, "--exceptions", approved, "--csv"}, secrets...)...)
		p.wantClaims(t, "hidden", "SVM-E1 pass")
		p.wantNoText(t, "hidden", "canary-name", "app-0000")
	})
}
