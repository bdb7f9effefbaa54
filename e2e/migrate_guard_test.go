package e2e

import (
	"context"
	"maps"
	"testing"
)

// TestMigrateWrongTarget has an apiserver that does not write what the person expects.
func TestMigrateWrongTarget(t *testing.T) {
	const count = 400
	p := startPlane(t, encryption("aescbc:key1", "identity"), "--without-controller-manager")
	p.namespace(t, "guard")
	p.createSecrets(t, "guard", "app", count)

	t.Run("apiserver has not reloaded", func(t *testing.T) {
		revisions, _ := p.stored(t)
		result := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "-o", "json")
		result.wantCode(t, 3)
		result.wantError(t, "EncryptionConfiguration", "aescbc:key1", "aescbc:key2")
		report := result.migration(t)
		if o := report.Outcomes; verdict(report.Verdict) != "Incomplete" || o.Rewritten != 0 || o.NotRewritten < 1 || o.NotRewritten > 50 {
			t.Errorf("verdict %s with %+v: want Incomplete after a few objects", verdict(report.Verdict), o)
		}
		if after, _ := p.stored(t); !maps.Equal(revisions, after) {
			t.Error("something was written")
		}
		table := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes")
		table.wantCode(t, 3)
		table.wantStdout(t, "Incomplete")
	})

	t.Run("apiserver writes a third key", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key3", "aescbc:key2", "aescbc:key1", "identity"))
		result := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "-o", "json")
		result.wantCode(t, 3)
		result.wantError(t, "aescbc:key3", "aescbc:key2")
		report := result.migration(t)
		if verdict(report.Verdict) != "Incomplete" {
			t.Errorf("verdict %s, want Incomplete", verdict(report.Verdict))
		}
		if written := p.countUnder(t, "aescbc:key3"); written == 0 || written > 50 {
			t.Errorf("%d secrets were put under the wrong key, want a few at most", written)
		}
	})
}

// TestMigrateAnotherClustersEtcd gives svmctl the kubeconfig of one control plane and the etcd of another. Nothing may
// be written in either, whatever the two have in common.
func TestMigrateAnotherClustersEtcd(t *testing.T) {
	mine := startPlane(t, encryption("aescbc:key1", "identity"), "--without-controller-manager")
	other := startPlane(t, encryption("aescbc:key1", "identity"), "--without-controller-manager")
	planes := []*plane{mine, other}
	for _, p := range planes {
		p.namespace(t, "near")
		p.namespace(t, "far")
		p.createSecrets(t, "near", "app", 60)
	}
	mine.advance(t, 1000)
	for _, p := range planes {
		p.createSecrets(t, "far", "app", 60)
	}
	other.namespace(t, "other")
	other.createSecrets(t, "other", "app", 60)
	for _, p := range planes {
		p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))
	}
	contents := mine.secrets(t)

	for _, test := range []struct {
		name, prefix string
		mayWrite     bool
	}{
		{name: "same names", prefix: secretsDir + "far"},
		{name: "unknown names", prefix: secretsDir + "other"},
		{name: "one object", prefix: secretsDir + "other/app-00001"},
		// An object that both have under one name and at one revision passes for the same until it was written. It is
		// the apiserver's own object, under its own key, so that nothing is lost; the run has to end there.
		{name: "same names at much the same revisions", prefix: "/registry", mayWrite: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			mineWas, _ := mine.stored(t)
			otherWas, _ := other.stored(t)
			result := other.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "--kubeconfig", mine.variable("KUBECONFIG"), "--prefix", test.prefix)
			result.wantCode(t, 1)
			result.wantError(t, "etcd", "same control plane")
			if result.stdout != "" {
				t.Errorf("a report of another cluster's etcd\n%s", result)
			}
			if is, _ := mine.stored(t); !test.mayWrite && !maps.Equal(mineWas, is) {
				t.Error("the apiserver has written")
			}
			if is, _ := other.stored(t); !maps.Equal(otherWas, is) {
				t.Error("the other etcd was written to")
			}
			wantSameSecrets(t, contents, mine.secrets(t))
		})
	}
	// Nothing is written by either of these, but what they said would be about two clusters.
	for name, flags := range map[string][]string{
		"dry run on the server":  {"--dry-run=server"},
		"the in-tree controller": {"--backend", "svm", "--yes"},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"migrate", "secrets", "--to", "aescbc:key2", "--kubeconfig", mine.variable("KUBECONFIG"), "--prefix", secretsDir + "far"}
			result := other.svmctl(t, append(args, flags...)...)
			result.wantCode(t, 1)
			result.wantError(t, "etcd", "same control plane")
			mine.wantNoMigrations(t)
		})
	}
	other.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes").wantCode(t, 0)
	// That nothing is stale in one cluster says nothing about another.
	for name, args := range map[string][]string{
		"nothing to write":                 {"migrate", "secrets", "--to", "aescbc:key2", "--yes"},
		"nothing to write, for controller": {"migrate", "secrets", "--to", "aescbc:key2", "--yes", "--backend", "svm"},
		"every version":                    {"migrate", "--all-stale-versions", "--yes"},
		"audit of versions":                {"audit", "--expect-storage-versions"},
	} {
		t.Run(name, func(t *testing.T) {
			result := other.svmctl(t, append(args, "--kubeconfig", mine.variable("KUBECONFIG"))...)
			result.wantCode(t, 1)
			result.wantError(t, "etcd", "same control plane")
			if result.stdout != "" {
				t.Errorf("a report of another cluster's etcd\n%s", result)
			}
		})
	}
}

// advance moves etcd's revision on and leaves nothing behind.
func (p *plane) advance(t *testing.T, revisions int) {
	t.Helper()
	inParallel(t, 16, revisions, func(ctx context.Context, _ int) error {
		_, err := p.etcd.Put(ctx, "/advance", "")
		return err
	})
	if _, err := p.etcd.Delete(t.Context(), "/advance"); err != nil {
		t.Fatal(err)
	}
}
