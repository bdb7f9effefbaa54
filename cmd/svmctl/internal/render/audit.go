package render

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
)

// findingsInTables is how many findings a table lists when nobody says otherwise.
const findingsInTables = 20

// Audit writes an audit report.
func Audit(w io.Writer, r *audit.Report, opts Options) error {
	switch opts.Format {
	case JSON, YAML:
		return auditDocument(w, r, opts)
	case CSV:
		return auditCSV(w, r)
	}
	if _, err := io.WriteString(w, fileHeading(r.Source)); err != nil {
		return err
	}
	if err := auditGroups(w, r, opts); err != nil {
		return err
	}
	if err := auditSummary(w, r, opts.Palette); err != nil {
		return err
	}
	if err := historyTable(w, r.History); err != nil {
		return err
	}
	return findingsTable(w, r, opts, "\n", "")
}

func auditDocument(w io.Writer, r *audit.Report, opts Options) error {
	d := newDocument(opts.Format)
	limit := findingLimit(r, opts)
	return d.write(w, auditHead{Report: r, FindingsOmitted: r.FindingCount - limit, Findings: d.list(findings(r, limit))})
}

// auditHead is an audit report as it stands in a document.
type auditHead struct {
	*audit.Report
	FindingsOmitted int64 `json:"findingsOmitted"`
	Findings        list  `json:"findings"`
}

func findingLimit(r *audit.Report, opts Options) int64 {
	if opts.MaxFindings >= 0 {
		return min(r.FindingCount, opts.MaxFindings)
	}
	return r.FindingCount
}

func findings(r *audit.Report, limit int64) func(func(any) error) error {
	return func(item func(any) error) error {
		for f, err := range r.Findings() {
			if err != nil {
				return err
			}
			if limit--; limit < 0 {
				return nil
			}
			if err := item(f); err != nil {
				return err
			}
		}
		return nil
	}
}

// fileHeading names the file that was read, and whether it is what it was when it was made.
func fileHeading(s audit.Source) string {
	if s.Type != "snapshot" || s.Path == "" {
		return ""
	}
	text := map[string]string{
		"valid":  "its SHA-256 is the one at its end",
		"wrong":  "its SHA-256 is not the one at its end",
		"absent": "without a SHA-256 at its end",
	}[s.Integrity]
	return fmt.Sprintf("File %s, %s\n\n", visible(s.Path), text)
}

func auditGroups(w io.Writer, r *audit.Report, opts Options) error {
	wide := opts.Format == Wide
	roots := wide || slices.ContainsFunc(r.Groups, func(g audit.Group) bool { return g.Root != r.Groups[0].Root })
	header := []string{"RESOURCE", "OBJECTS", "AT REST", "STORED AS", "BYTES"}
	if roots {
		header = append(header, "ROOT")
	}
	if wide {
		header = append(header, "ENCODING", "OPENED", "NOTE")
	}
	t := newTable(header, 1, 4)
	for _, g := range r.Groups {
		row := []string{
			resourceName(g), strconv.FormatInt(g.Objects, 10), opts.Palette.severity(g.Worst, atRestText(g.AtRest)),
			storedText(g), Bytes(g.Bytes),
		}
		if roots {
			row = append(row, visible(g.Root))
		}
		if wide {
			encoding := ""
			if g.Stored != nil {
				encoding = string(g.Stored.Encoding)
			}
			row = append(row, encoding, string(g.Opened), g.Note)
		}
		t.row(row...)
	}
	return t.write(w)
}

func resourceName(g audit.Group) string {
	switch {
	case g.Resource != "":
		return visible(verify.Resource{Group: g.Group, Name: g.Resource}.String())
	case g.Note != "":
		return "(" + g.Note + ")"
	}
	return "(unknown)"
}

func atRestText(e atrest.Encryption) string {
	text := visible(verify.Describe(e))
	if e.Provider == atrest.Identity {
		return "plaintext"
	}
	if e.KeyInferred {
		text += " (name inferred)"
	}
	return text
}

func storedText(g audit.Group) string {
	switch {
	case g.Stored != nil:
		return visible(g.Stored.APIVersion + " " + g.Stored.Kind)
	case g.AtRest.Provider == atrest.Identity || g.AtRest.Provider == atrest.Unknown:
		return "not readable"
	case g.Opened == etcdscan.Failed:
		return "cannot be opened"
	}
	return "not opened"
}

func auditSummary(w io.Writer, r *audit.Report, palette Palette) error {
	out := &strings.Builder{}
	fmt.Fprintf(out, "\n%s, %s of values, at revision %d under %s", Count(r.Totals.Keys, "key"), Bytes(r.Totals.Bytes), r.Source.Revision, visibleList(r.Scope.Prefixes))
	if r.Scope.Found {
		out.WriteString(foundIn(r.Source))
	}
	out.WriteString("\n")
	if r.Scope.Outside != nil && *r.Scope.Outside > 0 {
		fmt.Fprintf(out, "Outside of this scope, not read: %s\n", Count(*r.Scope.Outside, "key"))
	}
	if r.Encryption != nil {
		fmt.Fprintf(out, "EncryptionConfiguration %s, values opened: %s\n", visible(r.Encryption.Path), r.Encryption.Open)
	}
	if r.Candidate != nil {
		fmt.Fprintf(out, "Judged is the candidate %s: what an apiserver with it could not read, and what it would write otherwise\n", visible(r.Candidate.Path))
	}
	if r.Verdict == verify.NotJudged {
		out.WriteString("Verdict: none, because nothing was expected (--expect)\n")
	} else {
		fmt.Fprintf(out, "Verdict: %s\n", palette.Verdict(r.Verdict))
	}
	writeReasons(out, r.Reasons, palette)
	_, err := io.WriteString(w, out.String())
	return err
}

