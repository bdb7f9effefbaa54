package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// logTail is how many lines of a log go into an error.
const logTail = 15

// ErrUnknownProcess is returned for a name that no definition has.
var ErrUnknownProcess = errors.New("no such process")

// Supervisor runs a set of processes. Its methods may be called from several goroutines.
type Supervisor struct {
	dir      string
	children []*child
	// life ends when the processes are to be stopped for good.
	life    context.Context
	endLife context.CancelFunc
	stopped chan struct{} // closed when all processes are gone
	once    sync.Once
}

// New returns a supervisor of the processes, which it starts in this order and stops in the reverse,
// those that are Together at once.
func New(dir string, definitions []Definition) *Supervisor {
	s := &Supervisor{dir: dir, stopped: make(chan struct{})}
	s.life, s.endLife = context.WithCancel(context.Background())
	starter := newStarter()
	for _, definition := range definitions {
		s.children = append(s.children, &child{definition: definition, starter: starter})
	}
	return s
}

// Run starts everything within the time limit, calls ready, then serves requests from the socket
// until ctx ends or somebody asks for the end. Whatever it returns, no process is left.
func (s *Supervisor) Run(ctx context.Context, socket net.Listener, limit time.Duration, ready func() error) error {
	defer s.endAll()
	server := s.serve(socket)
	defer func() {
		s.endAll() // before the server, whose last answer says that all is gone
		grace, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		server.Shutdown(grace)
	}()
	stop := context.AfterFunc(ctx, s.endLife)
	defer stop()
	if err := s.startAll(limit); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	<-s.life.Done()
	return nil
}

func (s *Supervisor) startAll(limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(s.life, limit, fmt.Errorf("not ready within %s", limit))
	defer cancel()
	for _, wave := range s.waves() {
		var runs []*run
		for _, c := range wave {
			r, err := c.start(ctx, s.life)
			if err != nil {
				return err
			}
			runs = append(runs, r)
		}
		for i, c := range wave {
			if err := c.await(ctx, runs[i]); err != nil {
				return fmt.Errorf("%w\n%s", err, tail(c.definition.LogFile, logTail))
			}
		}
	}
	return nil
}

// waves are the processes in the order in which they start, those together that start together.
func (s *Supervisor) waves() [][]*child {
	var waves [][]*child
	for _, c := range s.children {
		if last := len(waves) - 1; c.definition.Together && last >= 0 {
			waves[last] = append(waves[last], c)
		} else {
			waves = append(waves, []*child{c})
		}
	}
	return waves
}

// endAll stops all processes once; later calls wait for the first.
func (s *Supervisor) endAll() {
	s.once.Do(func() {
		s.endLife()
		for _, wave := range slices.Backward(s.waves()) {
			var ending sync.WaitGroup
			for _, c := range wave {
				ending.Go(func() {
					if err := c.stop(syscall.SIGTERM); err != nil {
						fmt.Fprintf(os.Stderr, "playground: %v\n", err)
					}
				})
			}
			ending.Wait()
		}
		close(s.stopped)
	})
	<-s.stopped
}

// Do carries out one request for the named process: start, stop, kill, restart, pause or resume.
// A start waits that long for readiness, 0 for not at all; a process that is not ready by then
// is left running.
func (s *Supervisor) Do(ctx context.Context, name, verb string, wait time.Duration) error {
	c, err := s.child(name)
	if err != nil {
		return err
	}
	if s.life.Err() != nil {
		return fmt.Errorf("%s %s: the playground is going down", verb, name)
	}
	switch verb {
	case "stop":
		return c.stop(syscall.SIGTERM)
	case "kill":
		return c.stop(syscall.SIGKILL)
	case "pause":
		return c.halt(syscall.SIGSTOP)
	case "resume":
		return c.halt(syscall.SIGCONT)
	case "restart":
		if err := c.stop(syscall.SIGTERM); err != nil {
			return err
		}
	case "start":
	default:
		return fmt.Errorf("no such request: %s", verb)
	}
	r, err := c.start(ctx, s.life)
	if err != nil || wait == 0 {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wait, fmt.Errorf("not ready within %s", wait))
	defer cancel()
	if err := c.await(ctx, r); err != nil {
		return fmt.Errorf("%w\n%s", err, tail(c.definition.LogFile, logTail))
	}
	return nil
}

// Status tells how each process is.
func (s *Supervisor) Status() Status {
	status := Status{Dir: s.dir, PID: os.Getpid(), Ready: true}
	for _, c := range s.children {
		process := c.status()
		status.Ready = status.Ready && process.State == Running
		status.Processes = append(status.Processes, process)
	}
	return status
}

func (s *Supervisor) child(name string) (*child, error) {
	var names []string
	for _, c := range s.children {
		if c.definition.Name == name {
			return c, nil
		}
		names = append(names, c.definition.Name)
	}
	return nil, fmt.Errorf("%w: %s (have %s)", ErrUnknownProcess, name, strings.Join(names, ", "))
}

// tail returns the last lines of a file, each after two spaces.
func tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return "  " + err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return "  " + path + ":\n  " + strings.Join(all, "\n  ")
}
