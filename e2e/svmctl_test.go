package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// runLimit is how long one svmctl may take before the test gives up on it.
const runLimit = 3 * time.Minute

// result is what a finished svmctl left behind.
type result struct {
	args           []string
	stdout, stderr string
	code           int
}

// svmctl runs the shipped binary with the plane's variables and nothing else of this environment.
func (p *plane) svmctl(t *testing.T, args ...string) result {
	t.Helper()
	return p.start(t, args...).wait(t)
}

// process is a running svmctl.
type process struct {
	p              *plane
	args           []string
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	ended          chan error
}

// start runs svmctl in the background. A later variable outweighs the plane's.
func (p *plane) start(t *testing.T, args ...string) *process {
	t.Helper()
	run := &process{p: p, args: args, cmd: p.command(t, args...), ended: make(chan error, 1)}
	run.cmd.Stdout, run.cmd.Stderr = &run.stdout, &run.stderr
	if err := run.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { run.ended <- run.cmd.Wait() }()
	t.Cleanup(func() { run.cmd.Process.Kill() })
	return run
}

// command is svmctl with the environment that it gets here: a HOME and a TMPDIR of its own, so that every file it
// writes unasked can be found.
func (p *plane) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(svmctlBinary(t), args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.home, "TMPDIR=" + p.home}, p.env...)
	cmd.Dir = p.home
	return cmd
}

// wait waits for the end and checks what holds of every run: it is not slow beyond reason, does not crash and does not
// print what was stored.
func (r *process) wait(t *testing.T) result {
	t.Helper()
	var err error
	select {
	case err = <-r.ended:
	case <-time.After(runLimit):
		r.cmd.Process.Kill()
		<-r.ended
		t.Fatalf("svmctl %s did not end within %s\nstdout:\n%s\nstderr:\n%s", strings.Join(r.args, " "), runLimit, clip(r.stdout.String()), clip(r.stderr.String()))
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	res := result{args: r.args, stdout: r.stdout.String(), stderr: r.stderr.String(), code: r.cmd.ProcessState.ExitCode()}
	r.p.keep(res)
	if strings.Contains(res.stderr, "goroutine ") || strings.Contains(res.stderr, "panic:") {
		t.Errorf("svmctl printed a stack trace\n%s", res)
	}
	return res
}

// keep puts what a run printed on the record that is searched for stored values. A run that was asked to show free text
// is let off: that text may quote the object.
func (p *plane) keep(res result) {
	if !slices.Contains(res.args, "--show-messages") {
		p.record.add(res.String())
	}
}

func (r result) String() string {
	return "$ svmctl " + strings.Join(r.args, " ") + "\n" + clip(r.stdout) + "--- stderr\n" + clip(r.stderr)
}

// clip keeps the log of a failed test readable.
func clip(s string) string {
	const limit = 6000
	if len(s) > limit {
		return s[:limit/2] + "\n[…]\n" + s[len(s)-limit/2:]
	}
	return s
}

// wantCode fails the test when the exit status is another one.
func (r result) wantCode(t *testing.T, code int) {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit status %d, want %d\n%s", r.code, code, r)
	}
}

// wantError checks the form that every error has, one line and a hint, and that it speaks of the words given.
func (r result) wantError(t *testing.T, words ...string) {
	t.Helper()
	var errs, hints []string
	for line := range strings.Lines(r.stderr) {
		if rest, ok := strings.CutPrefix(line, "svmctl: error: "); ok {
			errs = append(errs, rest)
		}
		if rest, ok := strings.CutPrefix(line, "svmctl: hint: "); ok {
			hints = append(hints, rest)
		}
	}
	if len(errs) != 1 || len(hints) == 0 {
		t.Errorf("%d error lines and %d hints, want one error and a hint\n%s", len(errs), len(hints), r)
	}
	said := strings.Join(errs, "") + strings.Join(hints, "")
	for _, word := range words {
		if !strings.Contains(said, word) {
			t.Errorf("neither the error nor a hint says %q\n%s", word, r)
		}
	}
}

// wantStdout checks that the report speaks of the words given.
func (r result) wantStdout(t *testing.T, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(r.stdout, word) {
			t.Errorf("stdout does not say %q\n%s", word, r)
		}
	}
}
