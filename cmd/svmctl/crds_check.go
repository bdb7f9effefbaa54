package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/crd/upgrade"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/gate"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/expect"
)

func newCRDsCheckCommand(p *program) *cobra.Command {
	var (
		files  []string
		output string
	)
	cmd := &cobra.Command{
		Use:   "check -f FILE",
		Short: "Tell before an upgrade whether its CustomResourceDefinitions would be refused, or lose what is stored",
		Long: `check compares the CustomResourceDefinitions of files with those of the cluster and with every object in etcd, and changes
nothing. For each definition it tells

  Clean     the apiserver accepts it, and every object stays readable and whole
  Unknown   nothing was found wrong, and not everything could be looked at
  Loses     objects would become unreadable, or would lose fields with their next write
  Rejected  the apiserver would refuse it

and names the fields that would be lost and the versions that could no longer be read. Objects that are left in etcd from a
definition that was deleted count for one that is new. Objects of other kinds in the files are skipped.

What is not looked at: names that another definition has already, admission, permissions, default values, whether
stored objects are valid by the new schema, and what a conversion webhook drops.

Exit status:
  0    Clean
  1    no report could be made: no connection, a file that cannot be read
  2    wrong usage
  3    Rejected or Loses
  4    Unknown: encrypted objects that no file at hand opens, definitions that may not be read, an etcd that could not be read as a whole
  130  interrupted`,
		Example: `  # the gate before an upgrade of a chart with its definitions in crds/
  svmctl crds check -f crds/

  # or with its definitions among the templates
  helm template ./chart | svmctl crds check -f -

  # for a program: the fields that would be lost, by definition
  svmctl crds check -f crds.yaml -o json | jq '.crds[] | {name, lost}'`,
		Args: usageArgs(cobra.NoArgs),
	}
	etcd := addEtcdFlags(cmd.Flags(), p.env)
	kube := addKubeFlags(cmd.Flags())
	enc := addEncryptionFlags(cmd.Flags())
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil, "`file` with definitions in YAML or JSON, a directory of such, or - for stdin; repeatable")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`format`: table, wide, json or yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		opts, err := p.renderOptions(output)
		switch {
		case err != nil:
			return err
		case opts.Format == render.CSV:
			return usageError(errors.New("-o is table, wide, json or yaml here, not csv"))
		}
		if len(files) == 0 {
			return usageError(errors.New("no definitions to check"), "name a file with -f, or read them from a pipe with -f -")
		}
		next, skipped, err := readDefinitions(p.in, files)
		if err != nil {
			return err
		}
		if _, err := p.locate(etcd, kube, enc); err != nil {
			return err
		}
		unlocked, err := enc.load(ctx)
		if err != nil {
			return err
		}
		defer unlocked.close()
		cfg, err := kube.config()
		if err != nil {
			return err
		}
		client, err := crd.NewClient(cfg)
		if err != nil {
			return err
		}
		store, err := etcd.open(ctx)
		if err != nil {
			return err
		}
		defer store.Close()
		progress := new(etcdscan.Progress)
		stopProgress := render.ScanProgress(p.err, p.errTerminal, "reading etcd", progress)
		report, err := gate.Run(ctx, gate.Request{
			Store: store, Origin: origin(store), Definitions: client, Next: next, Skipped: skipped, Prefixes: etcd.prefixes, Opener: unlocked.opener(), Sample: unlocked.sample(), Announce: p.announce(unlocked),
			NoneDefined: func(ctx context.Context) bool {
				return expect.Empty(ctx, cfg, verify.Resource{Group: "apiextensions.k8s.io", Name: "customresourcedefinitions"}, store.Revision)
			},
			Version: version, Now: time.Now, Progress: progress,
		})
		stopProgress()
		if err != nil {
			return err
		}
		if err := render.Gate(p.out, report, opts); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		switch report.Result() {
		case upgrade.Clean:
			return nil
		case upgrade.Loses, upgrade.Rejected:
			return &exitError{code: exitIncomplete}
		}
		return &exitError{code: exitIndeterminate}
	}
	return cmd
}

// readDefinitions reads all files. A directory stands for the YAML and JSON files directly in it.
func readDefinitions(stdin io.Reader, files []string) (defs []*crd.Definition, skipped int, err error) {
	from := make(map[string]string)
	for _, file := range files {
		parts, err := expand(file)
		if err != nil {
			return nil, 0, fmt.Errorf("reading %s: %w", file, err)
		}
		for _, part := range parts {
			found, others, err := readFile(stdin, part)
			if part == "-" {
				part = "stdin"
			}
			if err != nil {
				return nil, 0, fmt.Errorf("reading %s: %w", part, err)
			}
			for _, d := range found {
				if first, again := from[d.Name]; again {
					return nil, 0, &exitError{code: exitFailed, err: fmt.Errorf("reading %s: CustomResourceDefinition %s is in %s already", part, d.Name, first),
						hints: []string{"each definition may be there once"}}
				}
				from[d.Name] = part
			}
			defs, skipped = append(defs, found...), skipped+others
		}
	}
	if len(defs) == 0 {
		return nil, 0, &exitError{code: exitFailed, err: fmt.Errorf("there is no CustomResourceDefinition in what was given (%s of other kinds)", render.Count(int64(skipped), "object")),
			hints: []string{"helm template leaves crds/ out unless it is given --include-crds"}}
	}
	return defs, skipped, nil
}

func expand(file string) ([]string, error) {
	if file == "-" {
		return []string{file}, nil
	}
	if info, err := os.Stat(file); err != nil || !info.IsDir() {
		return []string{file}, err
	}
	entries, err := os.ReadDir(file)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			files = append(files, filepath.Join(file, e.Name()))
		}
	}
	return files, nil
}

func readFile(stdin io.Reader, file string) ([]*crd.Definition, int, error) {
	r := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, 0, err
		}
		defer f.Close()
		r = f
	}
	found, others, err := crd.Parse(r)
	var bad *crd.ParseError
	if errors.As(err, &bad) {
		err = &exitError{code: exitFailed, err: err, hints: []string{"kubectl apply --dry-run=client -f FILE says more; templates have to be rendered first, as with helm template"}}
	}
	return found, others, err
}
