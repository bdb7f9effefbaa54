package evidence

import (
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
)

//go:embed verify.md
var verifyText string

// writeVerify writes VERIFY.md: how anybody checks this very bundle, with public tools or with svmctl.
func writeVerify(w io.Writer, d *Document) error {
	t, err := template.New(VerifyFile).Funcs(template.FuncMap{"inert": inertLine}).Parse(verifyText)
	if err != nil {
		return err
	}
	return t.Execute(w, struct {
		*Document
		PredicateType string
		Attest        string
		Records, Live bool
		Remake        string
		Called        []string
	}{d, PredicateType, Attest, slices.Contains(d.Files, RecordsFile), d.Scan.AsOf.Snapshot == "", d.remake(), d.called()})
}

// called is how the command was called, an argument a line, for a reader and not for a shell.
func (d *Document) called() []string {
	lines := []string{"svmctl"}
	for _, a := range d.Scan.Tool.Arguments {
		lines = append(lines, "  "+inertLine(a))
	}
	return lines
}

// remake is a command that makes the bundle again; empty where the one that made it did more than to look.
func (d *Document) remake() string {
	args := d.Scan.Tool.Arguments
	if len(args) == 0 || args[0] != "audit" {
		return ""
	}
	words := []string{"svmctl"}
	for _, a := range args {
		switch name, _, _ := strings.Cut(a, "="); name {
		case "--sign-key", "--revision", "--previous":
		default:
			words = append(words, shellWord(a))
		}
	}
	if d.Scan.AsOf.Snapshot == "" {
		words = append(words, fmt.Sprintf("--revision=%d", d.Scan.AsOf.Revision))
	}
	return strings.Join(append(words, "--evidence=AGAIN"), " ")
}

// shellWord is a text as one word of a POSIX shell, whoever has written it.
func shellWord(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./:=,@%+-", r)
	}
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(inertLine(text), "'", `'\''`) + "'"
}

// inertLine keeps a text from being anything else than a part of its line.
func inertLine(text string) string {
	clean := []rune(text)
	for i, r := range clean {
		if r < ' ' || r == 0x7f || r == '`' || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			clean[i] = '?'
		}
	}
	return string(clean)
}
