package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/migrate"
	"github.com/svmctl/svmctl/internal/rewrite"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/expect"
)

// migrateFlags are those of migrate that decide what is done to what.
type migrateFlags struct {
	to                         string
	expected, expectedVersions []string
	backend, dryRun            string
	yes                        bool
}

func newMigrateCommand(p *program) *cobra.Command {
	var (
		flags        migrateFlags
		req          migrate.Request
		output       string
		maxFindings  int64
		showMessages bool
	)
	cmd := &cobra.Command{
		Use:   "migrate [RESOURCE...]",
		Short: "Have stale objects rewritten through the apiserver, and prove it from etcd",
		Long: `migrate finds the objects that are not stored as they should be, has the apiserver write them again, and reads etcd
again until all are as they should be or each one that is not is named with its reason. It writes through the apiserver
alone and never to etcd: with the verb patch on the resource, or by a StorageVersionMigration with --backend svm. Custom
resources are not migrated yet, because a rewrite can drop fields that their schema does not know.

The target comes from --to or --expect. Without either, one object is patched after consent and read back from etcd,
which shows what the apiserver writes now; such a target proposes, so that the verdict is Indeterminate at best.

An interrupted run needs no state: the same command finds in etcd what is left. A verdict speaks of one revision of etcd.`,
		Example: `  # see what would be done
  svmctl migrate secrets --to aescbc:key2 --dry-run

  # whose admission would refuse?
  svmctl migrate secrets --to aescbc:key2 --dry-run=server

  # re-encrypt all secrets that are not under key2
  svmctl migrate secrets --to aescbc:key2 --yes

  # all that is expected, through the in-tree controller
  svmctl migrate --expect secrets=aescbc:key2 --expect configmaps=aescbc:key2 --backend svm --yes`,
	}
	cmd.Args = usageArgs(cobra.ArbitraryArgs)
	fs := cmd.Flags()
	etcd := addEtcdFlags(fs, p.env)
	kube := addKubeFlags(fs)
	fs.StringVar(&flags.to, "to", "", "migrate RESOURCE to `PROVIDER:KEY[:KEYID]`, such as aescbc:key2, or to identity")
	fs.StringArrayVar(&flags.expected, "expect", nil, "expect `RESOURCE=PROVIDER[:KEY[:KEYID]]`; repeatable")
	fs.StringArrayVar(&flags.expectedVersions, "expect-version", nil, "expect `RESOURCE=APIVERSION`; repeatable")
	fs.StringVar(&flags.backend, "backend", string(migrate.Patch), "who rewrites: patch (svmctl, stale objects alone) or svm (the in-tree StorageVersionMigration controller)")
	fs.StringVar(&flags.dryRun, "dry-run", "none", "client: write nothing and show the plan; server: send every patch with dryRun=All, and exit with 3 when one is refused")
	fs.Lookup("dry-run").NoOptDefVal = string(migrate.ClientDryRun)
	fs.BoolVarP(&flags.yes, "yes", "y", false, "do not ask")
	fs.IntVar(&req.Rewrite.Concurrency, "concurrency", 16, "patches in flight at most")
	fs.Float64Var(&req.Rewrite.QPS, "qps", 0, "patches per second at most; 0 for no limit")
	fs.DurationVar(&req.MaxOutage, "max-outage", 2*time.Minute, "how long to go on without an answer of the apiserver, and how long to try one object")
	fs.DurationVar(&req.StallTimeout, "stall-timeout", 10*time.Minute, "how long to wait for the in-tree controller while nothing changes")
	fs.Int64Var(&req.Quota, "etcd-quota", 0, "etcd's quota in `bytes`, where etcd does not tell it (before 3.6)")
	fs.IntVar(&req.MaxRounds, "max-rounds", 5, "how often objects that turned stale meanwhile are taken again")
	fs.BoolVar(&showMessages, "show-messages", false, "show the free text of refusals, which may quote the object")
	fs.StringVarP(&output, "output", "o", "table", "`format`: table, wide, json or yaml")
	fs.Int64Var(&maxFindings, "max-findings", -1, "list at most `N` findings and failures (default: 20 in tables, all elsewhere)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		format, err := render.ParseFormat(output)
		if err == nil && format == render.CSV {
			err = errors.New("-o csv is for audit alone")
		}
		if err != nil {
			return usageError(err)
		}
		palette, err := p.palette(p.outTerminal)
		if err != nil {
			return err
		}
		asked, err := flags.check(args, p.inTerminal)
		if err != nil {
			return err
		}
		if req.Rewrite.Concurrency < 1 || req.Rewrite.QPS < 0 || req.MaxOutage <= 0 || req.StallTimeout <= 0 || req.MaxRounds < 1 || req.Quota < 0 {
			return usageError(errors.New("--concurrency, --max-outage, --stall-timeout and --max-rounds are positive; --qps and --etcd-quota are not negative"))
		}
		req.Config, err = kube.config()
		if err != nil {
			return err
		}
		if req.Resources, req.Expectations, err = resolve(ctx, req.Config, args, asked); err != nil {
			return err
		}
		etcd.config.Patience = req.MaxOutage
		store, err := etcd.open(ctx)
		if err != nil {
			return err
		}
		defer store.Close()
		opts := render.Options{Format: format, Palette: palette, MaxFindings: maxFindings}
		req.Store, req.Origin, req.Prefixes = store, origin(store), etcd.prefixes
		req.Backend, req.DryRun, req.ShowMessages = asked.backend, asked.dryRun, showMessages
		req.Version, req.Now, req.Progress = version, time.Now, new(migrate.Progress)
		req.ConfirmEmpty = func(ctx context.Context, r verify.Resource) bool {
			return expect.Empty(ctx, req.Config, r, store.Revision)
		}
		progress := render.MigrateProgress(p.err, p.errTerminal, req.Progress)
		defer progress.Stop()
		ask := &prompt{program: p, yes: flags.yes, around: progress.Hidden}
		req.Consent, req.ProbeConsent = ask.plan, ask.probe
		result, err := migrate.Run(ctx, req)
		progress.Stop()
		if err != nil {
			return err
		}
		defer result.Close()
		if err := render.Migration(p.out, result, opts); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		return migrationExit(result)
	}
	return cmd
}

