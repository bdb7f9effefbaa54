package supervisor

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// End tells when a process that is no child of this one has ended. Neither a process that gets
// the same id later nor one that ended and was not waited for deceives it.
type End struct {
	fd, pid int
}

// WatchEnd begins to watch a process that runs.
func WatchEnd(pid int) (*End, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("watching process %d: %w", pid, err)
	}
	return &End{fd: fd, pid: pid}, nil
}

// Await waits until the process has ended, with all that it held.
func (e *End) Await(ctx context.Context) error {
	for ctx.Err() == nil {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}, int(readyInterval.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("watching process %d: %w", e.pid, err)
		}
		if ready > 0 {
			return nil
		}
	}
	return fmt.Errorf("waiting for process %d to end: %w", e.pid, ctx.Err())
}

// Close stops watching.
func (e *End) Close() error {
	return unix.Close(e.fd)
}
