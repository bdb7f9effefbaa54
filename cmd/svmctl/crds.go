package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/storedversions"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/expect"
)

func newCRDsCommand(p *program) *cobra.Command {
	var (
		output string
		fail   bool
	)
	cmd := &cobra.Command{
		Use:   "crds [NAME...]",
		Short: "Show at which versions custom resources are really stored, and what can be dropped",
		Long: `crds compares, for each CustomResourceDefinition, the versions that etcd really holds with spec.versions and
status.storedVersions:

  Clean           storedVersions names the storage version alone, and so does etcd
  Prunable        storedVersions lists a version that etcd no longer holds: crds prune takes it out
  NeedsMigration  objects are stored at another version: svmctl migrate NAME
  Blocked         nobody can say, or something has to be mended first; the reason is shown

It also counts the objects in which managedFields still names a version that the definition no longer has, and names
resources whose definition is gone while their objects remain in etcd. It only reads.`,
		Example: `  # all of them
  svmctl crds

  # what a backup holds, by the definitions that are in it
  svmctl crds --snapshot backup.db

  # one, in a pipeline that stops where there is something to do
  svmctl crds selfierequests.stable.example.com --fail -o json`,
		Args: usageArgs(cobra.ArbitraryArgs),
	}
	etcd := addEtcdFlags(cmd.Flags(), p.env)
	etcd.addSnapshot(cmd.Flags())
	kube := addKubeFlags(cmd.Flags())
	enc := addEncryptionFlags(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`format`: table, wide, json, yaml or csv")
	cmd.Flags().BoolVar(&fail, "fail", false, "exit with 3 when a definition is not Clean")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		opts, err := p.renderOptions(output)
		if err != nil {
			return err
		}
		survey := func(req storedversions.Request, describe func(*storedversions.Report) error) error {
			stopProgress := render.ScanProgress(p.err, p.errTerminal, "reading etcd", req.Progress)
			result, err := storedversions.Survey(cmd.Context(), req)
			stopProgress()
			if err != nil {
				return unknownName(err)
			}
			if err := describe(result); err != nil {
				return err
			}
			if err := render.CRDs(p.out, result, opts); err != nil {
				return fmt.Errorf("writing the report: %w", err)
			}
			if fail && result.Open() {
				return &exitError{code: exitIncomplete}
			}
			return nil
		}
		if len(etcd.snapshots) > 0 {
			return p.keptCRDs(cmd.Context(), etcd, enc, names, survey, opts.Format)
		}
		req, _, closeAll, err := p.crdsRequest(cmd.Context(), etcd, kube, enc, names)
		if err != nil {
			return err
		}
		defer closeAll()
		return survey(req, func(*storedversions.Report) error { return nil })
	}
	cmd.AddCommand(newCRDsPruneCommand(p), newCRDsCheckCommand(p))
	return cmd
}

func newCRDsPruneCommand(p *program) *cobra.Command {
	var (
		output string
		all    bool
		req    storedversions.PruneRequest
	)
	cmd := &cobra.Command{
		Use:   "prune NAME... | --all",
		Short: "Take out of storedVersions what etcd no longer holds, behind a proof",
		Long: `prune takes the versions that etcd no longer holds out of status.storedVersions, so that they can be dropped from
spec.versions. It does so only when every apiserver says that it stores at the storage version and a scan of etcd finds no
object of another version; it writes with the resourceVersion of the definition as the precondition, scans again, and puts
a version that is found then back. Where it refuses, and where it had to put something back, the exit status is 3. An interruption
leaves nothing unproven: what could not be scanned again is put back. Where the answer to a write is lost, storedVersions
may be left in another order, which means nothing.

A write that began before the storage version was changed, and is held up by a slow webhook, still arrives at the old
version: an apiserver gives it 34 seconds. Where the definition was changed in the last hour, prune waits for
--settle after the apiservers were first seen to agree; a shorter one is safe only where no such write can be under way.

It writes status.storedVersions and nothing else: the verb is patch on customresourcedefinitions/status.`,
		Example: `  # what would be taken out?
  svmctl crds prune selfierequests.stable.example.com --dry-run

  # do so
  svmctl crds prune selfierequests.stable.example.com

  # for every definition
  svmctl crds prune --all`,
		Args: usageArgs(cobra.ArbitraryArgs),
	}
	etcd := addEtcdFlags(cmd.Flags(), p.env)
	kube := addKubeFlags(cmd.Flags())
	enc := addEncryptionFlags(cmd.Flags())
	servers := new(apiserverFlags)
	servers.add(cmd.Flags())
	cmd.Flags().BoolVar(&all, "all", false, "every CustomResourceDefinition")
	cmd.Flags().BoolVar(&req.DryRun, "dry-run", false, "write nothing and show what would be taken out")
	cmd.Flags().BoolVar(&req.Force, "force", false, "go on although the apiservers do not agree, or could not all be asked")
	cmd.Flags().DurationVar(&req.Settle, "settle", 40*time.Second, "how long to wait for writes that began before the storage version was changed; not waited for where that was long ago")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`format`: table, wide, json, yaml or csv")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		opts, err := p.renderOptions(output)
		switch {
		case err != nil:
			return err
		case all == (len(names) > 0):
			return usageError(errors.New("name the CustomResourceDefinitions, or take --all"), "svmctl crds shows which can be pruned")
		case req.Settle < 0:
			return usageError(errors.New("--settle is not negative"))
		}
		addresses, err := servers.addresses()
		if err != nil {
			return err
		}
		request, client, closeAll, err := p.crdsRequest(cmd.Context(), etcd, kube, enc, names)
		if err != nil {
			return err
		}
		defer closeAll()
		cfg, err := kube.config()
		if err != nil {
			return err
		}
		req.Request, req.Client = request, client
		req.Agreement = storedversions.AskAPIServers(cfg, addresses)
		if p.errTerminal {
			req.Waiting = func(d time.Duration) {
				fmt.Fprintf(p.err, "%swaiting %s for writes that may be under way\n", clearLine, d.Round(time.Second))
			}
			req.Pruning = func(name string, n, of int) {
				fmt.Fprintf(p.err, "%spruning %s (%d of %d)\n", clearLine, render.Inert(name), n, of)
			}
		}
		stopProgress := render.ScanProgress(p.err, p.errTerminal, "reading etcd", req.Progress)
		result, err := storedversions.Prune(cmd.Context(), req)
		stopProgress()
		if err == nil {
			if err := render.CRDs(p.out, result, opts); err != nil {
				return fmt.Errorf("writing the report: %w", err)
			}
			if result.Refused() {
				err = pruneRefusal(result)
			}
		}
		if err != nil && cmd.Context().Err() != nil {
			return pruneInterrupted(result)
		}
		return unknownName(err)
	}
	return cmd
}

