package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// starter starts children that the kernel kills when this process dies. The kernel sends that
// signal when the thread that forked the child ends, which in Go may be long before the process
// does; so all children are started by one goroutine that never leaves its thread.
type starter struct {
	requests chan startRequest
}

type startRequest struct {
	cmd      *exec.Cmd
	hostname string
	result   chan error
}

// newStarter occupies a thread until the end of the process.
func newStarter() *starter {
	s := &starter{requests: make(chan startRequest)}
	go func() {
		runtime.LockOSThread()
		for request := range s.requests {
			request.result <- request.start()
		}
	}()
	return s
}

// start starts cmd in a process group of its own, out of reach of a terminal's Ctrl-C:
// the order in which processes end is the supervisor's to choose.
func (s *starter) start(cmd *exec.Cmd, hostname string) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	request := startRequest{cmd: cmd, hostname: hostname, result: make(chan error)}
	s.requests <- request
	return <-request.result
}

// start starts the command from a thread that is the starter's own. A child begins in the UTS
// namespace of that thread, which is therefore left for a new one and entered again.
func (r startRequest) start() error {
	if r.hostname == "" {
		return r.cmd.Start()
	}
	own, err := os.Open("/proc/thread-self/ns/uts")
	if err != nil {
		return fmt.Errorf("opening its UTS namespace: %w", err)
	}
	defer own.Close()
	if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("giving it the hostname %s in a UTS namespace of its own, which only root may: %w", r.hostname, err)
	}
	started := unix.Sethostname([]byte(r.hostname))
	if started == nil {
		started = r.cmd.Start()
	}
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWUTS); err != nil {
		// Every later child would take this one's name for the machine's.
		panic(fmt.Sprintf("returning to the UTS namespace of the machine: %v", err))
	}
	return started
}
