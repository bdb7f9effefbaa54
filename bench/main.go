// Bench drives the shipped svmctl against a real etcd and a real control plane on loopback, and prints its speed as
// ratios to what one would use instead. Everything is measured in one run, in turns, so that the ratios hold on a
// machine whose absolute numbers mean little.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		if job, ok := jobs[args[0]]; ok {
			return job(ctx, args[1:], stdout)
		}
	}
	return runBench(ctx, args, stdout, stderr)
}

// jobs are what the bench has done by a child process of its own: work whose memory and time are to be measured, or
// whose memory must not become the parent's (see measure).
var jobs = map[string]func(ctx context.Context, args []string, stdout io.Writer) error{
	"load":           loadValues,
	"load-sealed":    loadSealed,
	"drain-stream":   drainStream,
	"drain-pages":    drainPages,
	"create-secrets": createSecrets,
	"patch-secrets":  patchSecrets,
	"make-file":      makeFile,
	"drain-file":     drainFile,
	"read-file":      readFile,
}

// options is what the flags say.
type options struct {
	bin      string // directory of svmctl and playground
	rounds   int
	keys     int
	sealed   int
	secrets  int
	fileKeys int
	log      io.Writer
}

func runBench(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opts := options{log: stderr}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opts.bin, "bin", "bin", "`directory` that holds svmctl and playground")
	flags.IntVar(&opts.rounds, "rounds", 3, "how often everything is measured; medians are reported")
	flags.IntVar(&opts.keys, "keys", 300_000, "values of 1.1 kB that the audit reads")
	flags.IntVar(&opts.sealed, "sealed", 100_000, "encrypted values of 1.1 kB that the audit opens")
	flags.IntVar(&opts.secrets, "secrets", 5_000, "secrets of 1.1 kB that are migrated")
	flags.IntVar(&opts.fileKeys, "file-keys", 1_000_000, "values of 1.1 kB in the snapshot that is read")
	only := flags.String("only", "", "measure `audit`, open, snapshot, evidence or migrate alone")
	timeout := flags.Duration("timeout", time.Hour, "how long the whole run may take")
	asJSON := flags.Bool("json", false, "write the results as JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || !slices.Contains([]string{"", "audit", "open", "snapshot", "evidence", "migrate"}, *only) || min(opts.rounds, opts.keys, opts.sealed, opts.secrets, opts.fileKeys) < 1 {
		return fmt.Errorf("parsing arguments: %q makes no sense here", strings.Join(args, " "))
	}
	var err error
	if opts.bin, err = filepath.Abs(opts.bin); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()

	report := Report{StartedAt: time.Now().UTC(), CPUs: runtime.NumCPU(), Rounds: opts.rounds}
	if report.Versions, err = versions(ctx, opts.bin); err != nil {
		return err
	}
	for _, part := range []struct {
		name, what string
		bench      func(context.Context, options) (Table, error)
	}{
		{"audit", "the audit", benchAudit}, {"open", "the opening", benchOpen}, {"snapshot", "the reading of a file", benchSnapshot}, {"evidence", "the bundle", benchEvidence},
		{"migrate", "the migration", benchMigrate},
	} {
		if *only != "" && *only != part.name {
			continue
		}
		table, err := part.bench(ctx, opts)
		if err != nil {
			return fmt.Errorf("measuring %s: %w", part.what, err)
		}
		report.Tables = append(report.Tables, table)
	}
	if *asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(report)
	}
	return report.write(stdout)
}
