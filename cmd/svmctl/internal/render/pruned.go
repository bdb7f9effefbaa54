package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/svmctl/svmctl/internal/migrate"
)

// pathsInTables is how many paths of one object a table lists.
const pathsInTables = 5

// prunedTable lists the objects that lose fields, if there are any.
func prunedTable(w io.Writer, r *migrate.Report, opts Options) error {
	limit := opts.MaxFindings
	if limit < 0 {
		limit = findingsInTables
	}
	t := newTable([]string{"FIELDS", "KEY", "PATHS"})
	shown := int64(0)
	for p, err := range r.Pruned() {
		if err != nil {
			return err
		}
		if shown == limit {
			break
		}
		shown++
		t.row(pruneState(p.State, opts.Palette), visible(p.Key), pathsText(p))
	}
	all := r.PrunedCount()
	if all == 0 {
		return nil
	}
	if shown > 0 {
		if err := t.write(w); err != nil {
			return err
		}
	}
	more := ""
	if all > shown {
		more = fmt.Sprintf("… of %s that a rewrite takes fields from, or may; -o json lists them all\n", Count(all, "object"))
	}
	_, err := io.WriteString(w, more+"\n")
	return err
}

func pruneState(s migrate.PrunedState, palette Palette) string {
	if s == migrate.PruneUnchecked {
		return palette.doubtful.Sprint(s)
	}
	return palette.bad.Sprint(s)
}

func pathsText(p migrate.Pruned) string {
	if len(p.Paths) == 0 {
		return visible(p.Text)
	}
	shown := p.Paths[:min(len(p.Paths), pathsInTables)]
	var parts []string
	for _, path := range shown {
		parts = append(parts, visible(path))
	}
	text := strings.Join(parts, ", ")
	if more := len(p.Paths) - len(shown) + p.Omitted; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if p.Text != "" {
		text += "; " + visible(p.Text)
	}
	return text
}

// pruned yields the objects that lose fields, at most limit of them.
func pruned(r *migrate.Report, limit int64) func(func(any) error) error {
	return func(item func(any) error) error {
		for p, err := range r.Pruned() {
			if err != nil {
				return err
			}
			if limit--; limit < 0 {
				return nil
			}
			if p.Paths == nil { // the spool does not keep an empty list
				p.Paths = []string{}
			}
			if err := item(p); err != nil {
				return err
			}
		}
		return nil
	}
}
