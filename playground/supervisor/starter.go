package supervisor

import (
	"os/exec"
	"runtime"
	"syscall"
)

// starter starts children that the kernel kills when this process dies. The kernel sends that
// signal when the thread that forked the child ends, which in Go may be long before the process
// does; so all children are started by one goroutine that never leaves its thread.
type starter struct {
	requests chan startRequest
}

type startRequest struct {
	cmd    *exec.Cmd
	result chan error
}

// newStarter occupies a thread until the end of the process.
func newStarter() *starter {
	s := &starter{requests: make(chan startRequest)}
	go func() {
		runtime.LockOSThread()
		for request := range s.requests {
			request.result <- request.cmd.Start()
		}
	}()
	return s
}

// start starts cmd in a process group of its own, out of reach of a terminal's Ctrl-C:
// the order in which processes end is the supervisor's to choose.
func (s *starter) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	request := startRequest{cmd: cmd, result: make(chan error)}
	s.requests <- request
	return <-request.result
}
