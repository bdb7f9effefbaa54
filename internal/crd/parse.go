package crd

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

const (
	maxFile    = 64 << 20
	maxUnknown = 32

	kindCRD = "CustomResourceDefinition"
)

// ParseError tells what is the matter with a file. It holds no byte of it but the names of fields that Kubernetes defines, and the
// names of CustomResourceDefinitions.
type ParseError struct {
	Document int    // 1 is the first one of the stream, empty ones not counted
	Field    string // "" where it is the document as a whole
	Problem  string
}

func (e *ParseError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("document %d: %s", e.Document, e.Problem)
	}
	return fmt.Sprintf("document %d: %s: %s", e.Document, e.Field, e.Problem)
}

// Parse reads the CustomResourceDefinitions out of a stream of YAML or JSON documents, up to 64 MiB, and counts the objects of
// other kinds that it skipped. Lists are looked into. Whether an apiserver would admit a definition is not its concern. Errors
// about the content are *ParseError, and there are no definitions then.
func Parse(r io.Reader) (defs []*Definition, skipped int, err error) {
	limited := &io.LimitedReader{R: r, N: maxFile + 1}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(limited))
	p := parser{seen: make(map[string]int)}
	for {
		text, err := documents.Read()
		switch {
		case limited.N == 0:
			return nil, 0, fmt.Errorf("the file is longer than %d MiB", maxFile>>20)
		case errors.Is(err, io.EOF):
			return p.defs, p.skipped, nil
		case err != nil:
			return nil, 0, err
		case blank(string(text)):
			continue
		}
		p.document++
		asJSON, err := yaml.YAMLToJSONStrict(text) // of two documents without --- between them the last one would win
		if err != nil {
			return nil, 0, p.fail("", notYAML(err))
		}
		if err := p.object(asJSON, ""); err != nil {
			return nil, 0, err
		}
	}
}

type parser struct {
	document int
	seen     map[string]int // name → document
	defs     []*Definition
	skipped  int
}

func (p *parser) fail(field, problem string) error {
	return &ParseError{Document: p.document, Field: field, Problem: problem}
}

// object takes one object, at a path within its document.
func (p *parser) object(text []byte, at string) error {
	var list struct {
		Items []rawObject `json:"items"`
	}
	var typed struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if string(text) == "null" {
		return nil
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(text, &typed); err != nil || typed.Kind == "" || typed.APIVersion == "" {
		return p.fail(at, "no apiVersion and kind")
	}
	group, _, _ := strings.Cut(typed.APIVersion, "/")
	ours := group == apiextensionsv1.GroupName
	switch {
	case typed.APIVersion == "v1" && typed.Kind == "List", ours && typed.Kind == kindCRD+"List":
		if err := kjson.UnmarshalCaseSensitivePreserveInts(text, &list); err != nil {
			return p.fail(join(at, "items"), "not a list of objects")
		}
		for i, item := range list.Items {
			if err := p.object(item, fmt.Sprintf("%s[%d]", join(at, "items"), i)); err != nil {
				return err
			}
		}
		return nil
	case ours && typed.Kind == kindCRD && typed.APIVersion != apiextensionsv1.SchemeGroupVersion.String():
		return p.fail(join(at, "apiVersion"), "a CustomResourceDefinition has to be "+apiextensionsv1.SchemeGroupVersion.String()+
			", the one version that apiservers serve since Kubernetes 1.22")
	case !ours || typed.Kind != kindCRD:
		p.skipped++
		return nil
	}
	return p.definition(text, at)
}

func (p *parser) definition(text []byte, at string) error {
	var o apiextensionsv1.CustomResourceDefinition
	strict, err := kjson.UnmarshalStrict(text, &o)
	if err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return p.fail(join(at, wrong.Field), "has to be "+wrong.Type.String()+", and is "+jsonKind(wrong.Value))
		}
		return p.fail(at, "not a CustomResourceDefinition")
	}
	if o.Name == "" {
		return p.fail(join(at, "metadata.name"), "missing")
	}
	if first, again := p.seen[o.Name]; again {
		return p.fail(at, fmt.Sprintf("%q is in document %d already", o.Name, first))
	}
	p.seen[o.Name] = p.document
	// What a file says of these, an apiserver does not take.
	o.Status = apiextensionsv1.CustomResourceDefinitionStatus{}
	o.ResourceVersion, o.UID, o.DeletionTimestamp = "", "", nil
	d := define(&o)
	d.StoredVersions = nil // those that defaulting made up
	for _, e := range strict {
		var unknown kjson.FieldError
		if errors.As(e, &unknown) && len(d.UnknownFields) < maxUnknown {
			d.UnknownFields = append(d.UnknownFields, clip(unknown.FieldPath(), maxPath))
		}
	}
	p.defs = append(p.defs, d)
	return nil
}

// rawObject keeps the text of one item of a list.
type rawObject []byte

// UnmarshalJSON copies the text.
func (r *rawObject) UnmarshalJSON(text []byte) error {
	*r = append((*r)[:0], text...)
	return nil
}

func join(at, field string) string {
	if at == "" || field == "" {
		return at + field
	}
	return at + "." + field
}

// jsonKind leaves out the number of "number 12".
func jsonKind(value string) string {
	kind, _, _ := strings.Cut(value, " ")
	return kind
}

// blank tells whether a document holds nothing but comments.
func blank(text string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && line != "---" {
			return false
		}
	}
	return true
}

var yamlLine = regexp.MustCompile(`line ([0-9]+)`)

// notYAML keeps the line of a parser's complaint; the rest may quote the file.
func notYAML(err error) string {
	problem := "not YAML"
	if strings.Contains(err.Error(), "already set in map") {
		problem = "a field stands there twice; is a line --- missing between two documents?"
	}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		problem += ", at line " + m[1] + " of the document"
	}
	return problem
}
