package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// childTimeout bounds each process that the bench starts.
const childTimeout = 10 * time.Minute

// usage is what a process took.
type usage struct {
	wall    time.Duration
	cpu     time.Duration
	peakRSS int64 // bytes; for a pipeline the larger of its processes
}

// measure runs a process to its end and gives back its stdout and what it took.
//
// Linux counts the memory of the parent as the child's until the child has called exec, so a peak below the bench's
// own would not show. The bench therefore leaves all work that takes memory to children.
func measure(ctx context.Context, env []string, name string, args ...string) ([]byte, usage, error) {
	ctx, cancel := context.WithTimeout(ctx, childTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	started := time.Now()
	err := cmd.Run()
	u := usage{wall: time.Since(started)}
	if cmd.ProcessState != nil {
		u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			u.peakRSS = int64(r.Maxrss)
			if runtime.GOOS != "darwin" {
				u.peakRSS *= 1024
			}
		}
	}
	if err != nil {
		return stdout.Bytes(), u, fmt.Errorf("running %s: %w: %s", strings.Join(append([]string{name}, args...), " "), err, tail(stderr.String()))
	}
	return stdout.Bytes(), u, nil
}

func tail(s string) string {
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-1000):]
}

// self runs one of the bench's own jobs.
func self(ctx context.Context, env []string, args ...string) ([]byte, usage, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, usage{}, fmt.Errorf("finding the bench's own file: %w", err)
	}
	return measure(ctx, env, exe, args...)
}
