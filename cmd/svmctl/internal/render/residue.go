package render

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/residue"
)

// Residue writes where in etcd's files values lie.
func Residue(w io.Writer, r *residue.Report, opts Options) error {
	switch opts.Format {
	case JSON, YAML:
		return newDocument(opts.Format).write(w, r)
	case CSV:
		return residueCSV(w, r)
	}
	if err := residueTable(w, r, opts); err != nil {
		return err
	}
	_, err := io.WriteString(w, residueSummary(r, opts))
	return err
}

// places are the columns of the table, in their order.
var places = []residue.Place{residue.Live, residue.History, residue.FreePages, residue.WAL}

// residueRow is the counts of one resource under one key in all places.
type residueRow struct {
	residue.Count
	values map[residue.Place]int64
	left   map[residue.Place]bool
}

// residueRows puts the places beside each other. A table shows what is left behind, and what is live of those resources; a wide one all.
func residueRows(r *residue.Report, wide bool) []*residueRow {
	shown := make(map[string]bool)
	for _, c := range r.Counts {
		shown[c.Resource] = shown[c.Resource] || c.LeftBehind > 0 || c.Untold > 0 || wide
	}
	var rows []*residueRow
	at := make(map[residue.Count]*residueRow)
	for _, c := range r.Counts {
		if !shown[c.Resource] {
			continue
		}
		k := residue.Count{Resource: c.Resource, Provider: c.Provider, Version: c.Version, Key: c.Key, KeyID: c.KeyID}
		row := at[k]
		if row == nil {
			row = &residueRow{Count: k, values: make(map[residue.Place]int64), left: make(map[residue.Place]bool)}
			at[k] = row
			rows = append(rows, row)
		}
		row.values[c.Place] += c.Values
		row.left[c.Place] = row.left[c.Place] || c.LeftBehind > 0
	}
	return rows
}

func residueTable(w io.Writer, r *residue.Report, opts Options) error {
	rows := residueRows(r, opts.Format == Wide)
	if len(rows) == 0 {
		return nil
	}
	t := newTable([]string{"RESOURCE", "AT REST", "LIVE", "HISTORY", "FREE PAGES", "WAL"}, 2, 3, 4, 5)
	for _, row := range rows {
		name := visible(row.Resource)
		if name == "" {
			name = "(key lost)"
		}
		cells := []string{name, atRestText(atrest.Encryption{Provider: row.Provider, Version: row.Version, Key: row.Key, KeyID: row.KeyID})}
		for _, place := range places {
			cell := strconv.FormatInt(row.values[place], 10)
			if row.left[place] {
				cell = opts.Palette.bad.Sprint(cell)
			}
			if !looked(r, place) {
				cell = "-"
			}
			cells = append(cells, cell)
		}
		t.row(cells...)
	}
	if err := t.write(w); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// looked tells whether anything was looked through that has such a place.
func looked(r *residue.Report, place residue.Place) bool {
	return slices.ContainsFunc(r.Files, func(f residue.File) bool {
		return (place == residue.WAL) == (f.Kind == residue.Log || f.Kind == residue.RaftSnapshot)
	})
}

func residueSummary(r *residue.Report, opts Options) string {
	out := &strings.Builder{}
	for _, f := range r.Files {
		fmt.Fprintf(out, "%s: %s", visible(f.Path), residueKind(f))
		if f.Problem != "" {
			fmt.Fprintf(out, "\n  %s %s", opts.Palette.doubtful.Sprint("not all of it was looked through:"), visible(f.Problem))
		}
		out.WriteString("\n")
	}
	if !looked(r, residue.WAL) {
		out.WriteString("Not looked at: the write-ahead log, which lies in a member's data directory and in no snapshot.\n")
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(out, "%s %s\n", opts.Palette.doubtful.Sprint("Warning:"), visible(warning))
	}
	for i, s := range r.Steps {
		fmt.Fprintf(out, "%s %s in %s of %s\n", opts.Palette.bad.Sprint("Left behind:"), Count(s.Values, "value"), placeText(s.Place), visible(s.Path))
		if i+1 == len(r.Steps) || r.Steps[i+1].Path != s.Path || r.Steps[i+1].Do != s.Do {
			fmt.Fprintf(out, "  %s\n  %s\n", s.Do, s.Why)
		}
	}
	switch {
	case len(r.Steps) > 0:
	case r.Unread(), len(r.Warnings) > 0:
		out.WriteString("Nothing else is known to be left behind.\n")
	default:
		out.WriteString("Nothing is left behind: whatever lies there is in the form in which it would be written now.\n")
	}
	return out.String()
}

func residueKind(f residue.File) string {
	switch f.Kind {
	case residue.Snapshot, residue.Database:
		text := map[string]string{"valid": "SHA-256 valid", "wrong": "SHA-256 wrong", "absent": "without a SHA-256"}[f.Integrity]
		return fmt.Sprintf("%s at revision %d, compacted up to %d, %s of %s free, %s", f.Kind, f.Revision, f.Compacted, Bytes(f.FreeBytes), Bytes(f.Bytes), text)
	case residue.Log:
		return "write-ahead log of " + Bytes(f.Bytes)
	case residue.RaftSnapshot:
		return "beside the database, " + Bytes(f.Bytes)
	}
	return "not read"
}

func placeText(p residue.Place) string {
	return map[residue.Place]string{residue.History: "the history", residue.FreePages: "free pages", residue.WAL: "the log"}[p]
}

func residueCSV(w io.Writer, r *residue.Report) error {
	rows := [][]string{{"place", "path", "resource", "provider", "version", "key", "keyID", "values", "cut", "leftBehind", "untold"}}
	for _, c := range r.Counts {
		rows = append(rows, []string{string(c.Place), c.Path, c.Resource, string(c.Provider), c.Version, c.Key, c.KeyID,
			strconv.FormatInt(c.Values, 10), strconv.FormatInt(c.Cut, 10), strconv.FormatInt(c.LeftBehind, 10), strconv.FormatInt(c.Untold, 10)})
	}
	return writeCSV(csv.NewWriter(w), rows)
}
