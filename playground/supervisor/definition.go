// Package supervisor keeps a few child processes running and is told what to do with them
// over a unix socket. It does not know what the processes are, and never restarts one unasked.
package supervisor

import (
	"context"
	"time"
)

// Definition says how a process is started and when it counts as up.
type Definition struct {
	Name string
	// Hostname, if set, is that of the process and of no other, which takes a UTS namespace of
	// its own and the right to make one. Empty is the machine's.
	Hostname string
	// Together has a supervisor that starts all processes start this one along with the one
	// before, without waiting for that to become ready.
	Together bool
	// Argv is the whole command line; its first element is the executable.
	Argv []string
	// Env is the whole environment.
	Env []string
	// LogFile takes stdout and stderr; each start appends.
	LogFile string
	// Addresses are the TCP addresses that the process listens on. They must be free before it starts.
	Addresses []string
	// Ready makes one attempt to find the process ready. It is repeated until it returns nil.
	Ready func(context.Context) error
	// Setup, if set, runs after each time the process became ready, and before the process
	// counts as running. It must be repeatable.
	Setup func(context.Context) error
}

// State is where a process is in its life.
type State string

const (
	// Stopped is a process that was never started, or was stopped or killed on request.
	Stopped State = "stopped"
	// Starting is a process that runs and is not ready yet.
	Starting State = "starting"
	// Running is a process that was ready once since its start.
	Running State = "running"
	// Paused is a process halted by SIGSTOP.
	Paused State = "paused"
	// Exited is a process that ended without having been asked to.
	Exited State = "exited"
)

// Process is the status of one process.
type Process struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	// PID is 0 unless the process runs.
	PID int `json:"pid,omitempty"`
	// StartedAt is the time of the last start.
	StartedAt *time.Time `json:"startedAt,omitempty"`
	// Starts counts how often the process was started.
	Starts int `json:"starts"`
	// Exit tells how the last run ended, as "exit status 1" or "signal: killed".
	Exit string `json:"exit,omitempty"`
	// Problem is why the process is not ready: what the last attempt or the setup said.
	Problem   string   `json:"problem,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	LogFile   string   `json:"logFile"`
}

// Status is the status of everything under one supervisor.
type Status struct {
	Dir string `json:"dir"`
	PID int    `json:"pid"`
	// Ready is true when every process is running.
	Ready     bool      `json:"ready"`
	Processes []Process `json:"processes"`
}
