package command

import (
	"bytes"
	"strings"
	"testing"
)

func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv(dirEnv, "")
	var out, errs bytes.Buffer
	code = Run(t.Context(), []string{"etcd", "kubectl"}, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestHelpSaysWhatItIsAndWhatItIsNotFor(t *testing.T) {
	code, stdout, stderr := run(t, "--help")
	if code != 0 || stderr != "" {
		t.Errorf("exit status %d, stderr %q", code, stderr)
	}
	for _, want := range []string{"not for production", "playground kubectl …", "webhook-config"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
}

func TestNothingIsUp(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{"status", "--dir", dir}, {"stop", "etcd", "--dir", dir}, {"restart", "etcd", "--dir", dir},
		{"exec", "--dir", dir, "true"},
	} {
		code, stdout, stderr := run(t, args...)
		if want := "playground: error: " + dir + ": no plane is up there\n"; code != 1 || stdout != "" || stderr != want {
			t.Errorf("%v: exit status %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
	if code, stdout, stderr := run(t, "down", "--dir", dir); code != 0 || stdout != "" || stderr != "" {
		t.Errorf("down: exit status %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestWrongFlagsAreRefusedBeforeAnythingStarts(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"up", "--user", "a/b"}, "user name"},
		{[]string{"up", "--etcd-auth", "--no-etcd-tls"}, "--etcd-auth needs TLS"},
		{[]string{"up", "--encryption-provider-config", "/no/such/file"}, "reading the EncryptionConfiguration"},
		{[]string{"up", "--encryption-provider-config-of", "kube-apiserver=/no/such/file"}, "reading the EncryptionConfiguration"},
		{[]string{"up", "--encryption-provider-config-of", "kube-apiserver-2="}, "the apiservers are kube-apiserver"},
		{[]string{"up", "--encryption-provider-config-of", "/file"}, "want NAME=FILE"},
		{[]string{"up", "--apiservers", "4"}, "want 1 to 3"},
		{[]string{"status", "-o", "xml"}, `--output "xml"`},
		{[]string{"webhook", "--deny-name", "("}, "--deny-name"},
		{[]string{"webhook", "--cert", "x"}, "--cert and --key"},
		{[]string{"webhook-config"}, "url"},
	} {
		code, stdout, stderr := run(t, append(test.args, "--dir", t.TempDir())...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit status %d, stdout %q, stderr %q", test.args, code, stdout, stderr)
		}
	}
}
