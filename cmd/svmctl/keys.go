package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/snapshot"
	"github.com/svmctl/svmctl/internal/keys"
	"github.com/svmctl/svmctl/internal/verify"
)

func newKeysCommand(p *program) *cobra.Command {
	var (
		output, canRemove string
		further, kept     []string
		oneEtcd, history  bool
		settle            time.Duration
	)
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Show where each encryption key is still needed, and whether it can be removed",
		Long: `keys reads all of etcd and has a row for each key of the EncryptionConfiguration and each key that was found: the objects
under it, the resources that it writes, and whether it can be removed from the EncryptionConfiguration.

A yes is proven: everything under all storage roots was read, and opened with the file; every live apiserver reports
the hash of this very file, and writes with another key; no resource that the file covers lies in an etcd that was not read.
What could not be read or asked makes the answer unknown. To remove a key from the configuration is one thing, to destroy it
another: old values stay in etcd's history, free pages and write-ahead log, and in snapshots.

Under KMS v2 each key ID has a row: removable is then the key encryption key at the provider. The resources of apiservers
with --etcd-servers-overrides are read with --endpoints-for, by the same certificates.

With --snapshots the files that are kept beside etcd are read as well: which keys each needs to be restored, and which hold plaintext
of resources that are encrypted elsewhere. A key that one of them needs is not destroyable. Where no etcd is named or found, they
are all that is read.

It only reads. --can-remove exits with 0 for yes, 3 for no and 4 for unknown.`,
		Example: `  # on a control-plane node, where all of this is found: which keys are needed, and where?
  svmctl keys

  # can key1 be taken out of the EncryptionConfiguration?
  svmctl keys --encryption-provider-config /etc/kubernetes/enc/enc.yaml --can-remove aescbc:key1

  # which backups need which key, and which hold secrets in plaintext?
  svmctl keys --snapshots /var/backups/etcd --encryption-provider-config /etc/kubernetes/enc/enc.yaml

  # the same where events live in an etcd of their own
  svmctl keys --can-remove aescbc:key1 --endpoints-for events=https://10.0.0.7:2379`,
		Args: usageArgs(cobra.NoArgs),
	}
	etcd := addEtcdFlags(cmd.Flags(), p.env)
	etcd.addSnapshot(cmd.Flags())
	kube := addKubeFlags(cmd.Flags())
	enc := addEncryptionFlags(cmd.Flags())
	proof := addEvidenceFlags(cmd.Flags(), p.env)
	servers := new(apiserverFlags)
	servers.add(cmd.Flags())
	cmd.Flags().StringVar(&canRemove, "can-remove", "", "answer for one key, as `PROVIDER:KEY[:KEYID]`: can it be removed?")
	cmd.Flags().StringArrayVar(&kept, "snapshots", nil, "tell which keys the files in a `directory` need to be restored, and which hold plaintext; also a single file, repeatable")
	cmd.Flags().BoolVar(&history, "history", false, "count the older revisions under each key as well that etcd still gives to whoever asks for them")
	cmd.Flags().StringArrayVar(&further, "endpoints-for", nil, "read the objects of one resource in another etcd, as `RESOURCE=URL[,URL]`; repeatable")
	cmd.Flags().DurationVar(&settle, "settle", 10*time.Second, "for --can-remove, how long after an apiserver has loaded its configuration etcd is read: what was encrypted before may still be on its way")
	cmd.Flags().BoolVar(&oneEtcd, "no-etcd-overrides", false, "take it as known that no apiserver has --etcd-servers-overrides, where neither /flagz nor a manifest tells")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`format`: table, wide, json, yaml or csv")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		opts, err := p.renderOptions(output)
		if err != nil {
			return err
		}
		if proof.asked() && len(kept) > 0 {
			return usageError(errors.New("--evidence speaks of one store: it does not go with --snapshots"))
		}
		if err := proof.prepare(len(etcd.snapshots) > 0); err != nil {
			return err
		}
		if settle < 0 {
			return usageError(errors.New("--settle is not negative"))
		}
		req := keys.Request{Settle: settle, History: history, Version: version, Now: time.Now, Progress: new(etcdscan.Progress)}
		if canRemove != "" {
			if req.CanRemove, err = keys.ParseWanted(canRemove); err != nil {
				return usageError(fmt.Errorf("--can-remove %w", err))
			}
		}
		if req.Addresses, err = servers.addresses(); err != nil {
			return err
		}
		given := etcd.prefixes
		facts, err := p.locate(etcd, kube, enc)
		if err != nil {
			return err
		}
		req.Prefixes, req.Overrides, req.OverridesTold = given, facts.Overrides, oneEtcd || facts.OverridesTold
		unlocked, err := enc.load(ctx)
		if err != nil {
			return err
		}
		defer unlocked.close()
		req.Opener, req.Sample, req.Encryption, req.Config, req.Current = unlocked.opener(), unlocked.sample(), unlocked.named(), unlocked.config(), unlocked.current
		req.Announce = p.announce(unlocked)
		if len(kept) > 0 {
			if req.Kept, err = snapshot.Files(kept); err != nil {
				return err
			}
		}
		src := &source{origin: audit.Source{Type: "snapshot", Integrity: "absent"}}
		req.Origin = src.origin
		if len(kept) == 0 || etcd.told() {
			if src, err = etcd.source(ctx); err != nil {
				return err
			}
			defer src.Close()
			req.Store, req.Origin = src.store, src.origin
		}
		switch req.APIServers, err = kube.config(); {
		case req.Store == nil || src.kept():
			req.APIServers, req.Unasked = nil, "a file was read, which tells nothing of the etcd that they use"
		case err != nil:
			req.APIServers, req.Unasked = nil, err.Error()
		}
		if p.errTerminal {
			req.Waiting = func(d time.Duration) {
				fmt.Fprintf(p.err, "%swaiting %s for writes that may be under way\n", clearLine, d.Round(time.Second))
			}
		}
		closeFurther, err := openFurther(ctx, etcd, further, &req)
		defer closeFurther()
		if err != nil {
			return err
		}
		stopProgress := render.ScanProgress(p.err, p.errTerminal, "reading etcd", req.Progress)
		result, err := keys.Run(ctx, req)
		stopProgress()
		var unknown *keys.UnknownKeyError
		if errors.As(err, &unknown) {
			return &exitError{code: exitUsage, err: err, hints: []string{"there are " + strings.Join(unknown.Have, ", ")}}
		}
		if err != nil {
			return err
		}
		if err := src.describe(ctx, &result.Source); err != nil {
			return err
		}
		if err := render.Keys(p.out, result, opts); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		if proof.asked() {
			at := scene{src: src, etcd: etcd, kube: kube, unlocked: unlocked, servers: req.Addresses, overrides: overridden(req.Overrides), args: recorded(cmd, nil)}
			if err := p.proveKeys(ctx, proof, at, req, result); err != nil {
				return fmt.Errorf("making the bundle: %w", err)
			}
		}
		exit := removableExit(result)
		if exit == nil && result.CanRemove != nil {
			return nil
		}
		return unlocked.withSilentPlugin(exit, result.Silent, unlocked.expected(nil).NeedsKeyID)
	}
	return cmd
}

