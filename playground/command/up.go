package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/playground/netns"
	"github.com/svmctl/svmctl/playground/plane"
	"github.com/svmctl/svmctl/playground/supervisor"
)

func newUpCommand() *cobra.Command {
	var (
		dir     string
		detach  bool
		timeout time.Duration
		flagged plane.Spec
	)
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the plane and print what to export to use it",
		Long: `Start etcd, kube-apiserver and kube-controller-manager on 127.0.0.1 and print what to
export to use them; DIR/env holds the same, to be sourced in a shell.

With --apiservers 3 there are two apiservers more, each with a hostname, and so an identity
lease, of its own: kube-apiserver-2 and kube-apiserver-3 after the names of their processes.
With --netns everything runs in a network namespace that has no name, no way out, and no
address on the machine: 'playground exec' runs a command in it.

It stays in the foreground until Ctrl-C or SIGTERM, and then stops everything. With --detach
it returns once the plane is ready; 'playground down' stops it.

A directory that held a plane before brings the same one back: data, certificates, tokens,
settings, and ports as far as they are free. A flag that is given replaces the setting of that
name; an empty one, as --apiserver-arg=, takes it back.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			layout, err := layoutOf(dir)
			if err != nil {
				return err
			}
			spec, err := choose(layout, flagged, cmd.Flags().Changed)
			if err != nil {
				return err
			}
			if detach {
				if err := superviseDetached(cmd.Context(), layout, timeout, spec.NetNS); err != nil {
					return err
				}
				return printExports(cmd, layout)
			}
			if spec.NetNS {
				return superviseApart(layout, timeout)
			}
			return supervise(cmd.Context(), layout, timeout, func() error {
				return printExports(cmd, layout)
			})
		},
	}
	addDirFlag(cmd, &dir)
	cmd.Flags().BoolVar(&detach, "detach", false, "leave the plane running in the background")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long the plane may take to become ready")
	flagged.AddFlags(cmd.Flags())
	return cmd
}

// choose writes and returns the settings of the plane: the ones it had, under the flags that were given.
func choose(layout plane.Layout, flagged plane.Spec, given func(string) bool) (plane.Spec, error) {
	if err := layout.Create(); err != nil {
		return plane.Spec{}, err
	}
	lock, err := acquire(layout)
	if err != nil {
		return plane.Spec{}, err
	}
	defer lock.Release()
	state, err := plane.LoadState(layout)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		state.Spec = flagged
	case err != nil:
		return plane.Spec{}, err
	default:
		state.Spec.Overlay(flagged, given)
	}
	if err := state.Spec.ResolveEncryption(); err != nil {
		return plane.Spec{}, err
	}
	if err := state.Spec.Validate(); err != nil {
		return plane.Spec{}, err
	}
	return state.Spec, state.Save(layout)
}

// supervise runs the plane until ctx ends or somebody asks for its end. It calls ready
// once the plane is.
func supervise(ctx context.Context, layout plane.Layout, limit time.Duration, ready func() error) error {
	lock, err := acquire(layout)
	if err != nil {
		return err
	}
	defer lock.Release()
	state, err := plane.LoadState(layout)
	if err != nil {
		return err
	}
	if state.Spec.NetNS {
		if err := netns.SetUp(state.Spec.Addresses()); err != nil {
			return err
		}
	}
	p, err := plane.Prepare(layout, &state)
	if err != nil {
		return err
	}
	socket, err := state.Listen(layout)
	if err != nil {
		return err
	}
	defer state.Close(layout, socket)
	if err := state.Save(layout); err != nil {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the playground's own binary: %w", err)
	}
	return supervisor.New(layout.Dir, p.Definitions(executable)).Run(ctx, socket, limit, ready)
}

// acquire takes the lock of the plane.
func acquire(layout plane.Layout) (*supervisor.Lock, error) {
	lock, err := supervisor.Acquire(layout.Lock())
	if errors.Is(err, supervisor.ErrLocked) {
		return nil, fmt.Errorf("%s: a plane is up there already", layout.Dir)
	}
	return lock, err
}

func printExports(cmd *cobra.Command, layout plane.Layout) error {
	exports, err := os.ReadFile(layout.Env())
	if err != nil {
		return fmt.Errorf("reading what to export: %w", err)
	}
	_, err = cmd.OutOrStdout().Write(exports)
	return err
}
