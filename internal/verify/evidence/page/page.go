// Package page writes what a bundle says for people: as one HTML page that needs nothing else, and in short as Markdown. It
// decides nothing, asks nobody, and knows no clock: the same document gives the same bytes.
package page

import (
	"embed"
	"fmt"
	htmltemplate "html/template"
	"io"
	"strings"
	"text/template"

	"github.com/svmctl/svmctl/internal/verify/evidence"
)

//go:embed page.html page.md style.css
var files embed.FS

// HTML writes the document as one page without scripts, which asks nobody for anything.
func HTML(w io.Writer, d *evidence.Document) error {
	v, err := newView(d)
	if err != nil {
		return err
	}
	style, err := files.ReadFile("style.css")
	if err != nil {
		return err
	}
	t, err := htmltemplate.New("page.html").Funcs(htmltemplate.FuncMap{
		"style": func() htmltemplate.CSS { return htmltemplate.CSS(style) },
	}).ParseFS(files, "page.html")
	if err != nil {
		return err
	}
	mapTexts(v, inert)
	return t.Execute(w, v)
}

// Markdown writes the document in short, for tickets and pull requests.
func Markdown(w io.Writer, d *evidence.Document) error {
	v, err := newView(d)
	if err != nil {
		return err
	}
	t, err := template.New("page.md").Funcs(template.FuncMap{
		"join":  func(texts []string) string { return strings.Join(texts, "; ") },
		"first": first,
	}).ParseFS(files, "page.md")
	if err != nil {
		return err
	}
	mapTexts(v, func(s string) string { return plain(inert(s)) })
	return t.Execute(w, v)
}

// inMarkdown is how many rows a table has there: a comment in a pull request has an end.
const inMarkdown = 30

// first are the rows that Markdown shows.
func first(rows []row) []row { return rows[:min(len(rows), inMarkdown)] }

// number writes 1234567 as 1,234,567.
func number(n int64) string {
	s := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// count writes a number with its noun.
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(n) + " " + noun + "s"
}
