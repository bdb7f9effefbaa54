package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// benchEvidence compares an audit that makes a bundle with one that makes none.
func benchEvidence(ctx context.Context, opts options) (Table, error) {
	p, err := startPlane(ctx, opts.bin, func(string) ([]string, error) { return []string{"--etcd-only"}, nil })
	if err != nil {
		return Table{}, err
	}
	defer p.close()
	fmt.Fprintf(opts.log, "bench: putting %d encrypted values into etcd\n", opts.sealed)
	if _, _, err := self(ctx, p.env, "load-sealed", strconv.Itoa(opts.sealed)); err != nil {
		return Table{}, err
	}
	key := filepath.Join(p.dir, "redaction.key")
	if err := os.WriteFile(key, []byte("a key of the bench, and of nobody else: 0123456789"), 0o600); err != nil {
		return Table{}, fmt.Errorf("writing the redaction key: %w", err)
	}
	none := &Row{Name: "svmctl audit"}
	names := &Row{Name: "svmctl audit --evidence"}
	hidden := &Row{Name: "svmctl audit --evidence --redact hmac --csv"}
	check := &Row{Name: "svmctl evidence verify"}
	t := Table{Title: fmt.Sprintf("Evidence: a bundle of %d secrets of 1.1 kB, over TLS", opts.sealed), Unit: "keys", Rows: []*Row{none, names, hidden, check}}
	for round := range opts.rounds {
		fmt.Fprintf(opts.log, "bench: making bundles, round %d of %d\n", round+1, opts.rounds)
		dir := filepath.Join(p.dir, "bundle-"+strconv.Itoa(round))
		for _, way := range []struct {
			row  *Row
			args []string
		}{
			{none, nil},
			{names, []string{"--evidence", dir}},
			{hidden, []string{"--evidence", dir + "-hidden", "--redact", "hmac", "--redaction-key", key, "--csv"}},
		} {
			out, u, err := measure(ctx, p.env, p.svmctl, append([]string{"audit", "-o", "json", "--expect", "secrets=aescbc:key1"}, way.args...)...)
			if err != nil {
				return Table{}, err
			}
			if err := checkAudit(out, opts.sealed); err != nil {
				return Table{}, err
			}
			way.row.add(opts.sealed, u.wall, u)
		}
		_, u, err := measure(ctx, p.env, p.svmctl, "evidence", "verify", dir)
		if err != nil {
			return Table{}, err
		}
		check.add(opts.sealed, u.wall, u)
	}
	t.compare()
	t.Goals = []Goal{
		{Text: "a bundle in at most 3 times the audit's own time", Value: none.Rate / names.Rate, Reached: none.Rate <= 3*names.Rate},
		{Text: "with hidden names and CSV in at most 3 times", Value: none.Rate / hidden.Rate, Reached: none.Rate <= 3*hidden.Rate},
		{Text: "in at most 150 MiB", Value: mebibytes(max(names.PeakRSS, hidden.PeakRSS)), Reached: max(names.PeakRSS, hidden.PeakRSS) <= 150<<20},
	}
	return t, nil
}
