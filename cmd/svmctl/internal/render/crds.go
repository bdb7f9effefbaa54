package render

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/version"

	"github.com/svmctl/svmctl/internal/storedversions"
)

// CRDs writes what is stored of custom resources, and what was trimmed.
func CRDs(w io.Writer, r *storedversions.Report, opts Options) error {
	switch opts.Format {
	case JSON, YAML:
		return crdDocument(w, r, opts)
	case CSV:
		return crdCSV(w, r)
	}
	if _, err := io.WriteString(w, fileHeading(r.Source)); err != nil {
		return err
	}
	if len(r.CRDs) > 0 {
		if err := crdTable(w, r, opts); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, crdSummary(r, opts.Palette))
	return err
}

func crdTable(w io.Writer, r *storedversions.Report, opts Options) error {
	wide := opts.Format == Wide
	header := []string{"NAME", "STATE", "STORAGE", "SERVED", "STOREDVERSIONS", "STORED"}
	if wide {
		header = append(header, "MANAGEDFIELDS", "REVISION")
	}
	t := newTable(header)
	for _, row := range r.CRDs {
		cells := []string{visible(row.Name), opts.Palette.state(row.State), dash(visible(row.StorageVersion)),
			dash(visibleList(row.Served)), dash(visibleList(row.StoredVersions)), storedCounts(row)}
		if wide {
			cells = append(cells, managedText(row.ManagedFields), revisionsText(row))
		}
		t.row(cells...)
	}
	return t.write(w)
}

