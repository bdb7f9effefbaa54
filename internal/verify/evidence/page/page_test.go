package page_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/svmctl/svmctl/internal/verify/evidence"
	"github.com/svmctl/svmctl/internal/verify/evidence/page"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

var documents = map[string]func() *evidence.Document{"passing": passing, "failing": failing, "snapshot": fromFile, "hostile": hostile}

var forms = map[string]func(io.Writer, *evidence.Document) error{".html": page.HTML, ".md": page.Markdown}

func rendered(t *testing.T, d *evidence.Document, ext string) string {
	t.Helper()
	var out bytes.Buffer
	if err := forms[ext](&out, d); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestGolden(t *testing.T) {
	for name, document := range documents {
		for ext := range forms {
			got := rendered(t, document(), ext)
			path := filepath.Join("testdata", name+ext)
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				continue
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs from what is written (go test -update writes it, and git diff shows how)", path)
			}
		}
	}
}

func TestSameDocumentGivesSameBytes(t *testing.T) {
	for name, document := range documents {
		for ext := range forms {
			d := document()
			first := rendered(t, d, ext)
			for range 10 {
				if again := rendered(t, d, ext); again != first {
					t.Fatalf("%s%s: the same document gave other bytes", name, ext)
				}
				if again := rendered(t, document(), ext); again != first {
					t.Fatalf("%s%s: an equal document gave other bytes", name, ext)
				}
			}
		}
	}
}

// What was not looked at and cannot be shown is not to be lost in a shorter form.
func TestNothingEssentialIsLeftOut(t *testing.T) {
	for name, document := range documents {
		if name == "hostile" {
			continue // its texts are not there as they are
		}
		d := document()
		for ext := range forms {
			text := visible(rendered(t, d, ext), ext)
			var want []string
			for _, c := range d.Scan.Claims {
				want = append(want, c.ID, c.Statement)
				want = append(append(want, c.Why...), c.Basis...)
				for _, id := range c.Controls {
					framework, number, _ := strings.Cut(id, ":")
					want = append(want, framework, number)
				}
			}
			for _, l := range d.Scan.Limitations {
				want = append(want, l.ID, l.Text)
			}
			want = append(append(append(want, d.Scan.Scope.NotCovered...), d.Scan.Scope.Overrides...), d.Scan.Cluster.Unknown...)
			want = append(want, d.Scan.Scope.Statement, d.Scan.Cluster.KubeSystemNamespaceUID, d.Scan.AsOf.Snapshot, d.Scan.AsOf.SnapshotHash, d.Scan.Merkle.Root, d.Scan.Tool.BinarySHA256, "4,821,337")
			for _, m := range d.Scan.Cluster.EtcdMembers {
				want = append(want, m.ID)
			}
			if d.Exceptions != nil {
				for _, e := range d.Exceptions.Exceptions {
					want = append(want, e.ID, e.Reason, e.Approver, e.Ticket)
				}
				want = append(want, "expired on 2026-03-01 00:00:00 UTC")
			}
			if d.Keys != nil {
				want = append(want, "Can aescbc:key1 be removed from the EncryptionConfiguration?", "old revisions", "aescbc:key0", "the apiserver at 10.0.0.13:6443 was not asked")
			}
			want = append(want, d.APIServers.Missing...)
			want = append(want, d.Files...)
			want = append(want, "svmctl evidence verify", "sha256sum -c SHA256SUMS", "the assessor concludes")
			if d.Signer == nil {
				want = append(want, "not signed", evidence.Attest)
			} else {
				want = append(want, d.Signer.Fingerprint, "cosign verify-blob-attestation --key KEY.pub", d.Scan.Previous.SHA256)
			}
			for _, w := range want {
				if !strings.Contains(text, w) {
					t.Errorf("%s%s does not say %q", name, ext, w)
				}
			}
			for _, not := range []string{"satisfied", "ompliant"} {
				if strings.Contains(text, not) {
					t.Errorf("%s%s concludes: %q", name, ext, not)
				}
			}
		}
	}
}

var (
	tags     = regexp.MustCompile(`<[^>]*>`)
	entities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#39;", "'", "&#64;", "@", "&#58;", ":", "&#46;", ".", "&#43;", "+", "&amp;", "&")
	escapes  = regexp.MustCompile("\\\\([-+=:.)\\\\`*_\\[\\]|~#$!])")
)

