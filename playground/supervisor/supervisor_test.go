package supervisor

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell defines a process that runs a script and is ready when the file named ready exists.
func shell(t *testing.T, name, script string) Definition {
	t.Helper()
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	return Definition{
		Name:    name,
		Argv:    []string{"/bin/sh", "-c", script},
		Env:     append(os.Environ(), "READY="+ready),
		LogFile: filepath.Join(dir, name+".log"),
		Ready: func(context.Context) error {
			_, err := os.Stat(ready)
			return err
		},
	}
}

const steady = `touch "$READY"; exec sleep 1000`

// running starts a supervisor and returns it with a client. Its end is that of the test, or
// of the returned function, which gives what Run returned.
func running(t *testing.T, definitions ...Definition) (*Supervisor, *Client, func() error) {
	t.Helper()
	socket, client := listen(t)
	s := New("dir", definitions)
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- s.Run(ctx, socket, 10*time.Second, func() error { close(ready); return nil })
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("run: %v", err)
	}
	end := func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() { end() })
	return s, client, end
}

func listen(t *testing.T) (net.Listener, *Client) {
	t.Helper()
	dir, err := os.MkdirTemp("", "s") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	socket, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return socket, NewClient(path)
}

func alive(pid int) bool {
	return syscall.Kill(pid, 0) == nil
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never saw: %s", what)
		}
	}
}

func TestProcessThroughItsLife(t *testing.T) {
	_, client, end := running(t, shell(t, "a", steady))
	ctx := t.Context()
	do := func(verb string, want State) Process {
		t.Helper()
		status, err := client.Do(ctx, "a", verb, 10*time.Second)
		if err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
		process := status.Processes[0]
		if process.State != want {
			t.Fatalf("after %s: state is %s, want %s", verb, process.State, want)
		}
		if status.Ready != (want == Running) {
			t.Errorf("after %s: ready is %t", verb, status.Ready)
		}
		return process
	}
	status, err := client.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first := status.Processes[0]
	if first.State != Running || !alive(first.PID) {
		t.Fatalf("at first: %+v", first)
	}
	if got := do("kill", Stopped); got.PID != 0 || got.Exit != "signal: killed" || alive(first.PID) {
		t.Errorf("after kill: %+v", got)
	}
	second := do("start", Running)
	if second.Starts != 2 || second.PID == first.PID {
		t.Errorf("after start: %+v", second)
	}
	do("pause", Paused)
	do("resume", Running)
	do("pause", Paused)
	do("stop", Stopped) // a paused process stops as well
	do("stop", Stopped)
	third := do("restart", Running)
	if err := end(); err != nil {
		t.Errorf("run: %v", err)
	}
	if alive(third.PID) {
		t.Error("the process outlived the supervisor")
	}
}

func TestUnaskedEndIsReportedAndNotMended(t *testing.T) {
	s, _, _ := running(t, shell(t, "a", steady))
	if err := syscall.Kill(s.Status().Processes[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "exited", func() bool { return s.Status().Processes[0].State == Exited })
	if got := s.Status(); got.Ready || got.Processes[0].Starts != 1 {
		t.Errorf("status is %+v", got)
	}
}

func TestFailedStartNamesTheLogAndLeavesNothing(t *testing.T) {
	socket, _ := listen(t)
	first := shell(t, "first", steady)
	s := New("dir", []Definition{first, shell(t, "second", `echo no such flag; exit 7`)})
	err := s.Run(t.Context(), socket, 10*time.Second, func() error {
		t.Error("it was called ready")
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(err.Error(), "no such flag") {
		t.Errorf("error is %v", err)
	}
	if state := s.Status().Processes[0].State; state != Stopped {
		t.Errorf("the first process is %s", state)
	}
}

func TestStartIsBounded(t *testing.T) {
	socket, _ := listen(t)
	s := New("dir", []Definition{shell(t, "a", `exec sleep 1000`)})
	err := s.Run(t.Context(), socket, 200*time.Millisecond, func() error { return nil })
	if err == nil || !strings.Contains(err.Error(), "not ready within 200ms") {
		t.Errorf("error is %v", err)
	}
}

func TestFailedSetupFailsTheStart(t *testing.T) {
	socket, _ := listen(t)
	definition := shell(t, "a", steady)
	definition.Setup = func(context.Context) error { return errors.New("no luck") }
	s := New("dir", []Definition{definition})
	err := s.Run(t.Context(), socket, 10*time.Second, func() error { return nil })
	if err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("error is %v", err)
	}
}

func TestDownEndsTheRun(t *testing.T) {
	s, client, _ := running(t, shell(t, "a", steady), shell(t, "b", steady))
	if err := client.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, process := range s.Status().Processes {
		if process.State != Stopped {
			t.Errorf("%s is %s", process.Name, process.State)
		}
	}
	if err := s.Do(t.Context(), "a", "start", 0); err == nil {
		t.Error("a process was started in a supervisor that is down")
	}
}

func TestStartWaitsForItsAddress(t *testing.T) {
	s, client, _ := running(t, shell(t, "a", steady))
	if _, err := client.Do(t.Context(), "a", "stop", 0); err != nil {
		t.Fatal(err)
	}
	occupant, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.children[0].definition.Addresses = []string{occupant.Addr().String()}
	done := make(chan error)
	go func() {
		_, err := client.Do(t.Context(), "a", "start", 10*time.Second)
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("it started on an address that was taken: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	occupant.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	_, client, _ := running(t, shell(t, "a", steady))
	for _, test := range []struct{ name, verb, want string }{
		{"b", "stop", "no such process: b (have a)"},
		{"a", "start", "starting a: already running"},
		{"a", "dance", "no such request: dance"},
	} {
		_, err := client.Do(t.Context(), test.name, test.verb, 0)
		if err == nil || err.Error() != test.want {
			t.Errorf("%s %s: %v, want %s", test.verb, test.name, err, test.want)
		}
	}
}
