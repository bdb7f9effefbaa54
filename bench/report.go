package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// Report is one run of the bench.
type Report struct {
	StartedAt time.Time `json:"startedAt"`
	CPUs      int       `json:"cpus"` // shared by client and servers
	Versions  string    `json:"versions"`
	Rounds    int       `json:"rounds"`
	Tables    []Table   `json:"tables"`
}

// Table compares ways to do one piece of work.
type Table struct {
	Title string   `json:"title"`
	Unit  string   `json:"unit"` // what the rates count, per second
	Rows  []*Row   `json:"rows"`
	Goals []Goal   `json:"goals"`
	Notes []string `json:"notes"`
}

// Row is one way to do it. Everything but Rates is a median over the rounds.
type Row struct {
	Name    string        `json:"name"`
	Rates   []float64     `json:"rates"` // one per round
	Rate    float64       `json:"rate"`
	Ratio   float64       `json:"ratio"`   // of the table's first rate to this one
	PeakRSS int64         `json:"peakRSS"` // bytes, the highest of all rounds
	CPU     time.Duration `json:"cpuNanoseconds"`

	cpus []time.Duration
}

// Goal is a promise, and whether this run kept it.
type Goal struct {
	Text    string  `json:"text"`
	Value   float64 `json:"value"`
	Reached bool    `json:"reached"`
}

// add takes one measurement of n things.
func (r *Row) add(n int, took time.Duration, u usage) {
	r.Rates = append(r.Rates, float64(n)/took.Seconds())
	r.Rate = median(r.Rates)
	r.PeakRSS = max(r.PeakRSS, u.peakRSS)
	r.cpus = append(r.cpus, u.cpu)
	r.CPU = median(r.cpus)
}

func median[T float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// compare fills in the ratios of the first row to each other one.
func (t *Table) compare() {
	for _, r := range t.Rows {
		r.Ratio = t.Rows[0].Rate / r.Rate
	}
}

func (r Report) write(w io.Writer) error {
	fmt.Fprintf(w, "%d CPUs, shared by clients and servers; %s; medians of %d rounds taken in turns\n", r.CPUs, r.Versions, r.Rounds)
	for _, t := range r.Tables {
		fmt.Fprintf(w, "\n%s\n\n", t.Title)
		tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(tw, "\t%s/s\tsvmctl to this\tpeak RSS\tCPU time\t from to\t\n", t.Unit)
		width := 0
		for _, row := range t.Rows {
			width = max(width, utf8.RuneCountInString(row.Name))
		}
		for _, row := range t.Rows {
			fmt.Fprintf(tw, "%s\t%.0f\t%.2f\t%.0f MiB\t%.1f s\t %.0f … %.0f\t\n", row.Name+strings.Repeat(" ", width-utf8.RuneCountInString(row.Name)),
				row.Rate, row.Ratio, mebibytes(row.PeakRSS), row.CPU.Seconds(), slices.Min(row.Rates), slices.Max(row.Rates))
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(w)
		for _, g := range t.Goals {
			word := "missed"
			if g.Reached {
				word = "reached"
			}
			fmt.Fprintf(w, "goal %s: %s (%.2f)\n", word, g.Text, g.Value)
		}
		for _, note := range t.Notes {
			fmt.Fprintln(w, note)
		}
	}
	return nil
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
