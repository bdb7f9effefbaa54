package supervisor

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestEndOfAProcess(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	end, err := WatchEnd(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := end.Await(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting while it runs: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// Nobody has waited for it yet, so a signal would still find it.
	if err := end.Await(t.Context()); err != nil {
		t.Errorf("waiting for its end: %v", err)
	}
	cmd.Wait()
	if _, err := WatchEnd(cmd.Process.Pid); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("watching a process that is gone: %v", err)
	}
}
