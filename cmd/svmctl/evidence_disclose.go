package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/internal/verify/evidence"
)

func newEvidenceDiscloseCommand(p *program) *cobra.Command {
	var (
		wanted            evidence.Wanted
		redactionKey, out string
	)
	cmd := &cobra.Command{
		Use:   "disclose BUNDLE",
		Short: "Hand out some records of a bundle, with the proof that they are among those that were signed",
		Long: `disclose writes records of a bundle as JSON, each with its inclusion proof (RFC 6962) and the name of its object. The auditor
chooses the numbers after the bundle was signed, and checks the sample with evidence verify --sample: the statement is all that it
takes, and nothing is shown of the other records.

Where names are hidden, the operator's --redaction-key opens those of the sample alone.`,
		Example: `  # the records that the auditor has chosen
  svmctl evidence disclose 2026-q4 --index 17 --index 203 --out sample.json

  # one object, from a bundle that hides names
  svmctl evidence disclose 2026-q4 --etcd-key /registry/secrets/shop/db --redaction-key redaction.key`,
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	cmd.Flags().Int64SliceVar(&wanted.Indexes, "index", nil, "`number` of a record, from 0 in the order of the keys; repeatable")
	cmd.Flags().StringArrayVar(&wanted.Keys, "etcd-key", nil, "`key` of a record in etcd; repeatable")
	cmd.Flags().StringVar(&redactionKey, "redaction-key", "", "`file` with the key that names were hidden with")
	cmd.Flags().StringVar(&out, "out", "", "write to a new `file` (default: stdout)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(wanted.Indexes)+len(wanted.Keys) == 0 {
			return usageError(errors.New("--index or --etcd-key names the records to hand out"))
		}
		redactor, err := readRedactionKey(redactionKey)
		if err != nil {
			return err
		}
		sample, err := evidence.Disclose(cmd.Context(), args[0], wanted, redactor)
		if err != nil {
			return fmt.Errorf("reading the bundle %s: %w", args[0], err)
		}
		text, err := sample.Encode()
		if err != nil {
			return err
		}
		if out == "" {
			_, err := p.out.Write(text)
			return err
		}
		file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("writing the sample: %w", err)
		}
		if _, err := file.Write(text); err != nil {
			file.Close()
			return fmt.Errorf("writing the sample: %w", err)
		}
		return file.Close()
	}
	return cmd
}
