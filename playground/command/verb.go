package command

import (
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
			wait := timeout
			if noWait || !starts {
				wait = 0
			}
			_, err = client.Do(cmd.Context(), args[0], verb, wait)
			return err
		},
	}
	addDirFlag(cmd, &dir)
	if starts {
		cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long it may take to become ready")
		cmd.Flags().BoolVar(&noWait, "no-wait", false, "return without waiting until it is ready")
	}
	return cmd
}