// intent is what the flags ask for, once they are known to make sense.
type intent struct {
	to           verify.Value
	expectations verify.Expectations
	backend      migrate.Backend
	dryRun       migrate.DryRun
}

func (f migrateFlags) check(args []string, canAsk bool) (intent, error) {
	var in intent
	var err error
	if in.expectations, err = verify.ParseExpectations(f.expected, f.expectedVersions); err != nil {
		return in, usageError(err)
	}
	if f.to != "" {
		if in.to, err = verify.ParseValue(f.to); err != nil {
			return in, usageError(fmt.Errorf("--to %w", err))
		}
		if in.to.Provider == verify.Encrypted || (in.to.Key == "" && in.to.Provider != "identity") {
			return in, usageError(fmt.Errorf("--to %s: name the key that is to encrypt, such as aescbc:key2", f.to))
		}
		if len(args) == 0 {
			return in, usageError(errors.New("--to needs a RESOURCE"), "svmctl migrate secrets --to "+f.to)
		}
	}
	for _, e := range in.expectations {
		// An expectation may come from an audit's command line; to take encryption away is asked for by name.
		if e.Value.Provider == "identity" && in.to.Provider != "identity" {
			return in, usageError(fmt.Errorf("--expect %s=identity would have plaintext written, which only --to identity asks for", e.Resource),
				fmt.Sprintf("svmctl migrate %s --to identity", e.Resource))
		}
	}
	switch in.backend = migrate.Backend(f.backend); in.backend {
	case migrate.Patch, migrate.SVM:
	default:
		return in, usageError(fmt.Errorf("--backend is patch or svm, not %q", f.backend))
	}
	switch f.dryRun {
	case "none":
	case string(migrate.ClientDryRun), string(migrate.ServerDryRun):
		in.dryRun = migrate.DryRun(f.dryRun)
	default:
		return in, usageError(fmt.Errorf("--dry-run is none, client or server, not %q", f.dryRun))
	}
	if in.dryRun == migrate.ServerDryRun && in.backend == migrate.SVM {
		return in, usageError(errors.New("--dry-run=server tries patches: it goes with --backend patch alone"))
	}
	known := f.to != "" || len(in.expectations) > 0
	switch {
	case len(args) == 0 && len(in.expectations) == 0:
		return in, usageError(errors.New("name a RESOURCE, or what is expected"), "svmctl migrate secrets --to aescbc:key2")
	case !known && in.dryRun != migrate.NoDryRun:
		return in, usageError(errors.New("a dry run writes nothing, and so it cannot find out the target"), "name it with --to or --expect")
	case !known && f.yes:
		return in, usageError(errors.New("--yes needs a target that somebody named"), "name it with --to or --expect")
	case in.dryRun == migrate.NoDryRun && !f.yes && !canAsk:
		return in, usageError(errors.New("there is no terminal to ask on"), "--yes goes on without asking; --dry-run shows the plan")
	}
	return in, nil
}

