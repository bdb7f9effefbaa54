package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/keys"
	"github.com/svmctl/svmctl/internal/migrate"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/evidence"
	"github.com/svmctl/svmctl/internal/verify/expect"
)

func newAuditCommand(p *program) *cobra.Command {
	var (
		revision                   int64
		expected, expectedVersions []string
		output                     string
		maxFindings                int64
		storageVersions, history   bool
		candidate                  string
	)
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Report how every object in etcd is encrypted and at which apiVersion it is stored",
		Long: `audit reads etcd at one revision and counts, per resource, how the objects are encrypted and at which apiVersion they
are stored. With an expectation it also judges: every object that is not as expected is a finding, and the verdict is
Complete, Incomplete or Indeterminate. What was not read is never clean.

With --encryption-provider-config every value is opened, its own metadata is compared with the key it lies under, and each
resource is expected under the key that the file writes it with. Without it a key's name is what a value says itself.

With --snapshot it reads files in place of an etcd, each at the newest revision in it; a file is never written to. Its SHA-256 is
compared with the one at its end: where that is wrong the verdict is Indeterminate, and where there is none bolt's own check has to pass.

It only reads. The apiserver is asked for two things alone: whether a resource that was expected and not found in etcd
really has no objects, and with --expect-storage-versions at which version it stores each resource. Objects at another
version are then StaleVersion, those of a resource that no API serves OrphanedResource.`,
		Example: `  # what is there, with the variables that etcdctl uses
  svmctl audit

  # is every secret under key2?
  svmctl audit --expect secrets=aescbc:key2

  # is everything stored at the version that the API declares?
  svmctl audit --expect-storage-versions

  # is everything as this EncryptionConfiguration writes it, and can all of it be read with it?
  svmctl audit --encryption-provider-config /etc/kubernetes/enc/enc.yaml

  # before another file is rolled out: what could an apiserver with it no longer read, and what would it rewrite?
  svmctl audit --encryption-provider-config /etc/kubernetes/enc/enc.yaml --candidate next.yaml

  # what is in a backup, and could it be restored with this EncryptionConfiguration?
  svmctl audit --snapshot backup.db --encryption-provider-config /etc/kubernetes/enc/enc.yaml

  # a signed evidence bundle for the auditor, compared with what the API lists
  svmctl audit --encryption-provider-config /etc/kubernetes/enc/enc.yaml --evidence 2026-q4 --reconcile-api --sign-key signing.key

  # is plaintext still to be had from older revisions?
  svmctl audit --prefix /registry/secrets --history

  # one resource under another storage root, for a program
  svmctl audit --prefix /kubernetes.io/secrets -o json`,
		Args: usageArgs(cobra.NoArgs),
	}
	etcd := addEtcdFlags(cmd.Flags(), p.env)
	etcd.addSnapshot(cmd.Flags())
	etcd.addStream(cmd.Flags())
	kube := addKubeFlags(cmd.Flags())
	enc := addEncryptionFlags(cmd.Flags())
	proof := addEvidenceFlags(cmd.Flags(), p.env)
	servers := new(apiserverFlags)
	servers.add(cmd.Flags())
	cmd.Flags().Int64Var(&revision, "revision", 0, "read the store as it was at this etcd `revision` (default: the newest)")
	cmd.Flags().StringVar(&candidate, "candidate", "", "EncryptionConfiguration `file` that is not rolled out yet: tell which objects an apiserver with it could not read, and which it would write otherwise")
	cmd.Flags().StringArrayVar(&expected, "expect", nil, "expect `RESOURCE=PROVIDER[:KEY[:KEYID]]`, such as secrets=aescbc:key2, secrets=kms:vault:kek-2, '*'=encrypted; repeatable")
	cmd.Flags().StringArrayVar(&expectedVersions, "expect-version", nil, "expect `RESOURCE=APIVERSION`, such as deployments.apps=apps/v1; repeatable")
	cmd.Flags().BoolVar(&storageVersions, "expect-storage-versions", false, "expect every resource at the apiVersion that the API declares: custom resources in their definition, others in discovery")
	cmd.Flags().BoolVar(&history, "history", false, "count the older revisions as well that etcd still gives to whoever asks for them, from its last compaction on")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`format`: table, wide, json, yaml or csv")
	cmd.Flags().Int64Var(&maxFindings, "max-findings", -1, "list at most `N` findings (default: 20 in tables, all elsewhere)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		format, err := render.ParseFormat(output)
		if err != nil {
			return usageError(err)
		}
		palette, err := p.palette(p.outTerminal)
		if err != nil {
			return err
		}
		expectations, err := verify.ParseExpectations(expected, expectedVersions)
		if err != nil {
			return usageError(err)
		}
		if revision < 0 {
			return usageError(fmt.Errorf("--revision %d: revisions begin at 1", revision))
		}
		if proof.asked() && (candidate != "" || len(etcd.snapshots) > 1) {
			return usageError(errors.New("--evidence speaks of one store, and not of a candidate"))
		}
		if err := proof.prepare(len(etcd.snapshots) > 0); err != nil {
			return err
		}
		addresses, err := servers.addresses()
		if err != nil {
			return err
		}
		facts, err := p.locate(etcd, kube, enc)
		if err != nil {
			return err
		}
		unlocked, err := enc.load(ctx)
		if err != nil {
			return err
		}
		defer unlocked.close()
		opener, judging, judged := unlocked.opener(), unlocked, (*audit.Encryption)(nil)
		if candidate != "" {
			if len(expectations) > 0 || storageVersions {
				return usageError(errors.New("--candidate judges a file and not the objects: it goes with no expectation"))
			}
			next, err := unlocked.candidate(ctx, enc, candidate)
			if err != nil {
				return err
			}
			defer next.close()
			expectations, opener, judging, judged = next.expectations(), next.opener, next.unlocked, next.named()
		} else {
			expectations = unlocked.expected(expectations)
		}
		var gaps []string
		if storageVersions {
			if expectations, gaps, err = declared(ctx, kube, expectations); err != nil {
				return err
			}
		}
		sources, err := etcd.sources()
		if err != nil {
			return err
		}
		p.warn(gaps)
		look := func(src *source) error {
			recorder := proof.recorder()
			defer recorder.Close()
			progress := new(etcdscan.Progress)
			stopProgress := render.ScanProgress(p.err, p.errTerminal, "reading etcd", progress)
			result, err := audit.Run(ctx, audit.Request{
				Store: src.store, Origin: src.origin, Prefixes: etcd.prefixes, Revision: revision, Expectations: expectations, History: history,
				Opener: opener, Sample: judging.sample(), Encryption: unlocked.named(), Candidate: judged, Announce: p.announce(judging), Elsewhere: away(facts, etcd),
				ConfirmEmpty: emptyInAPI(src, kube, expectations), Version: version, Now: proof.clock, Progress: progress, Also: recorder.Sink(),
			})
			stopProgress()
			if err != nil {
				return err
			}
			defer result.Close()
			if err := src.describe(ctx, &result.Source); err != nil {
				return err
			}
			if storageVersions && result.Unsupported == nil {
				if err := sameStore(ctx, kube, src, unlocked.opener(), result); err != nil {
					return err
				}
			}
			if proof.asked() && result.Unsupported == nil {
				at := scene{src: src, etcd: etcd, kube: kube, unlocked: unlocked, servers: addresses, overrides: resourceNames(away(facts, etcd)), args: recorded(cmd, nil)}
				doc, err := proof.collect(ctx, at, &evidence.Observed{Report: result, Records: recorder})
				if err != nil {
					return err
				}
				defer p.wrote(proof, doc)
			}
			if err := render.Audit(p.out, result, render.Options{Format: format, Palette: palette, MaxFindings: maxFindings}); err != nil {
				return fmt.Errorf("writing the report: %w", err)
			}
			if result.Unsupported != nil {
				return &exitError{code: exitIndeterminate, err: result.Unsupported}
			}
			exit := verdictExit(result.Verdict)
			if exit == nil {
				return nil
			}
			return judging.withSilentPlugin(exit, result.Silent, expectations.NeedsKeyID)
		}
		return p.each(ctx, sources, format, look)
	}
	return cmd
}

