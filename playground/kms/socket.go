package kms

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// pathLimit is what the kernel takes, in bytes, without the zero at the end.
const pathLimit = len(syscall.RawSockaddrUnix{}.Path) - 1

// Listen makes a unix socket for the owner only, which goes when the listener is closed. One that nobody listens on any
// more is replaced; anything else at the path is an error.
func Listen(path string) (net.Listener, error) {
	if len(path) > pathLimit {
		return nil, fmt.Errorf("listening on %s: a socket's path may have %d bytes, and this one has %d", path, pathLimit, len(path))
	}
	listener, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := removeStale(path); err != nil {
			return nil, err
		}
		listener, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	return listener, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("looking at %s: %w", path, err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("listening on %s: there is something that is no socket", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("listening on %s: somebody does already", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("asking who listens on %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("removing a dead plugin's socket: %w", err)
	}
	return nil
}
