package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// ErrLocked is returned when another process holds the lock.
var ErrLocked = errors.New("another process holds the lock")

// Lock is held by the supervisor of a directory for its whole life. The kernel lets go of it
// when the process ends in whatever way, so it tells reliably whether one is alive.
type Lock struct {
	file *os.File
}

// Acquire takes the lock file at path, or returns ErrLocked.
func Acquire(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return &Lock{file: file}, nil
}

// AwaitFree waits until no process holds the lock file at path.
func AwaitFree(ctx context.Context, path string) error {
	for {
		lock, err := Acquire(path)
		if err == nil {
			return lock.Release()
		}
		if !errors.Is(err, ErrLocked) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the supervisor to end: %w", ctx.Err())
		case <-time.After(readyInterval):
		}
	}
}

// Release lets go of the lock.
func (l *Lock) Release() error {
	return l.file.Close()
}
