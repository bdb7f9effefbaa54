package e2e

import (
	"context"
	"maps"
	"strings"
	"testing"
)

// TestMigrateUsage has what svmctl refuses, what it only tries, and the ways to name a target.
func TestMigrateUsage(t *testing.T) {
	p := startPlane(t, encryption("aescbc:key1", "identity"), "--without-controller-manager", "--user", "nobody", "--user", "reader")
	p.namespace(t, "usage")
	p.createSecrets(t, "usage", "app", 40)
	p.allow(t, "reader", "get", "list", "watch")
	p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))
	revisions, _ := p.stored(t)

	for _, test := range []struct {
		name string
		args []string
		code int
		say  []string // in the error or a hint
	}{
		{"--yes without a target", []string{"secrets", "--yes"}, 2, []string{"target", "--to"}},
		{"no terminal", []string{"secrets", "--to", "aescbc:key2"}, 2, []string{"terminal", "--yes"}},
		{"no terminal and no target", []string{"secrets"}, 2, []string{"terminal"}},
		{"--to without a resource", []string{"--to", "aescbc:key2", "--yes"}, 2, []string{"RESOURCE"}},
		{"nothing at all", nil, 2, []string{"RESOURCE"}},
		{"provider without a key", []string{"secrets", "--to", "aescbc", "--yes"}, 2, []string{"key"}},
		{"unknown provider", []string{"secrets", "--to", "rot13:key2", "--yes"}, 2, []string{"rot13"}},
		{"identity by expectation", []string{"secrets", "--expect", "secrets=identity", "--yes"}, 2, []string{"--to identity"}},
		{"identity by expectation without a resource", []string{"--expect", "secrets=identity", "--yes"}, 2, []string{"--to identity"}},
		{"two targets", []string{"secrets", "--to", "aescbc:key2", "--expect", "secrets=aescbc:key3", "--yes"}, 2, []string{"aescbc:key3"}},
		{"resource without a target", []string{"secrets", "configmaps", "--expect", "secrets=aescbc:key2", "--yes"}, 2, []string{"target"}},
		{"dry run without a target", []string{"secrets", "--dry-run"}, 2, []string{"target"}},
		{"unknown dry run", []string{"secrets", "--to", "aescbc:key2", "--dry-run=maybe"}, 2, []string{"dry-run"}},
		{"server's dry run of the in-tree controller", []string{"secrets", "--to", "aescbc:key2", "--dry-run=server", "--backend", "svm"}, 2, []string{"--backend"}},
		{"unknown backend", []string{"secrets", "--to", "aescbc:key2", "--yes", "--backend", "magic"}, 2, []string{"magic"}},
		{"unknown format", []string{"secrets", "--to", "aescbc:key2", "--yes", "-o", "xml"}, 2, []string{"xml"}},
		{"unknown flag", []string{"secrets", "--too", "aescbc:key2"}, 2, []string{"--too"}},
		{"no concurrency", []string{"secrets", "--to", "aescbc:key2", "--yes", "--concurrency", "0"}, 2, []string{"--concurrency"}},
		{"misspelt resource", []string{"secrts", "--to", "aescbc:key2", "--yes"}, 2, []string{"secrts", "secrets"}},
		{"unheard-of resource", []string{"flibbertigibbets.example.com", "--to", "aescbc:key2", "--yes"}, 2, []string{"flibbertigibbets"}},
		{"no kubeconfig", []string{"secrets", "--to", "aescbc:key2", "--yes", "--kubeconfig", "/nonexistent/kubeconfig"}, 1, []string{"/nonexistent/kubeconfig"}},
		{"closed port of the apiserver", []string{"secrets", "--to", "aescbc:key2", "--yes", "--server", "https://127.0.0.1:9"}, 1, []string{"refused"}},
		{"closed port of etcd", []string{"secrets", "--to", "aescbc:key2", "--yes", "--endpoints", "https://127.0.0.1:9"}, 1, []string{"127.0.0.1:9"}},
		{"wrong authority for etcd", []string{"secrets", "--to", "aescbc:key2", "--yes", "--cacert", p.dir + "/pki/ca.crt"}, 1, []string{"--cacert"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			result := p.svmctl(t, append([]string{"migrate"}, test.args...)...)
			result.wantCode(t, test.code)
			result.wantError(t, test.say...)
			if result.stdout != "" {
				t.Errorf("something on stdout\n%s", result)
			}
		})
	}

	t.Run("dry run", func(t *testing.T) {
		for _, flag := range []string{"--dry-run", "--dry-run=client"} {
			result := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", flag)
			result.wantCode(t, 0)
			result.wantStdout(t, "secrets", "40", "aescbc:key2", "nothing was written", "other resources under key1")
		}
		for _, backend := range []string{"patch", "svm"} {
			report := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--dry-run", "--backend", backend, "-o", "json").migration(t)
			if report.After != nil || report.Outcomes.Rewritten != 0 {
				t.Errorf("a dry run with %s reports %+v, after %v", backend, report.Outcomes, report.After)
			}
		}
	})
	t.Run("dry run on the server", func(t *testing.T) {
		result := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--dry-run=server")
		result.wantCode(t, 0)
		result.wantStdout(t, "40 of 40 objects accepted", "nothing was written")
	})

	t.Run("an expectation of what is not migrated", func(t *testing.T) {
		result := p.svmctl(t, "migrate", "secrets", "--expect", "secrets=aescbc:key1", "--expect", "configmaps=aescbc:key9", "--yes")
		result.wantCode(t, 2)
		result.wantError(t, "configmaps", "name every RESOURCE")
	})
	t.Run("what no API serves is under another key", func(t *testing.T) {
		const unknown = "/registry/newthings/default/x"
		if _, err := p.etcd.Put(t.Context(), unknown, "k8s:enc:aescbc:v1:key0:"+strings.Repeat("x", 32)); err != nil {
			t.Fatal(err)
		}
		defer p.etcd.Delete(context.WithoutCancel(t.Context()), unknown)
		result := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--dry-run")
		result.wantCode(t, 0)
		result.wantStdout(t, "other resources under key0: 1")
	})

	t.Run("no right to patch", func(t *testing.T) {
		for _, user := range []string{"nobody", "reader"} {
			for _, prefix := range []string{"/registry", secretsDir + "usage/app-00007"} {
				result := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "--kubeconfig", p.userKubeconfig(user), "--prefix", prefix)
				result.wantCode(t, 3)
				result.wantError(t, "patch")
				result.wantStdout(t, "403", "Forbidden", "Incomplete")
			}
		}
		tried := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--dry-run=server", "--kubeconfig", p.userKubeconfig("reader"))
		tried.wantCode(t, 3)
	})
	t.Run("prefix without objects", func(t *testing.T) {
		// Something was expected there and is not: nobody knows whether all is well.
		result := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "--prefix", "/nowhere")
		result.wantCode(t, 4)
		result.wantStdout(t, "Indeterminate", "nothing to do")
	})

	if after, _ := p.stored(t); !maps.Equal(revisions, after) {
		t.Fatal("something was written by a run that was refused or only tried")
	}

	t.Run("expectation without a resource", func(t *testing.T) {
		result := p.svmctl(t, "migrate", "--expect", "secrets=aescbc:key2", "--yes", "-o", "json")
		result.wantCode(t, 0)
		wantMigration(t, result.migration(t), "patch", outcomes{Rewritten: 40})
		again := p.svmctl(t, "migrate", "--expect", "secrets=aescbc:key2", "--yes", "-o", "json")
		again.wantCode(t, 0)
		if report := again.migration(t); verdict(report.Verdict) != "Complete" || report.Outcomes.Rewritten != 0 {
			t.Errorf("a second time: verdict %s with %+v", verdict(report.Verdict), report.Outcomes)
		}
	})
	t.Run("kind and short name", func(t *testing.T) {
		for _, name := range []string{"secret", "Secret", "cm"} {
			p.svmctl(t, "migrate", name, "--to", "aescbc:key2", "--yes").wantCode(t, 0)
		}
		if left := p.svmctl(t, "audit", "--expect", "configmaps=aescbc:key2", "-o", "json").audit(t); verdict(left.Verdict) != "Complete" {
			t.Errorf("configmaps after migrate cm: %s", verdict(left.Verdict))
		}
	})
	t.Run("identity when asked for", func(t *testing.T) {
		p.rotate(t, encryption("identity", "aescbc:key2"))
		result := p.svmctl(t, "migrate", "secrets", "--to", "identity", "--yes", "-o", "json")
		result.wantCode(t, 0)
		wantMigration(t, result.migration(t), "patch", outcomes{Rewritten: 40})
		p.wantAllUnder(t, "identity")
	})
	t.Run("from plaintext", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key3", "identity"))
		before := p.svmctl(t, "audit", "--expect", "secrets=encrypted", "-o", "json")
		before.wantCode(t, 3)
		if report := before.audit(t); len(report.Findings) != 40 || report.Findings[0].Code != "Plaintext" {
			t.Errorf("want 40 findings of plaintext\n%s", before)
		}
		p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key3", "--yes").wantCode(t, 0)
		p.wantAllUnder(t, "aescbc:key3")
	})
}
