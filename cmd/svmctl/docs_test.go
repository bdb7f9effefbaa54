package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra/doc"
)

const docsDir = "../../docs"

// TestCommandPagesAreCurrent compares docs/cli with the commands. -update writes the pages.
func TestCommandPagesAreCurrent(t *testing.T) {
	generated := t.TempDir()
	t.Setenv("HOME", "/root") // no path of the machine in a default
	root := newRootCommand(streams{}, func(string) (string, bool) { return "", false }, nil)
	root.DisableAutoGenTag = true
	if err := doc.GenMarkdownTree(root, generated); err != nil {
		t.Fatal(err)
	}
	compareDirs(t, generated, filepath.Join(docsDir, "cli"))
}

// TestJSONExamplesAreCurrent compares the examples in docs/json.md with the golden files of the renderer.
func TestJSONExamplesAreCurrent(t *testing.T) {
	page := filepath.Join(docsDir, "json.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := withExamples(t, string(text), filepath.Join("..", "..", "testdata", "golden"))
	if want == string(text) {
		return
	}
	if updating() {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("the examples of %s are not what is rendered: make golden", page)
}

// withExamples puts the golden file named in each marker into the code block that follows it.
func withExamples(t *testing.T, text, golden string) string {
	const marker, fence = "<!-- golden: ", "\n```json\n"
	parts := strings.Split(text, marker)
	if len(parts) < 3 {
		t.Fatalf("the page has %d examples, want one of every report", len(parts)-1)
	}
	for i := 1; i < len(parts); i++ {
		name, rest, ok := strings.Cut(parts[i], " -->"+fence)
		_, after, closed := strings.Cut(rest, "\n```\n")
		if !ok || !closed {
			t.Fatalf("marker %d is not followed by a JSON block", i)
		}
		example, err := os.ReadFile(filepath.Join(golden, name))
		if err != nil {
			t.Fatal(err)
		}
		parts[i] = name + " -->" + fence + strings.TrimRight(string(example), "\n") + "\n```\n" + after
	}
	return strings.Join(parts, marker)
}

func compareDirs(t *testing.T, generated, committed string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(generated, "*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("nothing was generated: %v", err)
	}
	for _, name := range names {
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		page := filepath.Join(committed, filepath.Base(name))
		if updating() {
			if err := os.WriteFile(page, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(page); err != nil || string(got) != string(want) {
			t.Errorf("%s is not what the commands say (%v): make golden", page, err)
		}
	}
	pages, err := filepath.Glob(filepath.Join(committed, "*"))
	if err != nil || len(pages) != len(names) {
		t.Errorf("%s has %d pages, the commands have %d", committed, len(pages), len(names))
	}
}

// updating tells whether -update was given; whichever test file declares the flag.
func updating() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}
