package e2e

import (
	"slices"
	"strings"
	"testing"
)

// TestAuditUnderAnotherRoot has a control plane that stores where OpenShift's does.
func TestAuditUnderAnotherRoot(t *testing.T) {
	p := startPlane(t, encryption("aescbc:key1", "identity"), "--etcd-prefix=/kubernetes.io", "--without-controller-manager")
	p.namespace(t, "scope")
	p.createSecrets(t, "scope", "app", 25)
	p.putByHand(t, "/kubernetes.io/secretsfoo/scope/sibling", "no object")
	p.putByHand(t, "/somewhere/else", "nobody's business")
	secrets := p.raw(t, "/kubernetes.io/secrets/")
	if len(secrets) < 25 {
		t.Fatalf("etcd holds %d secrets", len(secrets))
	}

	t.Run("secrets alone", func(t *testing.T) {
		for _, prefix := range []string{"/kubernetes.io/secrets", "/kubernetes.io/secrets/"} {
			// Nothing meets the expectation, so that every object is a finding.
			result := p.svmctl(t, "audit", "--prefix", prefix, "--expect", "secrets=aescbc:key9", "-o", "json")
			result.wantCode(t, 3)
			report := result.audit(t)
			p.wantSums(t, report)
			var keys []string
			for _, f := range report.Findings {
				keys = append(keys, f.Key)
				if f.Code != "StaleKey" || f.Resource != "secrets" || f.Found != "aescbc:key1" || "/kubernetes.io/secrets/"+f.Namespace+"/"+f.Name != f.Key {
					t.Errorf("%+v", f)
				}
			}
			var want []string
			for _, kv := range secrets {
				want = append(want, string(kv.Key))
			}
			if !slices.Equal(keys, want) {
				t.Errorf("%s: findings on %q, etcd holds %q", prefix, keys, want)
			}
			for _, g := range report.Groups {
				if g.Root != "/kubernetes.io" || g.Resource != "secrets" {
					t.Errorf("%s: %+v", prefix, g)
				}
			}
		}
	})
	t.Run("the root that is found", func(t *testing.T) {
		result := p.svmctl(t, "audit", "-o", "json")
		report := result.audit(t)
		if !slices.Equal(report.Scope.Prefixes, []string{"/kubernetes.io/"}) {
			t.Errorf("found %q\n%s", report.Scope.Prefixes, result)
		}
		p.wantSums(t, report)
		if sums := report.byKey("secrets"); sums["aescbc:key1"] != int64(len(secrets)) || len(sums) != 1 {
			t.Errorf("secrets: %v", sums)
		}
		// The sibling is no object, and no apiserver wrote it.
		result.wantCode(t, 4)
		if len(report.Findings) != 1 || report.Findings[0].Key != "/kubernetes.io/secretsfoo/scope/sibling" || report.Findings[0].Code != "Undecodable" {
			t.Errorf("findings: %+v", report.Findings)
		}
	})
	t.Run("nothing of it under the default root", func(t *testing.T) {
		result := p.svmctl(t, "audit", "--prefix", "/registry")
		result.wantCode(t, 1)
		result.wantError(t, "no key under the prefix", "--etcd-prefix")
	})
	t.Run("as it was", func(t *testing.T) {
		was := p.revision(t)
		p.rotate(t, strings.Replace(encryption("aescbc:key2", "aescbc:key1", "identity"), "resources: [secrets, configmaps]", "resources: [secrets]", 1))
		p.kubectl(t, "", "annotate", "secret", "-n", "scope", "app-00003", "touched=yes")
		now := p.svmctl(t, "audit", "--prefix", "/kubernetes.io/secrets", "-o", "json").audit(t)
		then := p.svmctl(t, "audit", "--prefix", "/kubernetes.io/secrets", "--revision", itoa(was), "-o", "json").audit(t)
		if sums := now.byKey("secrets"); sums["aescbc:key2"] != 1 || sums["aescbc:key1"] != int64(len(secrets)-1) {
			t.Errorf("now: %v", sums)
		}
		if sums := then.byKey("secrets"); sums["aescbc:key1"] != int64(len(secrets)) || then.Source.Revision != was {
			t.Errorf("at revision %d: %v of revision %d", was, sums, then.Source.Revision)
		}
	})
}