// each looks at one source after the other. With several, what is the matter with one of them keeps nobody from the others.
func (p *program) each(ctx context.Context, sources []func(context.Context) (*source, error), format render.Format, look func(*source) error) error {
	one := func(open func(context.Context) (*source, error)) error {
		src, err := open(ctx)
		if err != nil {
			return err
		}
		defer src.Close()
		return look(src)
	}
	if len(sources) == 1 {
		return one(sources[0])
	}
	if format == render.CSV {
		return usageError(errors.New("-o csv does not tell whose rows they are: it goes with one --snapshot"))
	}
	var codes []int
	for i, open := range sources {
		if _, err := io.WriteString(p.out, render.Between(format, i)); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		err := one(open)
		if ctx.Err() != nil {
			return err
		}
		codes = append(codes, report(p.err, err))
	}
	return worst(codes)
}

// emptyInAPI asks the API whether there is none of a resource that was expected and not found; nil for a file, of whose day the API
// knows nothing.
func emptyInAPI(src *source, kube *kubeFlags, expectations verify.Expectations) func(context.Context, verify.Resource) bool {
	if src.kept() {
		return nil
	}
	return func(ctx context.Context, r verify.Resource) bool {
		cfg, err := kube.config()
		return err == nil && confirmEmpty(ctx, cfg, src.now(), expectations, r)
	}
}