// visible is the text that a reader of the form sees, or nearly.
func visible(text, ext string) string {
	if ext == ".html" {
		_, text, _ = strings.Cut(text, "<body>")
		text = tags.ReplaceAllString(text, "")
	} else {
		text = escapes.ReplaceAllString(text, "$1")
	}
	return entities.Replace(text)
}

func TestNamesCannotFoolAnybody(t *testing.T) {
	d := hostile()
	for ext := range forms {
		text := rendered(t, d, ext)
		for i, r := range text {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%s holds %U, after %q", ext, r, text[max(0, i-40):i])
			}
		}
		if !strings.Contains(text, `u202egnp.exe`) || !strings.Contains(text, `x1b`) {
			t.Errorf("%s hides what the name holds", ext)
		}
	}
	html := rendered(t, d, ".html")
	for _, never := range []string{"<script", "<img", "<b>bold", "onclick=\"alert", "\" onclick", "href=\"javascript"} {
		if strings.Contains(html, never) {
			t.Errorf("the page holds %s", never)
		}
	}
	if n := strings.Count(html, "</style>"); n != 1 {
		t.Errorf("%d ends of the style", n)
	}
	if strings.Contains(html, `class="pass" onclick`) || !strings.Contains(html, "Inconclusive (pass") {
		t.Error("a result that is none passes")
	}
	markdown := rendered(t, d, ".md")
	for line := range strings.Lines(markdown) {
		if strings.HasPrefix(strings.TrimSpace(line), "# Verdict") {
			t.Errorf("a name made a heading: %q", line)
		}
	}
	for _, never := range []string{"<script", "<img", "<b>", "x](javascript", "![i]", " @everyone"} {
		if strings.Contains(markdown, never) {
			t.Errorf("the Markdown holds %s", never)
		}
	}
	tablesAreWhole(t, markdown)
}

// tablesAreWhole: a name cannot add a cell to its row.
func tablesAreWhole(t *testing.T, markdown string) {
	t.Helper()
	cells := regexp.MustCompile(`(?:^|[^\\])(?:\\\\)*\|`)
	width := 0
	for line := range strings.Lines(markdown) {
		if !strings.HasPrefix(line, "|") {
			width = 0
			continue
		}
		n := len(cells.FindAllString(line, -1))
		if width != 0 && n != width {
			t.Errorf("%d cells in a table of %d: %s", n-1, width-1, line)
		}
		width = n
	}
}

func TestTablesAreWhole(t *testing.T) {
	for _, document := range documents {
		tablesAreWhole(t, rendered(t, document(), ".md"))
	}
}

// A page that a person keeps must not need anything, and must not tell anybody that it is read.
func TestPageAsksNobody(t *testing.T) {
	html := rendered(t, failing(), ".html")
	if !strings.Contains(html, `content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"`) {
		t.Error("no Content-Security-Policy")
	}
	for _, never := range []string{"<script", "<link", "<img", "<iframe", "<object", "<form", "@import", "src=", "javascript:", "<base"} {
		if strings.Contains(html, never) {
			t.Errorf("the page holds %s", never)
		}
	}
	for _, found := range regexp.MustCompile(`url\([^)]*\)|<use href="[^"]*"`).FindAllString(html, -1) {
		if !strings.Contains(found, "#") {
			t.Errorf("the page asks for %s", found)
		}
	}
}

// A document of nothing is worse than one of failures, but it has to be readable.
func TestSmallestDocument(t *testing.T) {
	for ext := range forms {
		text := rendered(t, &evidence.Document{Scan: &evidence.Scan{}}, ext)
		for _, want := range []string{"No claim was judged", "not known", "not signed", "not asked"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q", ext, want)
			}
		}
	}
}

func TestManyNamesAndRowsStayReadable(t *testing.T) {
	markdown := rendered(t, fromFile(), ".md")
	if len(markdown) > 60_000 {
		t.Errorf("the Markdown has %d bytes: a comment on GitHub may have 65536", len(markdown))
	}
	if !strings.Contains(markdown, "The first 30 of 240 rows") {
		t.Error("the Markdown does not say that rows were left out")
	}
	html := rendered(t, fromFile(), ".html")
	for _, p := range fromFile().Scan.Population {
		if strings.Count(html, p.Resource) < 3 { // bar, its text, and the table
			t.Errorf("%s is not on the page", p.Resource)
		}
	}
}
