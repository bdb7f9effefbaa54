package crd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	one, two := fmt.Sprintf(twoVersions, "one"), fmt.Sprintf(twoVersions, "two")
	indented := "  - " + strings.ReplaceAll(strings.TrimSpace(one), "\n", "\n    ")
	const secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\n"
	for _, c := range []struct {
		name    string
		text    string
		names   []string
		skipped int
	}{
		{"one", one, []string{"one"}, 0},
		{"several, with comments and empty documents", "# first\n---\n" + one + "---\n# nothing\n---\n" + two + "---\n", []string{"one", "two"}, 0},
		{"among other kinds", secret + "---\n" + one + "---\n" + secret, []string{"one"}, 2},
		{"kind List", "apiVersion: v1\nkind: List\nitems:\n" + indented + "\n  - {apiVersion: v1, kind: ConfigMap}\n", []string{"one"}, 1},
		{"JSON", `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"things.one.example.com"}}`, []string{"one"}, 0},
		{"a group of nearly that name", strings.Replace(one, "apiextensions.k8s.io/v1", "apiextensions.k8s.io.example.com/v1", 1), nil, 1},
		{"another kind of the group", "apiVersion: apiextensions.k8s.io/v1\nkind: ConversionReview\n", nil, 1},
		{"nothing", "", nil, 0},
		{"null", "null\n---\n" + one, []string{"one"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			defs, skipped, err := Parse(strings.NewReader(c.text))
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, d := range defs {
				names = append(names, strings.TrimSuffix(strings.TrimPrefix(d.Name, "things."), ".example.com"))
			}
			if !slices.Equal(names, c.names) || skipped != c.skipped {
				t.Errorf("got %q and %d skipped, want %q and %d", names, skipped, c.names, c.skipped)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	one := fmt.Sprintf(twoVersions, "one")
	beta := strings.Replace(one, "apiextensions.k8s.io/v1", "apiextensions.k8s.io/v1beta1", 1)
	for _, c := range []struct{ name, text, want string }{
		{"v1beta1", "# a\n---\n" + one + "---\n" + beta, "document 2: apiVersion: a CustomResourceDefinition has to be apiextensions.k8s.io/v1, the one version that apiservers serve since Kubernetes 1.22"},
		{"v1beta1 in a list", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod}\n- {apiVersion: apiextensions.k8s.io/v1beta1, kind: CustomResourceDefinition}\n",
			"document 1: items[1].apiVersion: a CustomResourceDefinition has to be apiextensions.k8s.io/v1, the one version that apiservers serve since Kubernetes 1.22"},
		{"a wrong type", strings.Replace(one, "served: true", "served: hunter2", 1), "document 1: spec.versions.served: has to be bool, and is string"},
		{"a number", strings.Replace(one, "kind: Thing,", "kind: 4711,", 1), "document 1: spec.names.kind: has to be string, and is number"},
		{"no name", strings.Replace(one, "metadata: {name: things.one.example.com}", "metadata: {}", 1), "document 1: metadata.name: missing"},
		{"twice", one + "---\n" + one, `document 2: "things.one.example.com" is in document 1 already`},
		{"a template", one + "---\n{{- if .Values.hunter2 }}\na: b\n{{ end }}\n", "document 2: not YAML"},
		{"two documents without a line between them", one + one, "document 1: a field stands there twice"},
		{"no YAML", "a: b\nc: d: hunter2\n", "document 1: not YAML, at line 2 of the document"},
		{"prose", "hunter2", "document 1: no apiVersion and kind"},
		{"items of a list that are none", "apiVersion: v1\nkind: List\nitems: hunter2\n", "document 1: items: not a list of objects"},
	} {
		t.Run(c.name, func(t *testing.T) {
			defs, _, err := Parse(strings.NewReader(c.text))
			var wrong *ParseError
			switch {
			case !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), c.want):
				t.Errorf("got %v, want %s", err, c.want)
			case defs != nil:
				t.Error("part of a wrong file was given")
			case strings.Contains(err.Error(), "hunter2"), strings.Contains(err.Error(), "4711"):
				t.Errorf("%v quotes the file", err)
			}
		})
	}
}

// The upstream guide has conversionReviewVersions one level too high, where the apiserver drops it.
func TestParseUnknownFields(t *testing.T) {
	text := fmt.Sprintf(twoVersions, "a") + "  conversion: {strategy: None, conversionReviewVersions: [v1]}\n"
	d := parseOne(t, []byte(text))
	if !slices.Equal(d.UnknownFields, []string{"spec.conversion.conversionReviewVersions"}) {
		t.Errorf("got %q", d.UnknownFields)
	}
}

// What a file says of status, an apiserver does not take: it must not hide what the cluster says.
func TestParseDropsStatus(t *testing.T) {
	text := fmt.Sprintf(twoVersions, "a") + "status: {storedVersions: [v1], conditions: [{type: Established, status: 'True'}]}\n"
	d := parseOne(t, []byte(text))
	if len(d.StoredVersions) > 0 || d.Established || d.ResourceVersion != "" {
		t.Errorf("got %+v", d)
	}
}

func TestParseIsBounded(t *testing.T) {
	_, _, err := Parse(&endless{})
	if err == nil || !strings.Contains(err.Error(), "64 MiB") {
		t.Errorf("got %v", err)
	}
}

// endless is a file of comments.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		e.n++
		p[i] = '#'
		if e.n%100 == 0 {
			p[i] = '\n'
		}
	}
	return len(p), nil
}

func TestParseTestdata(t *testing.T) {
	files, err := filepath.Glob("../../testdata/crd/selfierequests-*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		defs, _, err := Parse(f)
		if err != nil || len(defs) != 1 || len(defs[0].UnknownFields) > 0 {
			t.Errorf("%s: %d definitions, %v", file, len(defs), err)
		}
	}
}
