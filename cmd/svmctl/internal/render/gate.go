package render

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/svmctl/svmctl/internal/crd/upgrade"
	"github.com/svmctl/svmctl/internal/gate"
)

// lostInTables is how many fields of a definition a table names.
const lostInTables = 20

// Gate writes what would become of a cluster that was given other CustomResourceDefinitions. There is no CSV of it.
func Gate(w io.Writer, r *gate.Report, opts Options) error {
	switch opts.Format {
	case JSON, YAML:
		return newDocument(opts.Format).write(w, r)
	case CSV:
		return fmt.Errorf("%s has no CSV", r.Kind)
	}
	if err := gateRows(w, r, opts); err != nil {
		return err
	}
	out := &strings.Builder{}
	for _, row := range r.CRDs {
		gateDetails(out, row, opts)
	}
	fmt.Fprintf(out, "\n%s", Count(int64(len(r.CRDs)), "definition"))
	if r.Skipped > 0 {
		fmt.Fprintf(out, ", %s of other kinds skipped", Count(int64(r.Skipped), "object"))
	}
	if len(r.Scope.Prefixes) > 0 {
		fmt.Fprintf(out, "; read at revision %d", r.Source.Revision)
		if opts.Format == Wide {
			fmt.Fprintf(out, " under %s", visibleList(r.Scope.Prefixes))
		}
	}
	fmt.Fprintf(out, "\nVerdict: %s\n", opts.Palette.gate(r.Verdict))
	_, err := io.WriteString(w, out.String())
	return err
}

func gateRows(w io.Writer, r *gate.Report, opts Options) error {
	header, numbers := []string{"DEFINITION", "VERDICT", "OBJECTS", "STORED AS"}, []int{2}
	if opts.Format == Wide {
		header, numbers = append(header, "UNREADABLE", "LOSING", "CONVERTED", "UNKNOWN", "NEW"), []int{2, 4, 5, 6, 7}
	}
	t := newTable(header, numbers...)
	for _, row := range r.CRDs {
		cells := []string{visible(row.Name), opts.Palette.gate(row.Verdict), strconv.Itoa(row.Objects), byVersion(row.Stored)}
		if opts.Format == Wide {
			unreadable := 0
			for n := range maps.Values(row.Unreadable) {
				unreadable += n
			}
			isNew := ""
			if row.New {
				isNew = "new"
			}
			cells = append(cells, strconv.Itoa(unreadable), strconv.Itoa(row.Losing), strconv.Itoa(row.Converted), strconv.Itoa(row.Unknown), isNew)
		}
		t.row(cells...)
	}
	return t.write(w)
}

// gateDetails says a line for each thing that is to be known of a definition.
func gateDetails(out *strings.Builder, row gate.Row, opts Options) {
	p := opts.Palette
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, problem := range row.Problems {
		word := p.doubtful.Sprint(problem.Code)
		if problem.Code == upgrade.Refused {
			word = p.bad.Sprint(problem.Code)
		}
		if problem.Field != "" {
			word += ": " + Inert(problem.Field)
		}
		say("%s: %s", word, Inert(problem.Message))
	}
	for _, v := range slices.Sorted(maps.Keys(row.Unreadable)) {
		say("%s: the new definition could not read %s stored as %s", p.bad.Sprint("Unreadable"), Count(int64(row.Unreadable[v]), "object"), versionName(v))
	}
	if row.Losing > 0 {
		say("%s: %s would lose fields with the next write", p.bad.Sprint("Lost"), Count(int64(row.Losing), "object"))
		paths := slices.SortedFunc(maps.Keys(row.Lost), func(a, b string) int {
			if row.Lost[a] != row.Lost[b] {
				return row.Lost[b] - row.Lost[a]
			}
			return strings.Compare(a, b)
		})
		for i, path := range paths {
			if i == lostInTables {
				say("  … and %s; -o json lists them", Count(int64(len(paths)-i), "more field"))
				break
			}
			say("  %s in %s", Inert(path), Count(int64(row.Lost[path]), "object"))
		}
		if row.Omitted > 0 {
			say("  … and others that are too many to be named")
		}
	}
	for _, v := range slices.Sorted(maps.Keys(row.Already)) {
		say("%s: nobody can read %s stored as %s even now", p.doubtful.Sprint("Unreadable already"), Count(int64(row.Already[v]), "object"), versionName(v))
	}
	if row.Unknown > 0 {
		say("%s: %s could not be looked at: encrypted, damaged or misplaced", p.doubtful.Sprint("Unknown"), Count(int64(row.Unknown), "object"))
	}
	if row.Converted > 0 {
		say("Converted by a webhook: %s; what that drops cannot be seen here", Count(int64(row.Converted), "object"))
	}
	for _, doubt := range row.Doubts {
		say("%s: %s", p.doubtful.Sprint("Doubt"), Inert(doubt))
	}
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s\n", visible(row.Name))
	for _, line := range lines {
		fmt.Fprintf(out, "  %s\n", line)
	}
}

// gate colours a verdict of a definition.
func (p Palette) gate(verdict string) string {
	switch verdict {
	case upgrade.Clean.String():
		return p.good.Sprint(verdict)
	case upgrade.Loses.String(), upgrade.Rejected.String():
		return p.bad.Sprint(verdict)
	}
	return p.doubtful.Sprint(verdict)
}

func byVersion(stored map[string]int) string {
	var parts []string
	for _, v := range slices.Sorted(maps.Keys(stored)) {
		parts = append(parts, fmt.Sprintf("%s: %d", versionName(v), stored[v]))
	}
	return strings.Join(parts, ", ")
}

func versionName(v string) string {
	if v == "" {
		return "(another)"
	}
	return visible(v)
}
