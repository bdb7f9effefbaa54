package render

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/svmctl/svmctl/internal/migrate"
)

// Migration writes a migration report.
func Migration(w io.Writer, r *migrate.Report, opts Options) error {
	if opts.Format == JSON || opts.Format == YAML {
		return migrationDocument(w, r, opts)
	}
	if r.DryRun == migrate.ClientDryRun && !r.Unread {
		if err := writePlan(w, &r.Plan, opts); err != nil {
			return err
		}
		out := &strings.Builder{}
		writeWarnings(out, r, opts.Palette)
		out.WriteString("Dry run: nothing was written.\n")
		out.WriteString(apiserversLine(r.APIServers.Agreement, out.String()))
		out.WriteString(elsewhereLine(r))
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
		if err := prunedTable(w, r, opts); err != nil {
			return err
		}
		_, err := io.WriteString(w, out.String())
		return err
	}
	if err := prunedTable(w, r, opts); err != nil {
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
		writeReasons(out, r.Reasons, palette)
		out.WriteString(apiserversLine(r.APIServers.Agreement, out.String()))
		out.WriteString(elsewhereLine(r))
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
	switch {
	case len(parts) == 0 && r.Rounds == 0 && r.Plan.Stale() > 0:
		parts = []string{"nothing was written"}
	case len(parts) == 0:
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
	out.WriteString(apiserversLine(r.APIServers.Agreement, out.String()))
	if s := r.Settled; s != nil {
		fmt.Fprintf(out, "Watched for %.0f s after the last write: %s, %d late\n", s.Seconds, Count(s.Writes, "write"), s.Late)
	}
	if r.Snapshot != nil {
		fmt.Fprintf(out, "Snapshot of etcd before the first write: %s (sha256 %s)\n", visible(r.Snapshot.Path), r.Snapshot.SHA256)
	}
	out.WriteString(elsewhereLine(r))
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

// elsewhereLine is the last line; a migration of versions alone leaves no key behind.
func elsewhereLine(r *migrate.Report) string {
	if len(r.Targets) > 0 && !slices.ContainsFunc(r.Targets, func(t migrate.Target) bool { return t.Value != "" }) {
		return ""
	}
	return elsewhereText(r) + "\n"
}

// elsewhereText tells what else lies under another key: it must not be removed yet.
func elsewhereText(r *migrate.Report) string {
	byValue := make(map[string]int64)
	var order, parts []string
	for _, e := range r.Elsewhere {
		switch {
		case e.Objects == nil && e.Resource == "*":
			return "other resources and other prefixes: " + e.Note
		case e.Objects == nil:
			parts = append(parts, visible(e.Resource)+": "+e.Note)
			continue
		}
		if _, seen := byValue[e.Value]; !seen {
			order = append(order, e.Value)
		}
		byValue[e.Value] += *e.Objects
	}
	if len(order) == 0 && len(parts) == 0 {
		return "other resources under another key in this etcd: 0"
	}
	for _, value := range order {
		_, name, named := strings.Cut(value, ":")
		if !named {
			name = value
		}
		parts = append(parts, fmt.Sprintf("other resources under %s: %d", visible(name), byValue[value]))
	}
	return strings.Join(parts, "; ")
}
