package main

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
)

const exitStatus = `
Exit status:
  0    done, and where there is a verdict it is Complete
  1    no report could be made: no connection, nothing under the prefix
  2    wrong usage
  3    Incomplete: something is not as expected
  4    Indeterminate: something could not be looked at or not be understood
  130  interrupted`

// program is what all commands share.
type program struct {
	streams
	env   func(string) (string, bool)
	host  fs.FS // the files of this machine, on which svmctl looks for an apiserver's; nil: it does not look
	color string
}

func newRootCommand(io streams, env func(string) (string, bool), host fs.FS) *cobra.Command {
	p := &program{streams: io, env: env, host: host}
	root := &cobra.Command{
		Use:   "svmctl",
		Short: "Prove how Kubernetes objects are stored in etcd, and migrate those that are stale",
		Long: `svmctl reads etcd and tells, object by object, with which key it is encrypted and at which apiVersion it is stored.
It has stale objects rewritten through the apiserver and then reads etcd again until that proves the migration, or names
each object that is in the way. It never writes to etcd, and it never prints a byte of a stored value.`,
		Example: `  # what is in etcd, and how is it encrypted?
  svmctl audit

  # is every secret under key2?
  svmctl audit --expect secrets=aescbc:key2

  # re-encrypt those that are not, and prove it
  svmctl migrate secrets --to aescbc:key2`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          usageArgs(cobra.NoArgs),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exitError{code: exitUsage, err: err, hints: []string{cmd.CommandPath() + " --help shows what there is"}}
	})
	root.CompletionOptions.HiddenDefaultCmd = false
	root.PersistentFlags().StringVar(&p.color, "color", "auto", "colour the output: auto, always or never")
	root.AddCommand(newAuditCommand(p), newMigrateCommand(p), newKeysCommand(p), newCRDsCommand(p), newResidueCommand(p), newEvidenceCommand(p), newVersionCommand(p))
	for _, cmd := range root.Commands() {
		if cmd.Runnable() && cmd.Name() != "version" {
			cmd.Long = strings.TrimSpace(cmd.Long) + "\n" + exitStatus
		}
	}
	return root
}

// usageArgs makes what cobra says about arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError(err)
		}
		return nil
	}
}

// warn says what the person should know beside the result.
func (p *program) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(p.err, "svmctl: warning: %s\n", oneLine(w))
	}
}

// renderOptions are those of a command whose result has no findings to cut.
func (p *program) renderOptions(output string) (render.Options, error) {
	format, err := render.ParseFormat(output)
	if err != nil {
		return render.Options{}, usageError(err)
	}
	palette, err := p.palette(p.outTerminal)
	return render.Options{Format: format, Palette: palette, MaxFindings: -1}, err
}

// palette decides about colour for one output.
func (p *program) palette(terminal bool) (render.Palette, error) {
	switch p.color {
	case "always":
		return render.NewPalette(true), nil
	case "never":
		return render.NewPalette(false), nil
	case "auto":
		_, noColor := p.env("NO_COLOR")
		return render.NewPalette(terminal && !noColor), nil
	}
	return render.Palette{}, usageError(fmt.Errorf("--color is auto, always or never, not %q", p.color))
}

func newVersionCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of svmctl",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(p.out, "svmctl %s\n", version)
			return err
		},
	}
}
