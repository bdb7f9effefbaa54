package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/playground/plane"
	"github.com/svmctl/svmctl/playground/supervisor"
)

// errNotUp is returned when no supervisor is alive in the directory.
var errNotUp = errors.New("no plane is up there")

func newDownCommand() *cobra.Command {
	var (
		dir     string
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop everything and wait until it is gone",
		Long:  "Stop everything and wait until it is gone. The data stays. It is no error when nothing runs.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			layout, err := layoutOf(dir)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			client, err := connect(layout)
			if errors.Is(err, errNotUp) {
				return nil
			}
			if err != nil {
				return err
			}
			status, err := client.Status(ctx)
			if err != nil {
				return err
			}
			end, err := supervisor.WatchEnd(status.PID)
			if err != nil {
				return err
			}
			defer end.Close()
			if err := client.Down(ctx); err != nil {
				return err
			}
			// Its network namespace ends only with the supervisor itself, which lets go of the lock before.
			if err := end.Await(ctx); err != nil {
				return err
			}
			return supervisor.AwaitFree(ctx, layout.Lock())
		},
	}
	addDirFlag(cmd, &dir)
	cmd.Flags().DurationVar(&timeout, "timeout", 90*time.Second, "how long to wait")
	return cmd
}

// connect returns a client of the supervisor of the plane, or errNotUp.
func connect(layout plane.Layout) (*supervisor.Client, error) {
	state, err := plane.LoadState(layout)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", layout.Dir, errNotUp)
	}
	if err != nil {
		return nil, err
	}
	lock, err := supervisor.Acquire(layout.Lock())
	if err == nil {
		lock.Release()
		return nil, fmt.Errorf("%s: %w", layout.Dir, errNotUp)
	}
	if !errors.Is(err, supervisor.ErrLocked) {
		return nil, err
	}
	return supervisor.NewClient(state.Socket), nil
}