// historyTable lists the older revisions.
func historyTable(w io.Writer, h *audit.History) error {
	if h == nil {
		return nil
	}
	from := "nothing was ever compacted"
	if h.Compacted > 0 {
		from = fmt.Sprintf("from revision %d on", h.Compacted)
	}
	if _, err := fmt.Fprintf(w, "\nOlder revisions that are still to be had: %d, %s\n", h.Revisions, from); err != nil || h.Revisions == 0 {
		return err
	}
	t := newTable([]string{"RESOURCE", "REVISIONS", "AT REST", "BYTES"}, 1, 3)
	for _, g := range h.Groups {
		t.row(resourceName(audit.Group{Group: g.Group, Resource: g.Resource, Note: g.Note}), strconv.FormatInt(g.Revisions, 10), atRestText(g.AtRest), Bytes(g.Bytes))
	}
	return t.write(w)
}

func foundIn(s audit.Source) string {
	if s.Type == "snapshot" {
		return " (found in the file)"
	}
	return " (found in etcd)"
}

// writeReasons lists what keeps a verdict from Complete, a line each.
func writeReasons(out *strings.Builder, reasons []audit.Reason, palette Palette) {
	for _, reason := range reasons {
		line := "  "
		if reason.Objects > 0 {
			line += strconv.FormatInt(reason.Objects, 10) + " "
		}
		if reason.Resource != "" {
			line += visible(reason.Resource) + " "
		}
		line += palette.severity(reason.Severity, string(reason.Code)) + ": " + visible(reason.Message)
		if reason.Expected != "" && reason.Found != "" {
			line += fmt.Sprintf(" (expected %s, found %s)", visible(reason.Expected), visible(reason.Found))
		}
		out.WriteString(line + "\n")
	}
}

// findingsTable lists the findings about objects, if there are any, between before and after.
func findingsTable(w io.Writer, r *audit.Report, opts Options, before, after string) error {
	limit := opts.MaxFindings
	if limit < 0 {
		limit = findingsInTables
	}
	header := []string{"FINDING", "KEY", "REVISION", "EXPECTED", "FOUND"}
	if opts.Format == Wide {
		header = append(header, "WHY")
	}
	t := newTable(header, 2)
	var shown, all int64
	for f, err := range r.Findings() {
		if err != nil {
			return err
		}
		if f.Key == "" {
			continue // said by the reasons
		}
		if all++; shown == limit {
			break
		}
		shown++
		row := []string{opts.Palette.severity(f.Severity, string(f.Code)), visible(f.Key), strconv.FormatInt(f.ModRevision, 10), visible(f.Expected), visible(f.Found)}
		if opts.Format == Wide {
			row = append(row, visible(f.Message))
		}
		t.row(row...)
	}
	if all == 0 {
		return nil
	}
	if _, err := io.WriteString(w, before); err != nil {
		return err
	}
	if shown > 0 {
		if err := t.write(w); err != nil {
			return err
		}
	}
	if all > shown {
		after = fmt.Sprintf("… of %s; -o json lists them all\n%s", Count(r.FindingCount, "finding"), after)
	}
	_, err := io.WriteString(w, after)
	return err
}

func auditCSV(w io.Writer, r *audit.Report) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"root", "group", "resource", "provider", "version", "key", "keyID", "keyInferred", "apiVersion", "kind", "encoding", "opened", "authenticated", "note", "objects", "bytes"}}
	for _, g := range r.Groups {
		var apiVersion, kind, encoding string
		if g.Stored != nil {
			apiVersion, kind, encoding = g.Stored.APIVersion, g.Stored.Kind, string(g.Stored.Encoding)
		}
		rows = append(rows, []string{g.Root, g.Group, g.Resource, string(g.AtRest.Provider), g.AtRest.Version, g.AtRest.Key, g.AtRest.KeyID,
			strconv.FormatBool(g.AtRest.KeyInferred), apiVersion, kind, encoding, string(g.Opened), strconv.FormatBool(g.Authenticated), g.Note,
			strconv.FormatInt(g.Objects, 10), strconv.FormatInt(g.Bytes, 10)})
	}
	return writeCSV(out, rows)
}

func writeCSV(out *csv.Writer, rows [][]string) error {
	for _, row := range rows {
		for i, cell := range row {
			row[i] = inertCell(cell)
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// inertCell keeps a spreadsheet from taking a name out of etcd for a formula.
func inertCell(s string) string {
	s = Inert(s)
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func visibleList(ss []string) string {
	var out []string
	for _, s := range ss {
		out = append(out, visible(s))
	}
	return strings.Join(out, ", ")
}
