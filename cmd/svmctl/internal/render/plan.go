package render

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/svmctl/svmctl/internal/migrate"
	"github.com/svmctl/svmctl/internal/preflight"
)

// Plan writes what a migration is about to do, without colour and without what is merely worth knowing.
func Plan(w io.Writer, plan *migrate.Plan) error {
	return writePlan(w, plan, Options{Format: Table, Palette: NewPalette(false)})
}

func writePlan(w io.Writer, plan *migrate.Plan, opts Options) error {
	t := newTable([]string{"RESOURCE", "OBJECTS", "TO REWRITE", "BYTES", "NAMESPACES", "TARGET", "FROM"}, 1, 2, 3, 4)
	notes := &strings.Builder{}
	for _, r := range plan.Resources {
		stale, bytes := r.Stale, r.Bytes
		if r.Refused != "" {
			stale, bytes = 0, 0
			fmt.Fprintf(notes, "Not migrated, %s: %s\n", Count(r.Stale, "object"), visible(r.Refused))
		}
		t.row(visible(r.Resource), strconv.FormatInt(r.Objects, 10), strconv.FormatInt(stale, 10), Bytes(bytes),
			strconv.Itoa(r.Namespaces), visible(targetText(r.Target)), string(r.From))
	}
	if err := t.write(w); err != nil {
		return err
	}
	for _, r := range plan.Resources {
		writeForeseen(notes, r, opts)
	}
	for _, warning := range plan.Warnings {
		fmt.Fprintf(notes, "%s: %s\n", opts.Palette.doubtful.Sprint("warning"), visible(warning))
	}
	text := notes.String() + fmt.Sprintf("Backend %s. etcd keeps the old values until compaction: %s will be added", plan.Backend, Bytes(plan.Bytes))
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

// writeForeseen lists below its name what is known of a resource before anything is written, a line each.
func writeForeseen(out *strings.Builder, r migrate.PlannedResource, opts Options) {
	palette := opts.Palette
	var lines []string
	if r.Reason != "" {
		lines = append(lines, fmt.Sprintf("%s, because %s", visible(r.Version), visible(r.Reason)))
	}
	if r.Conversion != "" {
		lines = append(lines, "conversion: "+visible(r.Conversion))
	}
	if r.Unreadable > 0 {
		lines = append(lines, palette.bad.Sprint("unreadable")+": "+Count(r.Unreadable, "object")+", which no apiserver with this EncryptionConfiguration can read, and so none can write again")
	}
	if r.WouldPrune > 0 {
		lines = append(lines, palette.bad.Sprint("would prune")+": "+Count(r.WouldPrune, "object")+", which a rewrite takes fields from that the schema does not know")
	}
	if r.Unchecked > 0 {
		lines = append(lines, palette.doubtful.Sprint("unchecked")+": "+Count(r.Unchecked, "object")+", of which nobody can see whether a rewrite takes fields from it")
	}
	if r.Converted > 0 {
		lines = append(lines, palette.doubtful.Sprint("converted")+": "+Count(r.Converted, "object")+", which a webhook converts on the way: what that drops cannot be seen before")
	}
	if r.Terminating > 0 {
		lines = append(lines, palette.doubtful.Sprint("terminating")+": "+Count(r.Terminating, "object")+", deleted and kept by finalizers")
	}
	lines = append(lines, noteLines(r.Preflight, opts)...)
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(out, "%s\n", visible(r.Resource))
	for _, line := range lines {
		fmt.Fprintf(out, "  %s\n", line)
	}
}

// noteLines are the notes in their order; those about what was not read make one line, at the place of the first. What is
// merely worth knowing, and why something was not read, is for wide.
func noteLines(notes []migrate.Note, opts Options) []string {
	wide := opts.Format == Wide
	var lines, unread []string
	at := 0
	for _, n := range notes {
		switch {
		case n.Code == string(preflight.NotRead) && !wide:
			if len(unread) == 0 {
				at = len(lines)
				lines = append(lines, "")
			}
			unread = append(unread, visible(n.Subject))
		case n.Severity == preflight.Info.String() && !wide:
		default:
			lines = append(lines, noteSeverity(n.Severity, opts.Palette)+": "+visible(n.Subject)+": "+visible(n.Message))
		}
	}
	if len(unread) > 0 {
		lines[at] = opts.Palette.doubtful.Sprint("could not be read") + ": " + strings.Join(unread, ", ")
	}
	return lines
}

func noteSeverity(severity string, palette Palette) string {
	switch severity {
	case preflight.Blocking.String():
		return palette.bad.Sprint(severity)
	case preflight.Warning.String():
		return palette.doubtful.Sprint(severity)
	}
	return visible(severity)
}
