package evidence

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestNothingInAnArgumentRuns hands what VERIFY.md prints to a real shell: an argument comes out as it went in, and nothing else happens.
func TestNothingInAnArgumentRuns(t *testing.T) {
	args := []string{"audit", "--cluster-label=$(touch PWNED) `touch PWNED`; touch PWNED", "--prefix=/registry/a b", "--expect=it's", "--sign-key=/secret", "--csv=true", "--a=*", "--b=\"x\" & touch PWNED"}
	d := &Document{Scan: &Scan{Tool: Tool{Arguments: args}, AsOf: AsOf{Revision: 41}}}
	line := d.remake()
	if strings.Contains(line, "/secret") {
		t.Errorf("the signing key is named in %s", line)
	}
	cmd := exec.Command("sh", "-c", strings.Replace(line, "svmctl", `printf '%s\n'`, 1))
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Concat([]string{"audit", "--cluster-label=$(touch PWNED) ?touch PWNED?; touch PWNED"}, args[2:4], args[5:], []string{"--revision=41", "--evidence=AGAIN"})
	if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); !slices.Equal(got, want) {
		t.Errorf("a shell sees %q, want %q", got, want)
	}
	if left, _ := exec.Command("ls", cmd.Dir).Output(); len(left) > 0 {
		t.Errorf("it made %s", left)
	}
}

// TestMigrationsAreNotMadeAgain: who follows VERIFY.md looks, and changes nothing.
func TestMigrationsAreNotMadeAgain(t *testing.T) {
	d := &Document{Scan: &Scan{Tool: Tool{Arguments: []string{"migrate", "--yes=true"}}, AsOf: AsOf{Revision: 41}}, Files: []string{RecordsFile}}
	var out bytes.Buffer
	if err := writeVerify(&out, d); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "svmctl migrate") || !strings.Contains(out.String(), "\n      migrate\n") {
		t.Errorf("it says\n%s", out.String())
	}
}
