package evidence

import (
	_ "embed"
	"io"
	"slices"
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
	}{d, PredicateType, Attest, slices.Contains(d.Files, RecordsFile), d.Scan.AsOf.Snapshot == ""})
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
