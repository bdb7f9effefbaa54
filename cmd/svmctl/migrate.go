package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/migrate"
	"github.com/svmctl/svmctl/internal/verify"
)

// kmsPatience is how long to wait for apiservers to notice that a KMS plugin has another key: they ask once a minute.
const kmsPatience = 3 * time.Minute

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
alone and never to etcd: with the verb patch on the resource, or by a StorageVersionMigration with --backend svm.

The target comes from --to, --expect or --expect-version. Otherwise an EncryptionConfiguration names the key of each resource,
and without RESOURCE all that it covers is migrated; that of a custom resource is the storage version in its
CustomResourceDefinition, and --all-stale-versions takes every resource at the version that the API declares. Without any
of these, one object is patched after consent and read back from etcd, which shows what the apiserver writes now; such a
target proposes, so that the verdict is Indeterminate at best.

Before anything is written, every apiserver is asked what it would write, and each stale custom resource is pruned in
memory by its schema: where the apiservers do not agree, or have not loaded the EncryptionConfiguration at hand, or fields would
be lost, nothing is written and the report names the apiserver, or the objects and fields. A new key of a KMS plugin is
waited for. Afterwards, where there are several apiservers, etcd is watched for late writes under the old key.

An interrupted run needs no state: the same command finds in etcd what is left. A verdict speaks of one revision of etcd.`,
		Example: `  # see what would be done
  svmctl migrate secrets --to aescbc:key2 --dry-run

  # whose admission would refuse?
  svmctl migrate secrets --to aescbc:key2 --dry-run=server

  # re-encrypt all secrets that are not under key2
  svmctl migrate secrets --to aescbc:key2 --yes

  # rotate all that the EncryptionConfiguration covers, once every apiserver has loaded it
  svmctl migrate --encryption-provider-config /etc/kubernetes/enc/enc.yaml --wait-converged 5m

  # move custom resources to their storage version
  svmctl migrate selfierequests.stable.example.com

  # whatever is not stored at its storage version, once the apiservers agree
  svmctl migrate --all-stale-versions --wait-converged 5m --yes

  # and leave a signed evidence bundle of it for the auditor
  svmctl migrate secrets --to aescbc:key2 --yes --evidence rotation-2026-q4 --reconcile-api --sign-key signing.key

  # all that is expected, through the in-tree controller
  svmctl migrate --expect secrets=aescbc:key2 --expect configmaps=aescbc:key2 --backend svm --yes`,
	}
	cmd.Args = usageArgs(cobra.ArbitraryArgs)
	fs := cmd.Flags()
	etcd := addEtcdFlags(fs, p.env)
	kube := addKubeFlags(fs)
	enc := addEncryptionFlags(fs)
	proof := addEvidenceFlags(fs, p.env)
	servers := new(apiserverFlags)
	fs.StringVar(&flags.to, "to", "", "migrate RESOURCE to `PROVIDER:KEY[:KEYID]`, such as aescbc:key2, or to identity")
	fs.StringArrayVar(&flags.expected, "expect", nil, "expect `RESOURCE=PROVIDER[:KEY[:KEYID]]`; repeatable")
	fs.StringArrayVar(&flags.expectedVersions, "expect-version", nil, "expect `RESOURCE=APIVERSION`; repeatable")
	fs.BoolVar(&flags.allStale, "all-stale-versions", false, "migrate every resource that is not stored at the version that the API declares")
	fs.StringVar(&flags.subresource, "subresource", "", "rewrite through this subresource, `status`, where admission refuses the object itself")
	fs.BoolVar(&req.AllowPruning, "allow-pruning", false, "go on although fields would be lost for good, or nobody can see whether any would")
	fs.StringVar(&req.SnapshotFile, "snapshot-first", "", "write a snapshot of etcd to a new `file`, which then holds every secret, before the first write")
	servers.add(fs)
	fs.DurationVar(&req.APIServers.Wait, "wait-converged", 0, "wait so long for the apiservers to agree on what they write (default: 3m where all that is left is that they ask a KMS plugin for its new key, else not at all)")
	fs.BoolVar(&req.APIServers.Force, "force", false, "go on although the apiservers do not agree")
	fs.StringVar(&flags.backend, "backend", string(migrate.Patch), "who rewrites: patch (svmctl, stale objects alone) or svm (the in-tree StorageVersionMigration controller)")
	fs.StringVar(&flags.dryRun, "dry-run", "none", "client: write nothing and show the plan; server: send every patch with dryRun=All, and exit with 3 when one is refused")
	fs.Lookup("dry-run").NoOptDefVal = string(migrate.ClientDryRun)
	fs.BoolVarP(&flags.yes, "yes", "y", false, "do not ask")
	fs.IntVar(&req.Rewrite.Concurrency, "concurrency", 16, "patches in flight at most")
	fs.Float64Var(&req.Rewrite.QPS, "qps", 0, "patches per second at most; 0 for no limit")
	fs.DurationVar(&req.MaxOutage, "max-outage", 2*time.Minute, "how long to go on without an answer of the apiserver, and how long to try one object")
	fs.DurationVar(&req.StallTimeout, "stall-timeout", 10*time.Minute, "how long to wait for the in-tree controller while nothing changes")
	fs.Int64Var(&req.Quota, "etcd-quota", 0, "etcd's quota in `bytes`, where etcd does not tell it (before 3.6)")
	fs.DurationVar(&req.Settle, "settle", -1, "how long to watch etcd for late writes under the old key or version, which make the migration Incomplete (default: 30s where there are several apiservers and something was written, else not at all)")
	fs.IntVar(&req.MaxRounds, "max-rounds", 5, "how often objects that turned stale meanwhile are taken again")
	fs.BoolVar(&showMessages, "show-messages", false, "show the free text of refusals, which may quote the object")
	fs.StringVarP(&output, "output", "o", "table", "`format`: table, wide, json or yaml")
	fs.Int64Var(&maxFindings, "max-findings", -1, "list at most `N` findings and failures (default: 20 in tables, all elsewhere)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		format, err := render.ParseFormat(output)
		if err == nil && format == render.CSV {
			err = errors.New("migrate has no -o csv")
		}
		if err != nil {
			return usageError(err)
		}
		palette, err := p.palette(p.outTerminal)
		if err != nil {
			return err
		}
		if proof.asked() && flags.dryRun != "none" {
			return usageError(errors.New("--evidence is of what was done: it does not go with --dry-run"))
		}
		if err := proof.prepare(false); err != nil {
			return err
		}
		facts, err := p.locate(etcd, kube, enc)
		if err != nil {
			return err
		}
		if flags.allStale && !fs.Changed("encryption-provider-config") {
			enc.file = "" // versions alone were asked for
		}
		flags.configured = enc.file != ""
		asked, err := flags.check(args, p.inTerminal)
		if err != nil {
			return err
		}
		if req.APIServers.Addresses, err = servers.addresses(); err != nil {
			return err
		}
		if fs.Changed("settle") && req.Settle < 0 {
			return usageError(errors.New("--settle is not negative"))
		}
		if !fs.Changed("wait-converged") {
			req.APIServers.KMSPatience = kmsPatience
		}
		if req.Rewrite.Concurrency < 1 || req.APIServers.Wait < 0 || req.Rewrite.QPS < 0 || req.MaxOutage <= 0 || req.StallTimeout <= 0 || req.MaxRounds < 1 || req.Quota < 0 {
			return usageError(errors.New("--concurrency, --max-outage, --stall-timeout and --max-rounds are positive; --qps, --etcd-quota and --wait-converged are not negative"))
		}
		unlocked, err := enc.load(ctx)
		if err != nil {
			return err
		}
		defer unlocked.close()
		req.Config, err = kube.config()
		if err != nil {
			return err
		}
		if req.Resources, req.Expectations, err = resolve(ctx, req.Config, args, asked, unlocked); err != nil {
			return err
		}
		if err := asked.checkTarget(req.Resources, req.Expectations); err != nil {
			return err
		}
		if req.Definitions, err = crd.NewClient(req.Config); err != nil {
			return err
		}
		etcd.config.Patience = req.MaxOutage
		store, err := etcd.open(ctx)
		if err != nil {
			return err
		}
		defer store.Close()
		opts := render.Options{Format: format, Palette: palette, MaxFindings: maxFindings}
		req.Store, req.Origin, req.Prefixes, req.Overrides = store, origin(store), etcd.prefixes, facts.Overrides
		req.Opener, req.Sample, req.Encryption, req.Announce = unlocked.opener(), unlocked.sample(), unlocked.named(), p.announce(unlocked)
		req.Configured = unlocked.expected(nil)
		req.Backend, req.DryRun, req.ShowMessages, req.AllStale = asked.backend, asked.dryRun, showMessages, flags.allStale
		req.Rewrite.Subresource = flags.subresource
		req.Version, req.Now, req.Progress = version, time.Now, new(migrate.Progress)
		req.ConfirmEmpty = func(ctx context.Context, r verify.Resource) bool {
			return confirmEmpty(ctx, req.Config, store, req.Expectations, r)
		}
		proof.askEarly(ctx, req.Config, req.APIServers.Addresses, unlocked)
		progress := render.MigrateProgress(p.err, p.errTerminal, req.Progress)
		defer progress.Stop()
		ask := &prompt{program: p, yes: flags.yes, around: progress.Hidden}
		req.Consent, req.ProbeConsent = ask.plan, ask.probe
		result, err := migrate.Run(ctx, req)
		progress.Stop()
		var version *migrate.VersionError
		if errors.As(err, &version) {
			return &exitError{code: exitUsage, err: err}
		}
		if err != nil {
			return err
		}
		defer result.Close()
		if err := render.Migration(p.out, result, opts); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		if proof.asked() && result.Before.Unsupported == nil {
			at := scene{src: &source{store: store, live: store, origin: req.Origin}, etcd: etcd, kube: kube, unlocked: unlocked,
				servers: req.APIServers.Addresses, overrides: resourceNames(away(facts, etcd)), args: recorded(cmd, args)}
			if err := p.proveMigration(ctx, proof, at, req, result); err != nil {
				return fmt.Errorf("making the bundle, after the report above: %w", err)
			}
		}
		exit := migrationExit(result)
		if exit == nil {
			return nil
		}
		return unlocked.withSilentPlugin(exit, result.Silent(), req.Expectations.NeedsKeyID)
	}
	return cmd
}

// migrationExit is the exit status of a migration that has a report.
func migrationExit(r *migrate.Report) error {
	switch {
	case r.Before.Unsupported != nil:
		return &exitError{code: exitIndeterminate, err: r.Before.Unsupported}
	case r.Unread:
		return verdictExit(r.Verdict)
	case r.Stopped != nil && r.Stopped.Code == migrate.StopInterrupted:
		return &exitError{code: exitInterrupted, err: r.Stopped}
	case r.DryRun == migrate.ServerDryRun && r.Stopped != nil:
		return &exitError{code: exitIncomplete, err: r.Stopped}
	case r.DryRun == migrate.ServerDryRun && (r.FailureCount() > 0 || r.Plan.Refused()):
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
