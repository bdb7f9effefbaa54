package e2e

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestKMSRotation rotates the key encryption key of a KMS v2 plugin, which leaves the prefix of every value alone.
func TestKMSRotation(t *testing.T) {
	const older, newer = 30, 4
	vault := startPlugin(t)
	p := startPlane(t, vault.encryption(1), "--without-controller-manager")
	p.createSecrets(t, "default", "older", older)
	vault.steer(t, "/rotate?id=kek-2")
	p.rotate(t, vault.encryption(2))
	p.createSecrets(t, "default", "newer", newer)
	p.wantUnderKEK(t, map[string]int{"kek-1": older, "kek-2": newer})
	config := []string{"--encryption-provider-config", p.config}
	migrate := slices.Concat([]string{"migrate", "secrets", "--yes", "--settle", "0", "-o", "json"}, config)

	t.Run("two keys are told apart", func(t *testing.T) {
		result := p.svmctl(t, slices.Concat([]string{"audit", "-o", "json"}, config)...)
		result.wantCode(t, 3)
		report := result.audit(t)
		under := make(map[string]int)
		for _, g := range report.Groups {
			if g.Resource == "secrets" {
				under[g.AtRest.Provider+":"+g.AtRest.Key+":"+g.AtRest.KeyID] += int(g.Objects)
			}
		}
		if !maps.Equal(under, map[string]int{"kms:vault:kek-1": older, "kms:vault:kek-2": newer}) {
			t.Errorf("secrets are under %v", under)
		}
		wantStale(t, report, older, "kms:vault:kek-2", "kms:vault:kek-1")

		unnamed := p.svmctl(t, "audit", "--expect", "secrets=kms:vault", "-o", "json")
		unnamed.wantCode(t, 4)
		if report := unnamed.audit(t); verdict(report.Verdict) != "Indeterminate" {
			t.Errorf("verdict %s of an expectation that names no key ID", verdict(report.Verdict))
		}
	})

	t.Run("a row for each key ID", func(t *testing.T) {
		report := p.canRemove(t, "kms:vault:kek-1", "no", []string{"30 secrets"})
		metrics, err := p.kube.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]int64{"kms:vault:kek-1": older, "kms:vault:kek-2": newer} {
			row := report.row(t, key)
			if row.Objects["secrets"] != want || row.Write != (key == "kms:vault:kek-2") || row.Removable != "no" {
				t.Errorf("%s has the row %+v", key, row)
			}
			if row.KeyIDHash == "" || !bytes.Contains(metrics, []byte(`key_id_hash="`+row.KeyIDHash+`"`)) {
				t.Errorf("the apiserver's metrics have no key %q", row.KeyIDHash)
			}
		}
		p.canRemove(t, "kms:vault", "no", []string{"secrets"})
	})

	t.Run("the stale ones alone are rewritten", func(t *testing.T) {
		before, _ := p.stored(t)
		result := p.svmctl(t, migrate...)
		result.wantCode(t, 0)
		wantFromConfig(t, result, outcomes{Rewritten: older, AlreadyCurrent: newer})
		after, _ := p.stored(t)
		for key, revision := range before {
			if stale := strings.Contains(key, "/older-"); stale == (after[key] == revision) {
				t.Errorf("%s was at revision %d and is at %d", key, revision, after[key])
			}
		}
		p.wantUnderKEK(t, map[string]int{"kek-2": older + newer})
		p.canRemove(t, "kms:vault:kek-2", "no", []string{"34 secrets", "writes secrets"})
		p.canRemove(t, "kms:vault:kek-1", "yes", nil)
		p.canRemove(t, "kms:vault:kek-l", "unknown", []string{"spelled"})
	})

	t.Run("the apiserver is waited for", func(t *testing.T) {
		before, _ := p.stored(t)
		p.rotate(t, vault.encryption(3)) // it asks its plugin then, and for 20 s no more
		vault.steer(t, "/rotate?id=kek-3")
		p.canRemove(t, "kms:vault:kek-3", "no", []string{"writes secrets"})
		run := p.start(t, migrate...)
		select {
		case err := <-run.ended:
			t.Fatalf("it did not wait: %v\n%s%s", err, run.stdout.String(), run.stderr.String())
		case <-time.After(3 * time.Second):
		}
		if after, _ := p.stored(t); !maps.Equal(before, after) {
			t.Error("something was written before the apiserver had the new key")
		}
		stop := p.askAfterKMS(t)
		result := run.wait(t)
		stop()
		result.wantCode(t, 0)
		wantFromConfig(t, result, outcomes{Rewritten: older + newer})
		p.wantUnderKEK(t, map[string]int{"kek-3": older + newer})
		p.canRemove(t, "kms:vault:kek-2", "yes", nil)
	})

	t.Run("dropped at the plugin", func(t *testing.T) {
		before := p.secrets(t)
		vault.steer(t, "/drop?id=kek-1")
		vault.steer(t, "/drop?id=kek-2")
		p.playground(t, "restart", "kube-apiserver")
		wantSameSecrets(t, before, p.secrets(t))
	})

	t.Run("the plugin is stopped", func(t *testing.T) { p.pluginStopped(t, vault, config, migrate) })
}

