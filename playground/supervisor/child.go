package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	// readyInterval is the pause between two attempts to find a process ready.
	readyInterval = 50 * time.Millisecond
	// stopGrace is how long a process may take to end on SIGTERM before it is killed.
	stopGrace = 20 * time.Second
	// portGrace is how long a start waits for its addresses to become free.
	portGrace = 20 * time.Second
)

var (
	// ErrRunning is returned when a process that runs is to be started.
	ErrRunning = errors.New("already running")
	// ErrNotRunning is returned when a process that does not run is to be signalled.
	ErrNotRunning = errors.New("not running")
)

// child is one process over all its runs.
type child struct {
	definition Definition
	starter    *starter

	// transition is held while a run is started or ended, so that these do not overlap.
	transition sync.Mutex

	mu     sync.Mutex
	run    *run // nil until the first start
	starts int
}

// run is one start of a process. Its fields are guarded by child.mu, apart from the channels.
type run struct {
	cmd       *exec.Cmd
	startedAt time.Time
	state     State
	asked     bool
	problem   string
	exit      string
	settled   chan struct{} // closed when the run became ready, failed its setup or ended
	ended     chan struct{} // closed when the process was waited for
}

func (c *child) alive() *run {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run == nil || c.run.state == Stopped || c.run.state == Exited {
		return nil
	}
	return c.run
}

// start starts the process and watches it until life ends. It does not wait for readiness.
func (c *child) start(ctx, life context.Context) (*run, error) {
	c.transition.Lock()
	defer c.transition.Unlock()
	// Asked with transition held: what ends life stops the children afterwards, and so finds this run.
	if err := life.Err(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.definition.Name, err)
	}
	if c.alive() != nil {
		return nil, fmt.Errorf("starting %s: %w", c.definition.Name, ErrRunning)
	}
	if err := awaitFree(ctx, c.definition.Addresses); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.definition.Name, err)
	}
	log, err := os.OpenFile(c.definition.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening log of %s: %w", c.definition.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(c.definition.Argv[0], c.definition.Argv[1:]...)
	cmd.Env = c.definition.Env
	cmd.Stdout, cmd.Stderr = log, log
	if err := c.starter.start(cmd, c.definition.Hostname); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.definition.Name, err)
	}
	r := &run{
		cmd:       cmd,
		startedAt: time.Now(),
		state:     Starting,
		settled:   make(chan struct{}),
		ended:     make(chan struct{}),
	}
	c.mu.Lock()
	c.run = r
	c.starts++
	c.mu.Unlock()
	readying := make(chan struct{})
	ctx, cancel := context.WithCancel(life)
	go func() {
		defer close(readying)
		c.settle(ctx, r)
	}()
	go func() {
		err := cmd.Wait()
		cancel()
		<-readying
		c.end(r, err)
	}()
	return r, nil
}

// settle polls until the run is ready, then sets it up.
func (c *child) settle(ctx context.Context, r *run) {
	for {
		err := c.definition.Ready(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		r.problem = err.Error()
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(readyInterval):
		}
	}
	var err error
	if c.definition.Setup != nil {
		err = c.definition.Setup(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		r.problem = err.Error()
	} else {
		r.problem = ""
		if r.state == Starting {
			r.state = Running
		}
	}
	close(r.settled)
}

func (c *child) end(r *run, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.exit = "exit status 0"
	if err != nil {
		r.exit = err.Error()
	}
	r.state = Exited
	if r.asked {
		r.state = Stopped
	}
	select {
	case <-r.settled:
	default:
		close(r.settled)
	}
	close(r.ended)
}

// await waits until the run is ready.
func (c *child) await(ctx context.Context, r *run) error {
	select {
	case <-r.settled:
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		return fmt.Errorf("waiting for %s: %w (last: %s)", c.definition.Name, context.Cause(ctx), r.problem)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case r.state == Exited || r.state == Stopped:
		return fmt.Errorf("waiting for %s: it ended: %s", c.definition.Name, r.exit)
	case r.problem != "":
		return fmt.Errorf("setting up %s: %s", c.definition.Name, r.problem)
	}
	return nil
}

// stop ends the process with the signal and waits until it is gone. One that outlives its
// grace is killed. Stopping what does not run is no error.
func (c *child) stop(signal syscall.Signal) error {
	c.transition.Lock()
	defer c.transition.Unlock()
	r := c.alive()
	if r == nil {
		return nil
	}
	c.mu.Lock()
	r.asked = true
	c.mu.Unlock()
	if err := r.signal(signal); err != nil {
		return fmt.Errorf("stopping %s: %w", c.definition.Name, err)
	}
	// A paused process takes no signal but SIGKILL before it continues.
	if err := r.signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("stopping %s: %w", c.definition.Name, err)
	}
	select {
	case <-r.ended:
		return nil
	case <-time.After(stopGrace):
	}
	if err := r.signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing %s: %w", c.definition.Name, err)
	}
	<-r.ended
	return nil
}

// halt pauses the process with SIGSTOP or lets it go on with SIGCONT.
func (c *child) halt(signal syscall.Signal) error {
	c.transition.Lock()
	defer c.transition.Unlock()
	r := c.alive()
	if r == nil {
		return fmt.Errorf("signalling %s: %w", c.definition.Name, ErrNotRunning)
	}
	if err := r.signal(signal); err != nil {
		return fmt.Errorf("signalling %s: %w", c.definition.Name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case signal == syscall.SIGSTOP:
		r.state = Paused
	case r.state == Paused:
		r.state = Starting
		select {
		case <-r.settled:
			r.state = Running
		default:
		}
	}
	return nil
}

// signal counts a process that has just ended as signalled.
func (r *run) signal(signal syscall.Signal) error {
	if err := r.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func (c *child) status() Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	status := Process{
		Name:      c.definition.Name,
		State:     Stopped,
		Starts:    c.starts,
		Addresses: c.definition.Addresses,
		LogFile:   c.definition.LogFile,
	}
	if r := c.run; r != nil {
		status.State, status.Exit, status.Problem = r.state, r.exit, r.problem
		status.StartedAt = &r.startedAt
		if r.exit == "" {
			status.PID = r.cmd.Process.Pid
		}
	}
	return status
}

// awaitFree waits until each address can be listened on.
func awaitFree(ctx context.Context, addresses []string) error {
	ctx, cancel := context.WithTimeout(ctx, portGrace)
	defer cancel()
	for _, address := range addresses {
		for {
			listener, err := net.Listen("tcp", address)
			if err == nil {
				listener.Close()
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("waiting for %s to be free: %w", address, err)
			case <-time.After(readyInterval):
			}
		}
	}
	return nil
}