// resolve finds what the arguments name and what is expected of it.
func resolve(ctx context.Context, cfg *rest.Config, args []string, in intent) ([]rewrite.Resource, verify.Expectations, error) {
	if len(args) == 0 {
		return nil, in.expectations, nil
	}
	var resources []rewrite.Resource
	var expectations verify.Expectations
	for _, arg := range args {
		r, err := migrate.Resolve(ctx, cfg, arg)
		var unknown *rewrite.UnknownResourceError
		if errors.As(err, &unknown) {
			return nil, nil, &exitError{code: exitUsage, err: err}
		}
		if err != nil {
			return nil, nil, err
		}
		name := migrate.Name(r)
		if slices.ContainsFunc(resources, func(seen rewrite.Resource) bool { return migrate.Name(seen) == name }) {
			continue
		}
		e, known := in.expectations.For(name)
		if in.to != (verify.Value{}) {
			if e.Value != (verify.Value{}) && e.Value != in.to {
				return nil, nil, usageError(fmt.Errorf("%s is to become %s and is expected as %s", name, in.to, e.Value))
			}
			e.Value, e.From, known = in.to, verify.FromFlag, true
		}
		resources = append(resources, r)
		if known {
			expectations = append(expectations, e)
		}
	}
	for _, e := range in.expectations {
		named := slices.ContainsFunc(resources, func(r rewrite.Resource) bool { return migrate.Name(r) == e.Resource })
		if !named && e.Resource != verify.AnyResource {
			return nil, nil, usageError(fmt.Errorf("%s is expected and not named to be migrated", e.Resource), "name every RESOURCE, or none: then all that is expected is migrated")
		}
	}
	if len(expectations) < len(resources) && (len(in.expectations) > 0 || in.to != (verify.Value{})) {
		return nil, nil, usageError(errors.New("not every RESOURCE has a target"), "name it with --to or --expect")
	}
	return resources, expectations, nil
}

// migrationExit is the exit status of a migration that has a report.
func migrationExit(r *migrate.Report) error {
	switch {
	case r.Before.Unsupported:
		return &exitError{code: exitIndeterminate, err: etcdscan.ErrUnsupportedStore}
	case r.Unread:
		return verdictExit(r.Verdict)
	case r.Stopped != nil && r.Stopped.Code == migrate.StopInterrupted:
		return &exitError{code: exitInterrupted, err: r.Stopped}
	case r.DryRun == migrate.ServerDryRun && r.Stopped != nil:
		return &exitError{code: exitIncomplete, err: r.Stopped}
	case r.DryRun == migrate.ServerDryRun && r.FailureCount() > 0:
		return &exitError{code: exitIncomplete}
	case r.DryRun != migrate.NoDryRun:
		return nil
	case r.Stopped != nil && r.Verdict != verify.Complete:
		code := exitIncomplete
		if r.Verdict == verify.Indeterminate {
			code = exitIndeterminate
		}
		return &exitError{code: code, err: r.Stopped}
	}
	return verdictExit(r.Verdict)
}
