package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/residue"
)

func newResidueCommand(p *program) *cobra.Command {
	var (
		output string
		fail   bool
	)
	cmd := &cobra.Command{
		Use:   "residue FILE|DIR...",
		Short: "Find old plaintext and values under old keys in etcd's files: history, free pages and write-ahead log",
		Long: `residue looks through a snapshot, a copied member/snap/db, or a copied data directory with its write-ahead log, and counts per
resource and key which values lie there:

  live       the newest write of each key
  history    older revisions, which etcd gives to whoever asks for them until they are compacted
  freePages  bytes of the database that belong to nothing any more, until etcd is defragmented
  wal        the write-ahead log, and raft's own snapshots beside the database

What lies somewhere in a form that it would not be written in now is left behind, by a rotation or a deletion: it is shown with the
step that clears it. What that form is the EncryptionConfiguration tells, or else what is live of the same key or resource. Values are counted, and never shown. In free pages and in the log they are found by how Kubernetes
and etcd write them; YAML, and values whose beginning is lost, are not found.

It only reads. The database of an etcd that is running is refused: stop it, copy its data directory, or take a snapshot.`,
		Example: `  # did the rotation leave plaintext behind?
  svmctl residue backup.db

  # a member's whole data directory, copied while etcd was stopped; exit with 3 if anything is left behind
  svmctl residue /var/backups/etcd-member-1 --fail`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
	}
	enc := addEncryptionFile(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`format`: table, wide, json, yaml or csv")
	cmd.Flags().BoolVar(&fail, "fail", false, "exit with 3 when something is left behind, and with 4 when not everything could be looked through, or be judged")
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		opts, err := p.renderOptions(output)
		if err != nil {
			return err
		}
		req := residue.Request{Paths: paths, Version: version, Now: time.Now}
		if req.Config, req.Encryption, err = enc.read(); err != nil {
			return err
		}
		result, err := residue.Run(cmd.Context(), req)
		if err != nil {
			return err
		}
		if opts.Format == render.CSV {
			p.warn(result.Unsaid()) // rows have no place for it
		}
		if err := render.Residue(p.out, result, opts); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		switch {
		case fail && result.Open():
			return &exitError{code: exitIncomplete}
		case fail && result.Unread():
			return &exitError{code: exitIndeterminate}
		}
		return nil
	}
	return cmd
}
