// Package command holds the playground's own calls. It wires flags to the other packages
// and words what they return; the real programs it leaves to main.
package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/playground/plane"
)

// dirEnv names the environment variable with the directory to use when --dir is not given;
// DIR/env sets it.
const dirEnv = "PLAYGROUND_DIR"

// Run executes one call and returns the exit status: 0 done, 1 failed. Programs are the names
// that main answers to besides.
func Run(ctx context.Context, programs, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand(programs)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(stderr, "playground: error: %v\n", err)
		return 1
	}
	return 0
}

func newRootCommand(programs []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "playground",
		Short: "Run a real Kubernetes control plane on this machine",
		Long: `Run a real control plane on 127.0.0.1: etcd, kube-apiserver, and the controllers that
migrate storage. Nothing else has to be installed, and nothing is left running.

This is a tool for development and demonstration. It is not for production: tokens and
keys lie in plain files, and etcd does not wait for the disk unless told to.

The same binary is each of the programs, with all their own flags:
  playground ` + strings.Join(programs, " …\n  playground ") + ` …`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		newUpCommand(),
		newSuperviseCommand(),
		newDownCommand(),
		newStatusCommand(),
		newExecCommand(),
		newVerbCommand("stop", "Stop one process with SIGTERM and wait until it is gone"),
		newVerbCommand("kill", "Kill one process with SIGKILL and wait until it is gone"),
		newVerbCommand("start", "Start one process that does not run"),
		newVerbCommand("restart", "Stop one process and start it again on the same port"),
		newVerbCommand("pause", "Halt one process with SIGSTOP"),
		newVerbCommand("resume", "Let a paused process go on with SIGCONT"),
		newWebhookCommand(),
		newWebhookConfigCommand(),
		newConversionCommand(),
		newConversionCRDCommand(),
		newKMSCommand(),
	)
	return root
}

// addDirFlag defines --dir, which is empty when neither the flag nor the environment names one.
func addDirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", os.Getenv(dirEnv), "`directory` of the plane (default $"+dirEnv+", else ./.playground)")
	cmd.Flags().Lookup("dir").DefValue = ""
}

func layoutOf(dir string) (plane.Layout, error) {
	if dir == "" {
		dir = ".playground"
	}
	return plane.NewLayout(dir)
}