// pluginStopped looks at a plugin that does not answer. All is under kek-3.
func (p *plane) pluginStopped(t *testing.T, vault *plugin, config, migrate []string) {
	vault.stop()
	before, _ := p.stored(t)
	started := time.Now()
	audited := p.svmctl(t, slices.Concat([]string{"audit", "-o", "json"}, config)...)
	audited.wantCode(t, 4)
	audited.wantError(t, "KMS provider vault", vault.socket, "see whether the plugin runs")
	if report := audited.audit(t); verdict(report.Verdict) != "Indeterminate" || !slices.ContainsFunc(report.Reasons, func(r reason) bool { return r.Code == "CannotOpen" && r.Objects == int64(len(before)) }) {
		t.Errorf("verdict %s, want Indeterminate as nothing can be opened\n%s", verdict(report.Verdict), audited)
	}
	p.canRemove(t, "identity", "unknown", []string{"not open"})
	p.canRemove(t, "kms:vault:kek-3", "no", []string{"secrets"})

	result := p.svmctl(t, migrate...)
	result.wantCode(t, 4)
	result.wantError(t, "KMS provider vault")
	if report := result.migration(t); verdict(report.Verdict) != "Indeterminate" || report.Rounds != 0 {
		t.Errorf("verdict %s after %d rounds\n%s", verdict(report.Verdict), report.Rounds, result)
	}
	if after, _ := p.stored(t); !maps.Equal(before, after) {
		t.Errorf("something was written\n%s", result)
	}
	if took := time.Since(started); took > time.Minute {
		t.Errorf("four runs took %s without a plugin, want no more than its timeouts of 1 s", took)
	}
	p.canRemove(t, "kms:vault:kek-2", "unknown", []string{"plugin"})
}

// wantUnderKEK checks in etcd, apart from svmctl, how many secrets are under each key encryption key.
func (p *plane) wantUnderKEK(t *testing.T, want map[string]int) {
	t.Helper()
	response, err := p.etcd.Get(t.Context(), secretsDir, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	under := make(map[string]int)
	for _, kv := range response.Kvs {
		found := "another"
		for _, id := range []string{"kek-1", "kek-2", "kek-3"} {
			// The field of EncryptedObject that holds the key ID.
			if bytes.HasPrefix(kv.Value, []byte("k8s:enc:kms:v2:vault:")) && bytes.Contains(kv.Value, append([]byte{0x12, byte(len(id))}, id...)) {
				found = id
			}
		}
		under[found]++
	}
	if !maps.Equal(under, want) {
		t.Errorf("secrets are under %v, want %v", under, want)
	}
}

// wantFromConfig checks a migration of secrets that ended well, with the target from the EncryptionConfiguration.
func wantFromConfig(t *testing.T, r result, want outcomes) {
	t.Helper()
	report := r.migration(t)
	if verdict(report.Verdict) != "Complete" || report.Outcomes != want || len(report.Targets) != 1 || report.Targets[0].From != "config" {
		t.Errorf("verdict %s with %+v for %+v, want Complete with %+v\n%s", verdict(report.Verdict), report.Outcomes, report.Targets, want, r)
	}
}

// askAfterKMS has the apiserver ask its plugin as often as it does: a health check asks unless one did within 20 s.
func (p *plane) askAfterKMS(t *testing.T) (stop func()) {
	return pulse(t, func(ctx context.Context, _ int) {
		p.kube.Discovery().RESTClient().Get().AbsPath("/healthz/kms-providers").Do(ctx)
	})
}
