package command

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/playground/netns"
	"github.com/svmctl/svmctl/playground/plane"
)

func newExecCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "exec [--dir DIR] [--] COMMAND [ARG…]",

		DisableFlagsInUseLine: true,
		Short:                 "Run a command that finds the plane, inside its network namespace if it has one",
		Long: `Run a command with the environment that DIR/env sets, and inside the network namespace of a
plane that is up with --netns. This process becomes the command: its exit status is that of the
command.

A command that is left running in the namespace keeps the namespace, though not the plane, after
'playground down'.`,
		Example: "  playground exec --dir /tmp/plane -- playground kubectl get endpointslices",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			layout, err := layoutOf(dir)
			if err != nil {
				return err
			}
			client, err := connect(layout)
			if err != nil {
				return err
			}
			status, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			state, err := plane.LoadState(layout)
			if err != nil {
				return err
			}
			environ, err := state.Spec.Environment(layout, os.Environ())
			if err != nil {
				return err
			}
			path, err := exec.LookPath(args[0])
			if err != nil {
				return fmt.Errorf("finding the command: %w", err)
			}
			if state.Spec.NetNS {
				return netns.ExecIn(status.PID, path, args, environ)
			}
			if err := syscall.Exec(path, args, environ); err != nil {
				return fmt.Errorf("executing %s: %w", path, err)
			}
			return nil
		},
	}
	// What follows the command's name is its own.
	cmd.Flags().SetInterspersed(false)
	addDirFlag(cmd, &dir)
	return cmd
}
