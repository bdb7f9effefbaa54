package render

import (
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// textTable is columns two spaces apart, with nothing drawn around them.
type textTable struct{ t table.Writer }

// newTable has the columns of header; those numbered in numbers, from 0, are aligned to the right.
func newTable(header []string, numbers ...int) textTable {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = text.FormatDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	t.AppendHeader(cells(header))
	var configs []table.ColumnConfig
	for _, n := range numbers {
		configs = append(configs, table.ColumnConfig{Number: n + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(configs)
	return textTable{t}
}

func (t textTable) row(values ...string) { t.t.AppendRow(cells(values)) }

func (t textTable) write(w io.Writer) error {
	_, err := io.WriteString(w, t.t.Render()+"\n")
	return err
}

func cells(values []string) table.Row {
	row := make(table.Row, len(values))
	for i, v := range values {
		row[i] = v
	}
	return row
}
