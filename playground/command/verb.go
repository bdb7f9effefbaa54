package command

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

// newVerbCommand makes one of the calls that act on a single process.
func newVerbCommand(verb, short string) *cobra.Command {
	var (
		dir     string
		noWait  bool
		timeout time.Duration
	)
	starts := verb == "start" || verb == "restart"
	cmd := &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			layout, err := layoutOf(dir)
			if err != nil {
				return err
			}
			client, err := connect(layout)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			_, err = client.Do(ctx, args[0], verb, starts && !noWait)
			return err
		},
	}
	addDirFlag(cmd, &dir)
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait")
	if starts {
		cmd.Flags().BoolVar(&noWait, "no-wait", false, "return without waiting until it is ready")
	}
	return cmd
}
