package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/snapshot"
)

// benchSnapshot compares the audit of a file that is in the page cache with the least that reading it can be.
func benchSnapshot(ctx context.Context, opts options) (Table, error) {
	dir, err := os.MkdirTemp("", "svmctl-bench-")
	if err != nil {
		return Table{}, fmt.Errorf("preparing a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "snapshot.db")
	fmt.Fprintf(opts.log, "bench: writing %d values to a snapshot\n", opts.fileKeys)
	out, _, err := self(ctx, os.Environ(), "make-file", path, strconv.Itoa(opts.fileKeys))
	if err != nil {
		return Table{}, err
	}
	size := 0
	if _, err := fmt.Sscan(string(out), &size); err != nil {
		return Table{}, fmt.Errorf("reading what was written: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return Table{}, err
	}
	svmctl := &Row{Name: "svmctl audit --snapshot -o json"}
	engine := &Row{Name: "the same without the digest: index and scan"}
	cursor := &Row{Name: "bare bbolt cursor"}
	hashed := &Row{Name: "bare bbolt cursor, then the SHA-256 of the file"}
	t := Table{
		Title: fmt.Sprintf("Snapshot: %d values of %d bytes on average, in a file of %.0f MiB that is in memory", opts.fileKeys, size/opts.fileKeys, mebibytes(info.Size())),
		Unit:  "keys", Rows: []*Row{svmctl, hashed, engine, cursor},
	}
	bin := filepath.Join(opts.bin, "svmctl")
	for round := range opts.rounds {
		fmt.Fprintf(opts.log, "bench: reading it, round %d of %d\n", round+1, opts.rounds)
		out, u, err := measure(ctx, os.Environ(), bin, "audit", "--snapshot", path, "-o", "json")
		if err != nil {
			return Table{}, err
		}
		if err := checkAudit(out, opts.fileKeys); err != nil {
			return Table{}, err
		}
		svmctl.add(opts.fileKeys, u.wall, u)
		for _, bare := range []struct {
			row  *Row
			args []string
		}{{hashed, []string{"drain-file", path, "hash"}}, {engine, []string{"read-file", path}}, {cursor, []string{"drain-file", path}}} {
			out, u, err := self(ctx, os.Environ(), bare.args...)
			if err != nil {
				return Table{}, err
			}
			keys := 0
			if _, err := fmt.Sscan(string(out), &keys); err != nil || keys != opts.fileKeys {
				return Table{}, fmt.Errorf("%s: read %d keys where there are %d: %w", bare.row.Name, keys, opts.fileKeys, err)
			}
			bare.row.add(opts.fileKeys, u.wall, u)
		}
	}
	t.compare()
	above := svmctl.PeakRSS - info.Size()
	reading, whole := engine.Rate/cursor.Rate, svmctl.Rate/hashed.Rate
	t.Goals = []Goal{
		{Text: "index and scan at least 0.5 of the bare cursor", Value: reading, Reached: reading >= 0.5},
		{Text: "audit at least 0.8 of cursor and digest", Value: whole, Reached: whole >= 0.8},
		{Text: "audit in at most 150 MiB above the file", Value: mebibytes(above), Reached: above <= 150<<20},
	}
	t.Notes = []string{"The peaks hold all of the file as far as it was looked at, which belongs to the page cache."}
	return t, nil
}

// readFile reads a snapshot as an audit does, less the digest of it.
func readFile(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("reading a snapshot: want a path, not %q", args)
	}
	file, err := snapshot.Open(args[0])
	if err != nil {
		return err
	}
	defer file.Close()
	file.StopDigest()
	source := struct{ etcdscan.Source }{file} // that does not ask for it
	reading := etcdscan.Reading{Source: source, Scope: etcdscan.NewScope([]string{registry}, []string{"/registry"})}
	res, err := etcdscan.Scan(ctx, reading, ignored{})
	if err != nil {
		return err
	}
	if res.Shortfall != nil {
		return res.Shortfall
	}
	_, err = fmt.Fprintln(stdout, res.Tally.Objects())
	return err
}

// ignored is a sink for what nobody wants to know.
type ignored struct{}

func (ignored) Begin()                                       {}
func (ignored) Take(*etcdscan.Record, *etcdscan.Entry) error { return nil }
