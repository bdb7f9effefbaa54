// Package netns keeps a plane in a Linux network namespace that has no name and no way out, and
// ends with the last process in it. It never touches the namespace that it is called in.
package netns

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

const loopback = "lo"

// errSetUp is returned by SetUp for a namespace that somebody uses.
var errSetUp = errors.New("its loopback interface is up already")

// New has cmd start in a namespace of its own, which only root may.
func New(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
}

// ExecNew replaces this process by a program in a namespace of its own, which only root may.
// It returns only when it could not.
func ExecNew(path string, argv, environ []string) error {
	// The program goes on from the thread that executes it, wherever the others are.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("making a network namespace, which only root may: %w", err)
	}
	return execute(path, argv, environ)
}

// ExecIn replaces this process by a program in the namespace of another process, which only
// root may. It returns only when it could not.
func ExecIn(pid int, path string, argv, environ []string) error {
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return fmt.Errorf("opening network namespace: %w", err)
	}
	defer namespace.Close()
	runtime.LockOSThread()
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering network namespace of process %d, which only root may: %w", pid, err)
	}
	return execute(path, argv, environ)
}

func execute(path string, argv, environ []string) error {
	if err := syscall.Exec(path, argv, environ); err != nil {
		return fmt.Errorf("executing %s: %w", path, err)
	}
	return nil
}

// SetUp brings up the loopback interface of the namespace that the process was started in, and
// gives it the IPv4 addresses besides its own. It refuses a namespace where that was done, as in
// that of the machine.
func SetUp(addresses []string) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening socket: %w", err)
	}
	defer unix.Close(socket)
	if err := raise(socket); err != nil {
		return fmt.Errorf("setting up network namespace: %w", err)
	}
	for index, address := range addresses {
		if err := add(socket, index, address); err != nil {
			return fmt.Errorf("setting up network namespace: adding %s: %w", address, err)
		}
	}
	return nil
}

// raise has the kernel add 127.0.0.1 and ::1 as well.
func raise(socket int) error {
	request, err := unix.NewIfreq(loopback)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(socket, unix.SIOCGIFFLAGS, request); err != nil {
		return err
	}
	flags := request.Uint16()
	if flags&unix.IFF_UP != 0 {
		return errSetUp
	}
	request.SetUint16(flags | unix.IFF_UP)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request)
}

// add gives the interface one more address, each under a label of its own: setting that of the
// interface itself would replace the one it has.
func add(socket, index int, address string) error {
	parsed, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	request, err := unix.NewIfreq(fmt.Sprintf("%s:%d", loopback, index+1))
	if err != nil {
		return err
	}
	for _, set := range []struct {
		request uint
		value   []byte
	}{
		{unix.SIOCSIFADDR, parsed.AsSlice()},
		{unix.SIOCSIFNETMASK, []byte{255, 255, 255, 255}},
	} {
		if err := request.SetInet4Addr(set.value); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(socket, set.request, request); err != nil {
			return err
		}
	}
	return nil
}
