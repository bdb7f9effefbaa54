package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestMigrateBySVM has the in-tree controller in trouble. What it says is never taken for proof.
func TestMigrateBySVM(t *testing.T) {
	const count = 30
	p := startPlane(t, encryption("aescbc:key1", "identity"))
	p.namespace(t, "team-a")
	p.createSecrets(t, "team-a", "app", count)
	migrate := []string{"migrate", "secrets", "--to", "aescbc:key2", "--backend", "svm", "--yes", "-o", "json", "--max-rounds", "1"}

	t.Run("apiserver has not reloaded", func(t *testing.T) {
		run := p.start(t, migrate...)
		stop := p.pulseSecrets(t)
		result := run.wait(t)
		stop()
		// The controller says Succeeded: each of its patches was a 200.
		result.wantCode(t, 3)
		report := result.migration(t)
		if verdict(report.Verdict) != "Incomplete" || report.Outcomes != (outcomes{NotRewritten: count}) {
			t.Errorf("verdict %s with %+v\n%s", verdict(report.Verdict), report.Outcomes, result)
		}
		if p.countUnder(t, "aescbc:key2") != 0 {
			t.Error("something is under key2")
		}
		p.wantNoMigrations(t)
	})

	p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))
	hook := p.startWebhook(t, "--deny-name", "^app-00020$", "--deny-message", "not with "+canaryInData)
	t.Run("webhook refuses one", func(t *testing.T) {
		run := p.start(t, migrate...)
		stop := p.pulseSecrets(t)
		result := run.wait(t)
		stop()
		result.wantCode(t, 3)
		result.wantError(t, "controller", "--backend patch")
		report := result.migration(t)
		// The controller stops at the one that is refused, and comes to it in an order of its own.
		if verdict(report.Verdict) != "Incomplete" || report.Outcomes.NotRewritten == 0 || report.Outcomes.Failed != 0 {
			t.Errorf("verdict %s with %+v\n%s", verdict(report.Verdict), report.Outcomes, result)
		}
		p.wantNoMigrations(t)
	})
	hook.remove(t)

	p.playground(t, "stop", "kube-controller-manager")
	t.Run("no controller", func(t *testing.T) {
		result := p.svmctl(t, append(migrate, "--stall-timeout", "4s")...)
		result.wantCode(t, 3)
		result.wantError(t, "no controller has taken", "--backend patch")
		if report := result.migration(t); verdict(report.Verdict) != "Incomplete" || report.Outcomes.Rewritten != 0 {
			t.Errorf("verdict %s with %+v", verdict(report.Verdict), report.Outcomes)
		}
		p.wantNoMigrations(t)
	})
	t.Run("interrupted", func(t *testing.T) {
		run := p.start(t, migrate...)
		p.awaitMigration(t)
		if err := run.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		result := run.wait(t)
		result.wantCode(t, 130)
		result.wantError(t, "interrupted")
		if report := result.migration(t); verdict(report.Verdict) == "Complete" || report.After != nil {
			t.Errorf("verdict %s, after %+v", verdict(report.Verdict), report.After)
		}
		p.wantNoMigrations(t)
	})
	t.Run("the other backend finishes", func(t *testing.T) {
		p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes").wantCode(t, 0)
		p.wantAllUnder(t, "aescbc:key2")
	})
}

// wantNoMigrations checks that svmctl took away what it had made.
func (p *plane) wantNoMigrations(t *testing.T) {
	t.Helper()
	names, err := p.migrations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, left := range names {
		t.Errorf("StorageVersionMigration %s is left behind", left)
	}
}

// migrations names the StorageVersionMigrations that there are, in the version that this release serves.
func (p *plane) migrations(ctx context.Context) ([]string, error) {
	group := new(metav1.APIGroup)
	client := p.kube.Discovery().RESTClient()
	raw, err := client.Get().AbsPath("/apis/storagemigration.k8s.io").Do(ctx).Raw()
	if err == nil {
		err = json.Unmarshal(raw, group)
	}
	if err != nil {
		return nil, err
	}
	raw, err = client.Get().AbsPath("/apis", group.PreferredVersion.GroupVersion, "storageversionmigrations").Do(ctx).Raw()
	if err != nil {
		return nil, err
	}
	list := new(metav1.PartialObjectMetadataList)
	if err := json.Unmarshal(raw, list); err != nil {
		return nil, err
	}
	var names []string
	for _, item := range list.Items {
		names = append(names, item.Name)
	}
	return names, nil
}

// awaitMigration waits for svmctl to make a StorageVersionMigration.
func (p *plane) awaitMigration(t *testing.T) {
	t.Helper()
	await(t, time.Minute, "a StorageVersionMigration", func(ctx context.Context) (bool, string) {
		names, err := p.migrations(ctx)
		if err != nil {
			return false, err.Error()
		}
		return len(names) > 0, "none"
	})
}

// pulseSecrets writes secrets until stop is called. It begins when the migration is there, so that svmctl has seen none of
// these as stale.
func (p *plane) pulseSecrets(t *testing.T) (stop func()) {
	t.Helper()
	p.awaitMigration(t)
	return pulse(t, func(ctx context.Context, n int) {
		name := fmt.Sprintf("pulse-%d-%03d", time.Now().UnixNano(), n)
		_, _ = p.kube.CoreV1().Secrets("team-a").Create(ctx, secret("team-a", name, name), metav1.CreateOptions{})
	})
}