// removableExit is the exit status of an answer; without one the report was made to be read.
func removableExit(r *keys.Report) error {
	if r.CanRemove == nil {
		return nil
	}
	switch r.CanRemove.Answer {
	case keys.Yes:
		return nil
	case keys.No:
		return &exitError{code: exitIncomplete}
	}
	return &exitError{code: exitIndeterminate}
}

// openFurther connects to the etcds in which single resources live. What it returns ends that, also after an error.
func openFurther(ctx context.Context, etcd *etcdFlags, further []string, req *keys.Request) (closeAll func(), err error) {
	var closers []func() error
	closeAll = func() {
		for _, c := range closers {
			_ = c()
		}
	}
	for _, arg := range further {
		name, urls, ok := strings.Cut(arg, "=")
		if !ok || urls == "" {
			return closeAll, usageError(fmt.Errorf("--endpoints-for %q is not of the form RESOURCE=URL", arg))
		}
		resource, err := verify.ParseResource(name)
		if err != nil {
			return closeAll, usageError(fmt.Errorf("--endpoints-for %w", err))
		}
		other := *etcd
		other.endpoints = slices.DeleteFunc(strings.Split(urls, ","), func(u string) bool { return u == "" })
		store, err := other.open(ctx)
		if err != nil {
			return closeAll, err
		}
		closers = append(closers, store.Close)
		req.Further = append(req.Further, keys.Elsewhere{Resources: []verify.Resource{resource}, Store: store, Origin: origin(store)})
	}
	return closeAll, nil
}