// confirmEmpty asks the API whether there is none of a resource that was expected and not found.
func confirmEmpty(ctx context.Context, cfg *rest.Config, store keys.Store, expectations verify.Expectations, r verify.Resource) bool {
	e, _ := expectations.For(r)
	return expect.Empty(ctx, cfg, r, store.Revision) || e.Configured.Asked && expect.Absent(ctx, cfg, r, store.Revision)
}

// sameStore makes sure that the apiserver speaks of this etcd. A file that somebody has kept is a copy of it, and may be an old one.
func sameStore(ctx context.Context, kube *kubeFlags, src *source, opener etcdscan.Opener, result *audit.Report) error {
	cfg, err := kube.config()
	if err != nil {
		return err
	}
	switch kin := expect.SameStore(ctx, cfg, result.Roots, etcdscan.Payload(src.now(), opener), src.now().Revision); {
	case kin == expect.Same, src.kept() && (kin == expect.Alike || kin == expect.Copy):
		return nil
	case kin == expect.Foreign && src.kept():
		result.Doubt(audit.Reason{Code: verify.NotConfirmed, Severity: verify.Warning,
			Message: "nothing shows that this file is of the apiserver's cluster: the namespace kube-system in it is another, or has been changed since"})
		return nil
	case kin == expect.Foreign:
		return migrate.ErrForeignEtcd
	case kin == expect.Alike:
		result.Doubt(audit.Reason{Code: verify.NotConfirmed, Severity: verify.Warning, Message: expect.AlikeDoubt})
		return nil
	case kin == expect.Copy:
		result.Doubt(audit.Reason{Code: verify.NotConfirmed, Severity: verify.Warning, Message: expect.CopyDoubt})
		return nil
	}
	result.Doubt(audit.Reason{Code: verify.NotConfirmed, Severity: verify.Warning,
		Message: "nothing shows that this etcd is the one of this apiserver: the verb get on namespaces would, where kube-system lies in it unencrypted"})
	return nil
}

// declared adds what the API declares to what is expected.
func declared(ctx context.Context, kube *kubeFlags, expectations verify.Expectations) (verify.Expectations, []string, error) {
	cfg, err := kube.config()
	if err != nil {
		return nil, nil, err
	}
	client, err := crd.NewClient(cfg)
	if err != nil {
		return nil, nil, err
	}
	all, gaps, err := expect.Declared(ctx, cfg, client.All(ctx))
	if err != nil {
		return nil, nil, err
	}
	return expectations.With(all), gaps, nil
}