// clearLine takes a progress bar out of the way of a line.
const clearLine = "\r\x1b[K"

// pruneRefusal names the first definition that was refused, how many more there are, and the next step.
func pruneRefusal(r *storedversions.Report) error {
	var refused []storedversions.Row
	for _, row := range r.CRDs {
		if row.Refused {
			refused = append(refused, row)
		}
	}
	row, more := refused[0], ""
	if len(refused) > 1 {
		more = fmt.Sprintf(" … and %d more", len(refused)-1)
	}
	hint := "svmctl crds " + row.Name + " shows where it stands"
	switch row.State {
	case storedversions.NeedsMigration:
		hint = "svmctl migrate " + row.Name
	case storedversions.Blocked:
		prefix := ""
		if row.Dir != "" {
			prefix = " --prefix " + row.Dir
		}
		hint = "svmctl audit --expect-storage-versions" + prefix + " names each object"
	case storedversions.Prunable:
		if a := r.APIServers; a != nil && (a.Agree == nil || !*a.Agree) {
			hint = "--apiserver names apiservers that were not found, docs/rbac.md lists the rights to ask them, and --force goes on without"
		}
	}
	return &exitError{code: exitIncomplete, err: fmt.Errorf("%s is not pruned: %s%s", row.Name, row.Reason, more), hints: []string{hint}}
}

// pruneInterrupted says what is left after an interruption; the report is nil when nothing had been written.
func pruneInterrupted(r *storedversions.Report) error {
	e := &exitError{code: exitInterrupted, err: errors.New("interrupted")}
	if r != nil {
		for _, row := range r.CRDs {
			lost := slices.ContainsFunc(row.Dropped, func(v string) bool { return !slices.Contains(row.StoredVersions, v) })
			if row.Refused && lost {
				return e // it could not be put back, and the report says what to do
			}
		}
	}
	e.hints = []string{"the same command goes on; storedVersions names all that was not proven"}
	return e
}

// unknownName makes a name that no definition has wrong usage.
func unknownName(err error) error {
	var unknown *storedversions.UnknownError
	if errors.As(err, &unknown) {
		return &exitError{code: exitUsage, err: err}
	}
	return err
}

// crdsRequest connects to both sides. The caller ends that.
func (p *program) crdsRequest(ctx context.Context, etcd *etcdFlags, kube *kubeFlags, enc *encryptionFlags, names []string) (storedversions.Request, *crd.Client, func(), error) {
	if _, err := p.locate(etcd, kube, enc); err != nil {
		return storedversions.Request{}, nil, nil, err
	}
	cfg, err := kube.config()
	if err != nil {
		return storedversions.Request{}, nil, nil, err
	}
	client, err := crd.NewClient(cfg)
	if err != nil {
		return storedversions.Request{}, nil, nil, err
	}
	unlocked, err := enc.load(ctx)
	if err != nil {
		return storedversions.Request{}, nil, nil, err
	}
	store, err := etcd.open(ctx)
	if err != nil {
		unlocked.close()
		return storedversions.Request{}, nil, nil, err
	}
	return storedversions.Request{
		Store: store, Origin: origin(store), Definitions: client, Prefixes: etcd.prefixes, Names: names, Opener: unlocked.opener(), Sample: unlocked.sample(), Announce: p.announce(unlocked),
		Served:  func(ctx context.Context) (map[verify.Resource]bool, bool) { return expect.Served(ctx, cfg) },
		Version: version, Now: time.Now, Progress: new(etcdscan.Progress),
	}, client, func() { store.Close(); unlocked.close() }, nil
}

// keptCRDs surveys files, each by the definitions that are in it. No apiserver is asked: it may have others by now.
func (p *program) keptCRDs(ctx context.Context, etcd *etcdFlags, enc *encryptionFlags, names []string, survey func(storedversions.Request, func(*storedversions.Report) error) error, format render.Format) error {
	sources, err := etcd.sources()
	if err != nil {
		return err
	}
	unlocked, err := enc.load(ctx)
	if err != nil {
		return err
	}
	defer unlocked.close()
	return p.each(ctx, sources, format, func(src *source) error {
		return survey(storedversions.Request{
			Store: src.store, Origin: src.origin, Definitions: storedversions.KeptDefinitions(src.store, unlocked.opener()), Prefixes: etcd.prefixes, Names: names,
			Opener: unlocked.opener(), Sample: unlocked.sample(), Announce: p.announce(unlocked),
			Served:  func(context.Context) (map[verify.Resource]bool, bool) { return nil, false },
			Version: version, Now: time.Now, Progress: new(etcdscan.Progress),
		}, func(r *storedversions.Report) error { return src.describe(ctx, &r.Source) })
	})
}
