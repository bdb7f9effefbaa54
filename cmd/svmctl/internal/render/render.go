// Package render turns reports into text, JSON, YAML and CSV, and shows progress. It decides nothing and dials nobody;
// all that it writes goes to the writers it is given.
package render

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/fatih/color"

	"github.com/svmctl/svmctl/internal/verify"
)

// Format is one of the forms a report can take.
type Format string

const (
	Table Format = "table"
	Wide  Format = "wide"
	JSON  Format = "json"
	YAML  Format = "yaml"
	CSV   Format = "csv"
)

// ParseFormat reads the argument of -o.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case Table, Wide, JSON, YAML, CSV:
		return f, nil
	}
	return "", fmt.Errorf("-o is table, wide, json, yaml or csv, not %q", s)
}

// Options say how to write a report.
type Options struct {
	Format      Format
	Palette     Palette
	MaxFindings int64 // negative: as many as suits the format
}

// Palette colours text, or leaves it as it is. Each has colour instances of its own, so that two outputs can differ.
type Palette struct{ good, bad, doubtful, faint *color.Color }

// NewPalette makes a palette that colours or does not.
func NewPalette(on bool) Palette {
	p := Palette{color.New(color.FgGreen), color.New(color.FgRed), color.New(color.FgYellow), color.New(color.Faint)}
	for _, c := range []*color.Color{p.good, p.bad, p.doubtful, p.faint} {
		if on {
			c.EnableColor()
		} else {
			c.DisableColor()
		}
	}
	return p
}

func (p Palette) severity(s verify.Severity, text string) string {
	switch s {
	case verify.Error:
		return p.bad.Sprint(text)
	case verify.Warning:
		return p.doubtful.Sprint(text)
	}
	return text
}

// Verdict colours a verdict's own name.
func (p Palette) Verdict(v verify.Verdict) string {
	switch v {
	case verify.Complete:
		return p.good.Sprint(v)
	case verify.Incomplete:
		return p.bad.Sprint(v)
	case verify.Indeterminate:
		return p.doubtful.Sprint(v)
	}
	return "none"
}

// Bytes writes a size in binary units.
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value /= 1024; value < 1024 || unit == "TiB" {
			return fmt.Sprintf("%.1f %s", value, unit)
		}
	}
	panic("unreachable")
}

// visible keeps names that come out of etcd from steering the terminal: anything but printable text is quoted.
func visible(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// Inert replaces every byte of a line that is not printable text by its escape.
func Inert(s string) string {
	var out strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			out.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		out.WriteString(quoted[1 : len(quoted)-1])
	}
	return out.String()
}

// Count writes a number with its noun.
func Count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