func (p Palette) state(s storedversions.State) string {
	switch s {
	case storedversions.Clean:
		return p.good.Sprint(s)
	case storedversions.Prunable, storedversions.NeedsMigration:
		return p.doubtful.Sprint(s)
	}
	return p.bad.Sprint(s)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// versionsOf are the versions that objects are stored at, the older first.
func versionsOf(row storedversions.Row) []string {
	return slices.SortedFunc(maps.Keys(row.Stored), func(a, b string) int {
		if c := version.CompareKubeAwareVersionStrings(a, b); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
}

func storedCounts(row storedversions.Row) string {
	var parts []string
	for _, v := range versionsOf(row) {
		parts = append(parts, fmt.Sprintf("%s: %d", visible(v), row.Stored[v]))
	}
	if row.Unknown > 0 {
		parts = append(parts, fmt.Sprintf("unknown: %d", row.Unknown))
	}
	return dash(strings.Join(parts, ", "))
}

func managedText(m storedversions.ManagedFields) string {
	if m.Objects == 0 {
		return "-"
	}
	return fmt.Sprintf("%s in %s", visibleList(m.Versions), Count(m.Objects, "object"))
}

func revisionsText(row storedversions.Row) string {
	switch {
	case row.FromRevision == 0:
		return "-"
	case row.ToRevision == 0 || row.ToRevision == row.FromRevision:
		return strconv.FormatInt(row.FromRevision, 10)
	}
	return fmt.Sprintf("%d → %d", row.FromRevision, row.ToRevision)
}

// crdSummary is what stands below the table: a line for each row that has something to say, and what the report speaks of.
func crdSummary(r *storedversions.Report, palette Palette) string {
	out := &strings.Builder{}
	for _, row := range r.CRDs {
		if text := rowText(r, row, palette); text != "" {
			fmt.Fprintf(out, "%s: %s\n", visible(row.Name), text)
		}
	}
	if out.Len() > 0 {
		text := out.String()
		out.Reset()
		out.WriteString("\n" + text)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(out, "%s %s\n", palette.doubtful.Sprint("Warning:"), visible(warning))
	}
	if len(r.CRDs) > 0 {
		out.WriteString("\n")
	}
	fmt.Fprintf(out, "%s: %s", Count(int64(len(r.CRDs)), "custom resource"), statesText(r, palette))
	if r.APIServers == nil && r.Source.Revision > 0 { // of what was trimmed, each row has its own
		of := "etcd"
		if r.Source.Type == "snapshot" {
			of = "the file"
		}
		fmt.Fprintf(out, ", at revision %d of %s", r.Source.Revision, of)
		if !r.Scope.Found && len(r.Scope.Prefixes) > 0 {
			fmt.Fprintf(out, ", for %s alone", visibleList(r.Scope.Prefixes))
		}
	}
	out.WriteString("\n")
	if r.APIServers != nil {
		out.WriteString(apiserversLine(*r.APIServers, out.String()))
	}
	if r.DryRun {
		out.WriteString("Dry run: nothing was written.\n")
	}
	out.WriteString(crdNext(r))
	return out.String()
}

// crdNext names the commands for what was found. What prune refused has its hint, and a dry run is one already.
func crdNext(r *storedversions.Report) string {
	var steps []string
	for _, of := range []struct {
		state   storedversions.State
		command string
	}{{storedversions.NeedsMigration, "svmctl migrate "}, {storedversions.Prunable, "svmctl crds prune "}} {
		rows := slices.DeleteFunc(slices.Clone(r.CRDs), func(row storedversions.Row) bool { return row.State != of.state || row.Refused })
		switch {
		case r.DryRun || len(rows) == 0:
		case len(rows) == 1:
			steps = append(steps, of.command+visible(rows[0].Name))
		default:
			steps = append(steps, of.command+"NAME…")
		}
	}
	if len(steps) == 0 {
		return ""
	}
	return "Next: " + strings.Join(steps, ", ") + "\n"
}

func statesText(r *storedversions.Report, palette Palette) string {
	count := make(map[storedversions.State]int)
	for _, row := range r.CRDs {
		count[row.State]++
	}
	var parts []string
	for _, s := range []storedversions.State{storedversions.Clean, storedversions.Prunable, storedversions.NeedsMigration, storedversions.Blocked} {
		if count[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[s], palette.state(s)))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// rowText tells what became of storedVersions, and the reason of a row.
func rowText(r *storedversions.Report, row storedversions.Row, palette Palette) string {
	var parts []string
	// Of a row that was refused, what was put back or never written is still in storedVersions.
	gone := slices.DeleteFunc(slices.Clone(row.Dropped), func(v string) bool { return slices.Contains(row.StoredVersions, v) })
	switch {
	case r.DryRun && len(row.Dropped) > 0 && !row.Refused:
		parts = append(parts, fmt.Sprintf("would drop %s from storedVersions", visibleList(row.Dropped)))
	case row.Refused && !r.DryRun && len(gone) > 0:
		parts = append(parts, fmt.Sprintf("dropped %s from storedVersions", visibleList(gone)))
	case !row.Refused && len(gone) > 0:
		parts = append(parts, fmt.Sprintf("dropped %s from storedVersions; etcd holds none of it at revision %d", visibleList(gone), row.ToRevision))
	}
	if len(row.PutBack) > 0 {
		parts = append(parts, palette.bad.Sprint("put back")+fmt.Sprintf(" %s into storedVersions", visibleList(row.PutBack)))
	}
	reason := visible(row.Reason)
	switch {
	case row.Refused && len(row.PutBack) == 0:
		parts = append(parts, strings.TrimSuffix(palette.bad.Sprint("refused")+": "+reason, ": "))
	case reason != "":
		parts = append(parts, reason)
	}
	if row.ManagedFields.Objects > 0 {
		parts = append(parts, fmt.Sprintf("managedFields of %s still name %s, which the definition no longer has",
			Count(row.ManagedFields.Objects, "object"), visibleList(row.ManagedFields.Versions)))
	}
	return strings.Join(parts, "; ")
}

func crdDocument(w io.Writer, r *storedversions.Report, opts Options) error {
	head := struct {
		*storedversions.Report
		APIServers *agreementDocument `json:"apiservers"`
		CRDs       list               `json:"crds"` // one to a line
	}{Report: r}
	if r.APIServers != nil {
		d := documentOf(*r.APIServers)
		head.APIServers = &d
	}
	d := newDocument(opts.Format)
	head.CRDs = d.list(func(item func(any) error) error {
		for _, row := range r.CRDs {
			if err := item(row); err != nil {
				return err
			}
		}
		return nil
	})
	return d.write(w, head)
}

func crdCSV(w io.Writer, r *storedversions.Report) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"name", "state", "reason", "storageVersion", "served", "storedVersions", "stored", "unknown", "managedFieldsObjects",
		"managedFieldsVersions", "fromRevision", "toRevision", "dropped", "putBack", "refused"}}
	for _, row := range r.CRDs {
		var stored []string
		for _, v := range versionsOf(row) {
			stored = append(stored, fmt.Sprintf("%s=%d", v, row.Stored[v]))
		}
		rows = append(rows, []string{row.Name, string(row.State), row.Reason, row.StorageVersion, strings.Join(row.Served, " "),
			strings.Join(row.StoredVersions, " "), strings.Join(stored, " "), strconv.FormatInt(row.Unknown, 10),
			strconv.FormatInt(row.ManagedFields.Objects, 10), strings.Join(row.ManagedFields.Versions, " "),
			strconv.FormatInt(row.FromRevision, 10), strconv.FormatInt(row.ToRevision, 10), strings.Join(row.Dropped, " "),
			strings.Join(row.PutBack, " "), strconv.FormatBool(row.Refused)})
	}
	return writeCSV(out, rows)
}
