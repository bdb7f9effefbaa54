package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEtcdUser: a user of etcd who may read everything and write nothing is enough for an audit and for a migration.
func TestEtcdUser(t *testing.T) {
	p := startPlane(t, encryption("aescbc:key1", "identity"), "--without-controller-manager", "--etcd-auth")
	p.createSecrets(t, "default", "app", 20)
	password := func(user string) string { return filepath.Join(p.dir, "etcd-"+user+"-password") }
	wrong := filepath.Join(p.dir, "wrong-password")
	if err := os.WriteFile(wrong, []byte(canaryInData+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		flags []string
		say   []string
	}{
		{"no user", nil, []string{"permission denied"}},
		{"a wrong password", []string{"--etcd-user", "svmctl", "--etcd-password-file", wrong}, []string{"user name or password", "--etcd-password-file"}},
		{"another user's password", []string{"--etcd-user", "root", "--etcd-password-file", password("svmctl")}, []string{"user name or password"}},
		{"no such user", []string{"--etcd-user", "nobody", "--etcd-password-file", password("svmctl")}, []string{"user name or password"}},
		{"no such file", []string{"--etcd-user", "svmctl", "--etcd-password-file", "/nonexistent/password"}, []string{"/nonexistent/password"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, command := range [][]string{{"audit", "--expect", "secrets=aescbc:key1"}, {"migrate", "secrets", "--to", "aescbc:key2", "--yes"}} {
				result := p.svmctl(t, append(command, c.flags...)...)
				result.wantCode(t, 1)
				result.wantError(t, c.say...)
				if result.stdout != "" {
					t.Errorf("something on stdout\n%s", result)
				}
			}
		})
	}
	user := []string{"--etcd-user", "svmctl", "--etcd-password-file", password("svmctl")}
	audited := p.svmctl(t, append([]string{"audit", "--expect", "secrets=aescbc:key1", "-o", "json"}, user...)...)
	audited.wantCode(t, 0)
	if sums := audited.audit(t).byKey("secrets"); sums["aescbc:key1"] != 20 {
		t.Errorf("secrets: %v", sums)
	}
	p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))
	migrated := p.svmctl(t, append([]string{"migrate", "secrets", "--to", "aescbc:key2", "--yes", "-o", "json"}, user...)...)
	migrated.wantCode(t, 0)
	if report := migrated.migration(t); verdict(report.Verdict) != "Complete" || report.Outcomes.Rewritten != 20 {
		t.Errorf("verdict %s with %+v", verdict(report.Verdict), report.Outcomes)
	}
	// No plaintext is left where this user may look. There might be some under another root.
	root, err := os.ReadFile(password("root"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(password("part"), []byte("part\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"role", "add", "part"}, {"role", "grant-permission", "part", "read", "--prefix=true", "/registry/"}, {"user", "add", "part:part"}, {"user", "grant-role", "part", "part"}} {
		p.etcdctl(t, append([]string{"--user", "root:" + strings.TrimSpace(string(root))}, args...)...)
	}
	for user, want := range map[string]string{"part": "unknown", "svmctl": "yes"} {
		report := p.canRemove(t, "identity", want, nil, "--etcd-user", user, "--etcd-password-file", password(user))
		if doubted := strings.Contains(strings.Join(report.Doubts, "\n"), "other storage roots are not seen"); doubted != (want == "unknown") {
			t.Errorf("to %s the doubts are %q", user, report.Doubts)
		}
	}
}
