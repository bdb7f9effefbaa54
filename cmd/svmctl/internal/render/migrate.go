package render

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/svmctl/svmctl/internal/migrate"
)

// Plan writes what a migration is about to do.
func Plan(w io.Writer, plan *migrate.Plan) error {
	t := newTable([]string{"RESOURCE", "OBJECTS", "TO REWRITE", "BYTES", "NAMESPACES", "TARGET", "FROM"}, 1, 2, 3, 4)
	refused := ""
	for _, r := range plan.Resources {
		stale, bytes := r.Stale, r.Bytes
		if r.Refused != "" {
			stale, bytes = 0, 0
			refused += fmt.Sprintf("Not migrated, %s: %s\n", Count(r.Stale, "object"), visible(r.Refused))
		}
		t.row(visible(r.Resource), strconv.FormatInt(r.Objects, 10), strconv.FormatInt(stale, 10), Bytes(bytes),
			strconv.Itoa(r.Namespaces), visible(targetText(r.Target)), string(r.From))
	}
	if err := t.write(w); err != nil {
		return err
	}
	text := refused + fmt.Sprintf("Backend %s. etcd keeps the old values until compaction: %s will be added", plan.Backend, Bytes(plan.Bytes))
	switch {
	case plan.DBSize > 0 && plan.Quota > 0:
		text += fmt.Sprintf(" to %s, of a quota of %s", Bytes(plan.DBSize), Bytes(plan.Quota))
	case plan.DBSize > 0:
		text += fmt.Sprintf(" to %s; its quota is not known", Bytes(plan.DBSize))
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

func targetText(t migrate.Target) string {
	if t.Version == "" {
		return t.Value
	}
	return strings.TrimPrefix(t.Value+" at "+t.Version, " ")
}

// Migration writes a migration report.
func Migration(w io.Writer, r *migrate.Report, opts Options) error {
	if opts.Format == JSON || opts.Format == YAML {
		return migrationDocument(w, r, opts)
	}
	if r.DryRun == migrate.ClientDryRun && !r.Unread {
		if err := Plan(w, &r.Plan); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "Dry run: nothing was written.\n%s\n", elsewhereText(r))
		return err
	}
	if err := failuresTable(w, r, opts); err != nil {
		return err
	}
	if r.After != nil && r.FailureCount() == 0 {
		// Nobody gave a reason for what is left, as under the in-tree controller; it is named all the same.
		if err := findingsTable(w, r.After, opts, "", "\n"); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, migrationSummary(r, opts.Palette))
	return err
}

func failuresTable(w io.Writer, r *migrate.Report, opts Options) error {
	limit := opts.MaxFindings
	if limit < 0 {
		limit = findingsInTables
	}
	header := []string{"NOT REWRITTEN", "NAMESPACE", "NAME", "CODE", "REASON", "CAUSE"}
	t := newTable(header)
	shown := int64(0)
	for f, err := range r.Failures() {
		if err != nil {
			return err
		}
		if shown == limit {
			break
		}
		shown++
		code := ""
		if f.Code != 0 {
			code = strconv.Itoa(f.Code)
		}
		cause := f.Text
		if f.Message != "" {
			cause += ": " + f.Message
		}
		t.row(visible(f.Resource), visible(f.Namespace), visible(f.Name), code, f.Reason, visible(cause))
	}
	if shown == 0 {
		return nil
	}
	if err := t.write(w); err != nil {
		return err
	}
	more := ""
	if n := r.FailureCount(); n > shown {
		more = fmt.Sprintf("… of %s; -o json lists them all\n", Count(n, "failure"))
	}
	_, err := io.WriteString(w, more+"\n")
	return err
}

func migrationSummary(r *migrate.Report, palette Palette) string {
	out := &strings.Builder{}
	o := r.Outcomes
	if r.DryRun == migrate.ServerDryRun && !r.Unread {
		fmt.Fprintf(out, "Dry run on the server: %d of %s accepted, %d refused; nothing was written.\n", o.Accepted, Count(r.Plan.Stale(), "object"), r.FailureCount())
		writeWarnings(out, r, palette)
		out.WriteString(elsewhereText(r) + "\n")
		return out.String()
	}
	var parts []string
	for _, part := range []struct {
		n    int64
		what string
	}{
		{o.Rewritten, "rewritten"}, {o.AlreadyCurrent, "already current"}, {o.NotRewritten, "not rewritten"},
		{o.ChangedByOthers, "changed by others"}, {o.Deleted, "deleted"}, {o.Failed, "failed"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	if len(parts) == 0 {
		parts = []string{"nothing to do"}
	}
	out.WriteString(strings.Join(parts, ", "))
	if r.Rounds > 0 {
		fmt.Fprintf(out, ", in %s, by %s", Count(int64(r.Rounds), "round"), r.Backend)
	}
	out.WriteString("\n")
	writeWarnings(out, r, palette)
	fmt.Fprintf(out, "Verdict: %s", palette.Verdict(r.Verdict))
	if r.After != nil {
		fmt.Fprintf(out, ", at revision %d of etcd", r.After.Source.Revision)
		if !r.Before.Scope.Found {
			fmt.Fprintf(out, ", for %s alone", visibleList(r.After.Scope.Prefixes))
		}
	}
	out.WriteString("\n")
	writeReasons(out, r.Reasons, palette)
	if r.APIServers.Agree == nil || !*r.APIServers.Agree {
		out.WriteString("apiservers not checked: late writes under another key are possible\n")
	}
	out.WriteString(elsewhereText(r) + "\n")
	return out.String()
}

func writeWarnings(out *strings.Builder, r *migrate.Report, palette Palette) {
	for _, warning := range r.Warnings {
		fmt.Fprintf(out, "%s %s\n", palette.doubtful.Sprint("Warning:"), visible(warning))
	}
	if r.Stopped != nil {
		fmt.Fprintf(out, "Stopped: %s\n", visible(r.Stopped.Message))
	}
}

// elsewhereText tells what else lies under another key: it must not be removed yet.
func elsewhereText(r *migrate.Report) string {
	byValue := make(map[string]int64)
	var order []string
	for _, e := range r.Elsewhere {
		if e.Objects == nil {
			return "other resources and other prefixes: " + e.Note
		}
		if _, seen := byValue[e.Value]; !seen {
			order = append(order, e.Value)
		}
		byValue[e.Value] += *e.Objects
	}
	if len(order) == 0 {
		return "other resources under another key: 0"
	}
	var parts []string
	for _, value := range order {
		_, name, named := strings.Cut(value, ":")
		if !named {
			name = value
		}
		parts = append(parts, fmt.Sprintf("other resources under %s: %d", visible(name), byValue[value]))
	}
	return strings.Join(parts, "; ")
}

func migrationDocument(w io.Writer, r *migrate.Report, opts Options) error {
	head := struct {
		*migrate.Report
		Before auditHead  `json:"before"`
		After  *auditHead `json:"after"`
		// Failures come last, as they can be long.
		FailureCount    int64 `json:"failureCount"`
		FailuresOmitted int64 `json:"failuresOmitted"`
		Failures        list  `json:"failures"`
	}{Report: r, FailureCount: r.FailureCount()}
	failureLimit := r.FailureCount()
	if opts.MaxFindings >= 0 {
		failureLimit = min(failureLimit, opts.MaxFindings)
	}
	head.FailuresOmitted = r.FailureCount() - failureLimit
	d := newDocument(opts.Format)
	if r.After == nil {
		limit := findingLimit(r.Before, opts)
		head.Before = auditHead{Report: r.Before, FindingsOmitted: r.Before.FindingCount - limit, Findings: d.list(findings(r.Before, limit))}
	} else {
		// What was stale before and is settled is told by the outcomes; what is left is in after.
		head.Before = auditHead{Report: r.Before, FindingsOmitted: r.Before.FindingCount, Findings: d.list(nothing)}
		limit := findingLimit(r.After, opts)
		head.After = &auditHead{Report: r.After, FindingsOmitted: r.After.FindingCount - limit, Findings: d.list(findings(r.After, limit))}
	}
	head.Failures = d.list(func(item func(any) error) error {
		for f, err := range r.Failures() {
			if err != nil {
				return err
			}
			if failureLimit--; failureLimit < 0 {
				return nil
			}
			if f.Fields == nil { // the spool does not keep an empty list
				f.Fields = []string{}
			}
			if err := item(f); err != nil {
				return err
			}
		}
		return nil
	})
	return d.write(w, head)
}

func nothing(func(any) error) error { return nil }
