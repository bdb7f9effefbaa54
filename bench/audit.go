package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// benchAudit compares the audit with other ways to read all of an etcd.
func benchAudit(ctx context.Context, opts options) (Table, error) {
	p, err := startPlane(ctx, opts.bin, func(string) ([]string, error) { return []string{"--etcd-only"}, nil })
	if err != nil {
		return Table{}, err
	}
	defer p.close()
	fmt.Fprintf(opts.log, "bench: putting %d values into etcd\n", opts.keys)
	out, _, err := self(ctx, p.env, "load", strconv.Itoa(opts.keys))
	if err != nil {
		return Table{}, err
	}
	size := 0
	if _, err := fmt.Sscan(string(out), new(int), &size); err != nil {
		return Table{}, fmt.Errorf("reading what was loaded: %w", err)
	}
	svmctl := &Row{Name: "svmctl audit -o json"}
	judging := &Row{Name: "svmctl audit -o json --expect …, half of them findings"}
	stream := &Row{Name: "bare client that drains RangeStream"}
	pages := &Row{Name: fmt.Sprintf("bare client that pages by %d", pageKeys)}
	etcdctl := &Row{Name: "etcdctl get --prefix"}
	t := Table{
		Title: fmt.Sprintf("Audit: %d values of %d bytes on average, over TLS", opts.keys, size/opts.keys),
		Unit:  "keys", Rows: []*Row{svmctl, stream, pages, etcdctl, judging},
	}
	for round := range opts.rounds {
		fmt.Fprintf(opts.log, "bench: reading them, round %d of %d\n", round+1, opts.rounds)
		out, u, err := measure(ctx, p.env, p.svmctl, "audit", "-o", "json")
		if err != nil {
			return Table{}, err
		}
		if err := checkAudit(out, opts.keys); err != nil {
			return Table{}, err
		}
		svmctl.add(opts.keys, u.wall, u)
		if u, err = judge(ctx, p, opts.keys); err != nil {
			return Table{}, err
		}
		judging.add(opts.keys, u.wall, u)
		for _, bare := range []struct {
			row *Row
			job string
		}{{stream, "drain-stream"}, {pages, "drain-pages"}} {
			out, u, err := self(ctx, p.env, bare.job)
			if err != nil {
				return Table{}, err
			}
			if want := fmt.Sprintln(opts.keys, size); string(out) != want {
				return Table{}, fmt.Errorf("%s: read %q where %q was loaded", bare.job, strings.TrimSpace(string(out)), strings.TrimSpace(want))
			}
			bare.row.add(opts.keys, u.wall, u)
		}
		// A shell in between, so that the answer goes nowhere and not into the bench's memory.
		_, u, err = measure(ctx, p.env, "sh", "-c", `exec "$0" etcdctl get --command-timeout=5m --prefix /registry/ >/dev/null`, p.playground)
		if err != nil {
			return Table{}, err
		}
		etcdctl.add(opts.keys, u.wall, u)
	}
	t.compare()
	peak := max(svmctl.PeakRSS, judging.PeakRSS)
	t.Goals = []Goal{
		{Text: "audit at least 0.8 of the bare stream", Value: stream.Ratio, Reached: stream.Ratio >= 0.8},
		{Text: "audit in at most 100 MiB", Value: mebibytes(peak), Reached: peak <= 100<<20},
	}
	return t, nil
}

// checkAudit makes sure that what was measured was a whole audit.
func checkAudit(out []byte, keys int) error {
	var report struct {
		Scope  struct{ Whole bool }
		Totals struct{ Keys int }
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return fmt.Errorf("reading the audit report: %w", err)
	}
	if !report.Scope.Whole || report.Totals.Keys != keys {
		return fmt.Errorf("the audit counts %d keys where %d were loaded", report.Totals.Keys, keys)
	}
	return nil
}

// judge measures an audit that lists half of the values as findings.
func judge(ctx context.Context, p *plane, keys int) (usage, error) {
	// Exit status 3 says that something is not as expected.
	const script = `"$0" audit -o json --expect secrets=aescbc:key1 >"$1"; test $? -eq 3`
	path := filepath.Join(p.dir, "findings.json")
	_, u, err := measure(ctx, p.env, "sh", "-c", script, p.svmctl, path)
	if err != nil {
		return u, err
	}
	f, err := os.Open(path)
	if err != nil {
		return u, fmt.Errorf("reading the findings: %w", err)
	}
	defer f.Close()
	findings, lines := 0, bufio.NewScanner(f)
	for lines.Scan() {
		if bytes.Contains(lines.Bytes(), []byte(`{"code":"Plaintext"`)) {
			findings++
		}
	}
	if want := (keys + 1) / 2; findings != want {
		return u, fmt.Errorf("the audit lists %d findings where there are %d", findings, want)
	}
	return u, lines.Err()
}
