package evidence

import (
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Whichever test file of the package declares -update first.
func init() {
	if flag.Lookup("update") == nil {
		flag.Bool("update", false, "write the files that tests compare with")
	}
}

func TestControls(t *testing.T) {
	claim := regexp.MustCompile(`^SVM-E[1-8]$`)
	oscal := regexp.MustCompile(`^[a-z]{2}-\d+(\.\d+)?$`)
	conclusion := regexp.MustCompile(`(?i)satisf|complian[ct]|certified`)
	ids, oscalIDs, spoken := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	for _, c := range Controls() {
		if ids[c.ID] {
			t.Errorf("%s is there twice", c.ID)
		}
		ids[c.ID] = true
		fields := reflect.ValueOf(c)
		for i := range fields.NumField() {
			name := fields.Type().Field(i).Name
			if fields.Field(i).IsZero() && name != "OSCAL" {
				t.Errorf("%s: %s is empty", c.ID, name)
			}
			if text, ok := fields.Field(i).Interface().(string); ok {
				if word := conclusion.FindString(text); word != "" {
					t.Errorf("%s: %s says %q, which is for an assessor to say", c.ID, name, word)
				}
				if strings.TrimSpace(text) != text || strings.ContainsAny(text, "|\n<>") {
					t.Errorf("%s: %s does not fit into a table: %q", c.ID, name, text)
				}
			}
		}
		for _, sentence := range []string{c.Shows, c.CannotShow} {
			if !strings.HasSuffix(sentence, ".") || strings.Contains(sentence, ". ") {
				t.Errorf("%s: %q is not one sentence", c.ID, sentence)
			}
		}
		if !slices.IsSorted(c.Claims) || len(slices.Compact(slices.Clone(c.Claims))) != len(c.Claims) {
			t.Errorf("%s: %v are out of order", c.ID, c.Claims)
		}
		for _, id := range c.Claims {
			if !claim.MatchString(id) {
				t.Errorf("%s: there is no claim %s", c.ID, id)
			}
			spoken[id] = true
		}
		if c.OSCAL != "" {
			if !oscal.MatchString(c.OSCAL) {
				t.Errorf("%s: %q is no ID of OSCAL's catalogue", c.ID, c.OSCAL)
			}
			if oscalIDs[c.OSCAL] {
				t.Errorf("%s: %s is another control's, too", c.ID, c.OSCAL)
			}
			oscalIDs[c.OSCAL] = true
		}
		if u, err := url.Parse(c.Source); err != nil || u.Scheme != "https" || u.Host == "" {
			t.Errorf("%s: %q is no address", c.ID, c.Source)
		}
	}
	if len(spoken) != 8 {
		t.Errorf("controls only for %v", spoken)
	}
	if got := controlsOf("SVM-E7"); !slices.Contains(got, "PCI-DSS-4.0.1:3.7.5") {
		t.Errorf("SVM-E7 speaks to %v", got)
	}
}

// TestControlsPageIsCurrent compares the table in docs/controls.md with controls.json. -update writes it.
func TestControlsPageIsCurrent(t *testing.T) {
	page := filepath.Join("..", "..", "..", "docs", "controls.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- controls -->\n", "<!-- /controls -->\n"
	before, rest, opened := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !opened || !closed {
		t.Fatalf("%s has no place for the controls", page)
	}
	want := before + begin + controlsTable() + end + after
	if want == string(text) {
		return
	}
	if flag.Lookup("update").Value.String() != "true" {
		t.Fatalf("the controls of %s are not those of controls.json: go test ./internal/verify/evidence -run Controls -update", page)
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func controlsTable() string {
	var b strings.Builder
	framework := ""
	for _, c := range Controls() {
		if c.Framework != framework {
			framework = c.Framework
			b.WriteString("\n### [" + framework + "](" + c.Source + ")\n\n| | about | claims | shows | does not show |\n|---|---|---|---|---|\n")
		}
		b.WriteString("| " + strings.Join([]string{c.Number, c.About, strings.ReplaceAll(strings.Join(c.Claims, " "), "SVM-", ""), c.Shows, c.CannotShow}, " | ") + " |\n")
	}
	return b.String() + "\n"
}
