package command

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/playground/supervisor"
)

func newStatusCommand() *cobra.Command {
	var dir, output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how each process is",
		Long: `Show how each process is: stopped (on request), starting, running, paused, or exited
(without having been asked to). The exit status is 0 when a plane is up, whatever the state of
its processes, and 1 when none is.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return fmt.Errorf("--output %q: want table or json", output)
			}
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
			return writeStatus(cmd.OutOrStdout(), status, output, time.Now())
		},
	}
	addDirFlag(cmd, &dir)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`format`: table or json")
	return cmd
}

func writeStatus(w io.Writer, status supervisor.Status, output string, now time.Time) error {
	if output == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(status)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATE\tPID\tAGE\tSTARTS\tEXIT\tLOG")
	for _, p := range status.Processes {
		pid, age, exit := "-", "-", "-"
		if p.PID != 0 {
			pid = fmt.Sprint(p.PID)
			age = now.Sub(*p.StartedAt).Round(time.Second).String()
		}
		if p.Exit != "" {
			exit = p.Exit
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", p.Name, p.State, pid, age, p.Starts, exit, p.LogFile)
	}
	return table.Flush()
}
