package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/playground/netns"
	"github.com/svmctl/svmctl/playground/plane"
)

// reportFD is the descriptor on which a detached supervisor tells its parent how the start went.
const reportFD = 3

// report is the one message on it.
type report struct {
	Error string `json:"error,omitempty"`
}

// newSuperviseCommand is what `up --detach` leaves in the background, and what `up` becomes
// when the plane has a network namespace of its own.
func newSuperviseCommand() *cobra.Command {
	var (
		dir        string
		timeout    time.Duration
		foreground bool
	)
	cmd := &cobra.Command{
		Use:    "supervise",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if foreground {
				layout, err := layoutOf(dir)
				if err != nil {
					return err
				}
				return supervise(cmd.Context(), layout, timeout, func() error {
					return printExports(cmd, layout)
				})
			}
			// The processes must not inherit it: the parent waits for its end.
			syscall.CloseOnExec(reportFD)
			parent := os.NewFile(reportFD, "report")
			layout, err := layoutOf(dir)
			if err != nil {
				return err
			}
			err = supervise(cmd.Context(), layout, timeout, func() error {
				if err := json.NewEncoder(parent).Encode(report{}); err != nil {
					return fmt.Errorf("telling that the plane is ready: %w", err)
				}
				return parent.Close()
			})
			if err != nil {
				// Lost when the plane was ready before; the log has it then.
				json.NewEncoder(parent).Encode(report{Error: err.Error()})
			}
			return err
		},
	}
	addDirFlag(cmd, &dir)
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long the plane may take to become ready")
	cmd.Flags().BoolVar(&foreground, "foreground", false, "print what to export on stdout instead of reporting to a parent")
	return cmd
}

// superviseApart has this process become a supervisor in a network namespace of its own. It
// returns only when it could not.
func superviseApart(layout plane.Layout, limit time.Duration) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the playground's own binary: %w", err)
	}
	argv := []string{executable, "supervise", "--foreground", "--dir=" + layout.Dir, "--timeout=" + limit.String()}
	return netns.ExecNew(executable, argv, os.Environ())
}

// superviseDetached starts a supervisor in a session of its own and returns when the plane is
// ready. Apart, it does so in a network namespace of its own. When ctx ends before, the supervisor
// is stopped, and all processes with it.
func superviseDetached(ctx context.Context, layout plane.Layout, limit time.Duration, apart bool) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the playground's own binary: %w", err)
	}
	logFile := layout.Log("supervisor")
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening log of the supervisor: %w", err)
	}
	defer log.Close()
	reader, writer, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("opening pipe to the supervisor: %w", err)
	}
	defer reader.Close()
	cmd := exec.Command(executable, "supervise", "--dir="+layout.Dir, "--timeout="+limit.String())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{writer}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if apart {
		netns.New(cmd)
	}
	err = cmd.Start()
	writer.Close()
	if apart && errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("starting supervisor in a network namespace of its own, which only root may: %w", err)
	}
	if err != nil {
		return fmt.Errorf("starting supervisor: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	var answer report
	err = json.NewDecoder(reader).Decode(&answer)
	if err == nil && answer.Error == "" {
		return cmd.Process.Release()
	}
	cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		return errors.New(answer.Error)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("starting supervisor: it ended early, see %s", logFile)
	}
	return fmt.Errorf("reading report of the supervisor: %w", err)
}
