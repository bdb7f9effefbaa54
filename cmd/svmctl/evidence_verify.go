package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/verify/evidence"
)

func newEvidenceCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evidence",
		Short: "Check an evidence bundle, and hand out samples of its records",
		Long: `evidence works on bundles that audit, migrate and keys write with --evidence. docs/evidence.md tells what is in one and what
it shows.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newEvidenceVerifyCommand(p), newEvidenceDiscloseCommand(p))
	return cmd
}

func newEvidenceVerifyCommand(p *program) *cobra.Command {
	var output, publicKey, sample, redactionKey string
	cmd := &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Check that a bundle is as it was made, and that it agrees with itself",
		Long: `verify checks the digests, the signature, the form of every file, that the numbers add up, that no claim passes against them,
and that the records have the Merkle root that was stated. It asks nobody.

With --public-key the signature has to be made with that key. Without it the key in the bundle is taken, which shows that the bundle
belongs to that key, and nothing of whose key it is. A bundle without a signature can be made anew by anybody: what is found then is
accidents.

With --endpoints or --snapshot the store is read again, at the revision of the bundle where it is still to be had, and as it is now:
what is not as it was recorded is wrong, and what has changed since is told. Names that are hidden take --redaction-key.

The claims are shown as they stand in the bundle; a claim that fails does not make the bundle wrong.`,
		Example: `  # is it as it was made, and by the key that the signer gave me?
  svmctl evidence verify 2026-q4 --public-key signer.pub

  # are these records among those that were signed?
  svmctl evidence verify 2026-q4 --sample sample.json

  # what has changed in etcd since?
  svmctl evidence verify 2026-q4 --endpoints https://10.0.0.1:2379 --cacert ca.crt --cert client.crt --key client.key`,
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	etcd := addEtcdFlags(cmd.Flags(), p.env)
	etcd.addSnapshot(cmd.Flags())
	_ = cmd.Flags().MarkHidden("prefix") // the bundle says what was read
	cmd.Flags().StringVar(&publicKey, "public-key", "", "PEM `file` with the public key that the bundle has to be signed with")
	cmd.Flags().StringVar(&sample, "sample", "", "also check a `file` of evidence disclose")
	cmd.Flags().StringVar(&redactionKey, "redaction-key", "", "`file` with the key that names were hidden with, to compare with a store")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`format`: table, json or yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, dir := cmd.Context(), args[0]
		opts, err := p.renderOptions(output)
		if err != nil {
			return err
		}
		if opts.Format == render.CSV {
			return usageError(errors.New("evidence verify has no -o csv"))
		}
		if len(etcd.endpoints)+len(etcd.snapshots) == 0 {
			for _, name := range []string{"cacert", "cert", "key", "etcd-user", "etcd-password-file", "redaction-key"} {
				if cmd.Flags().Changed(name) {
					return usageError(fmt.Errorf("--%s is for reading the store again: it goes with --endpoints or --snapshot", name), "--public-key names the key that the bundle has to be signed with")
				}
			}
		}
		var key *evidence.PublicKey
		if publicKey != "" {
			text, err := os.ReadFile(publicKey)
			if err != nil {
				return fmt.Errorf("reading --public-key: %w", err)
			}
			if key, err = evidence.ParsePublicKey(text); err != nil {
				return &exitError{code: exitFailed, err: fmt.Errorf("--public-key %s: %w", publicKey, err)}
			}
		}
		redactor, err := readRedactionKey(redactionKey)
		if err != nil {
			return err
		}
		result, err := evidence.Check(ctx, dir, key)
		if err != nil {
			return fmt.Errorf("reading the bundle %s: %w", dir, err)
		}
		if sample != "" {
			text, err := os.ReadFile(sample)
			if err != nil {
				return fmt.Errorf("reading --sample: %w", err)
			}
			statement, err := evidence.ReadStatement(dir)
			if err != nil {
				return err
			}
			result.CheckSample(text, statement)
		}
		if len(etcd.endpoints) > 0 || len(etcd.snapshots) > 0 {
			if err := p.compare(ctx, etcd, dir, redactor, result); err != nil {
				return err
			}
		}
		if err := render.Verification(p.out, result, opts); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		return verdictExit(result.Verdict)
	}
	return cmd
}

func readRedactionKey(file string) (*evidence.Redactor, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading --redaction-key: %w", err)
	}
	redactor, err := evidence.NewRedactor(evidence.HMAC, text)
	if err != nil {
		return nil, &exitError{code: exitFailed, err: fmt.Errorf("--redaction-key %s: %w", file, err)}
	}
	return redactor, nil
}

// compare reads the store again: at the revision of the bundle, if that is still to be had, and at the newest.
func (p *program) compare(ctx context.Context, etcd *etcdFlags, dir string, redactor *evidence.Redactor, result *evidence.Verification) error {
	if result.Scan == nil {
		return result.Compare(ctx, dir, redactor, nil, "", nil)
	}
	prefixes, revision, err := result.Scanned()
	if err != nil {
		return err
	}
	src, err := etcd.source(ctx)
	if err != nil {
		return err
	}
	defer src.Close()
	look := func(revision int64) (*evidence.Look, error) {
		recorder := new(evidence.Recorder)
		progress := new(etcdscan.Progress)
		stop := render.ScanProgress(p.err, p.errTerminal, "reading etcd", progress)
		defer stop()
		report, err := audit.Run(ctx, audit.Request{Store: src.store, Origin: src.origin, Prefixes: prefixes, Revision: revision, Version: version, Now: time.Now, Progress: progress, Also: recorder})
		if err != nil {
			recorder.Close()
			return nil, err
		}
		defer report.Close()
		if !report.Scope.Whole {
			recorder.Close()
			return nil, errors.New("the store could not be read as a whole")
		}
		return &evidence.Look{Records: recorder, Revision: report.Source.Revision, ClusterID: report.Source.ClusterID}, nil
	}
	then, err := look(revision)
	why := ""
	switch {
	case errors.Is(err, etcdscan.ErrCompacted):
		why = etcdscan.ErrCompacted.Error()
	case errors.Is(err, etcdscan.ErrFutureRevision):
		why = etcdscan.ErrFutureRevision.Error()
	case err != nil:
		return fmt.Errorf("reading the store at revision %d: %w", revision, err)
	default:
		defer then.Records.Close()
	}
	now, err := look(0)
	if err != nil {
		return fmt.Errorf("reading the store: %w", err)
	}
	defer now.Records.Close()
	return result.Compare(ctx, dir, redactor, then, why, now)
}
