package main

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/svmctl/svmctl/internal/keys"
	"github.com/svmctl/svmctl/internal/migrate"
	"github.com/svmctl/svmctl/internal/residue"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/evidence"
)

// schemas are the types of the files that have a schema.
var schemas = map[string]any{
	evidence.ScanFile:       evidence.Scan{},
	evidence.APIServersFile: evidence.APIServers{},
	evidence.ExceptionsFile: evidence.Exceptions{},
	evidence.MigrationFile:  evidence.Migration{},
	evidence.KeysFile:       keys.Report{},
	evidence.ResidueFile:    residue.Report{},
	evidence.StatementFile:  evidence.Statement{},
	evidence.SignatureFile:  evidence.SigstoreBundle{},
	"records.jsonl.json":    evidence.Line{},
	"sample.json":           evidence.Sample{},
	"verification.json":     evidence.Verification{},
}

// TestSchemasAreCurrent compares docs/schema with the types that the files are written from.
func TestSchemasAreCurrent(t *testing.T) {
	for file, v := range schemas {
		s := &schemaWriter{defs: map[string]any{}, comments: map[string]map[string]string{}}
		root := s.of(reflect.TypeOf(v))
		doc := map[string]any{"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://github.com/svmctl/svmctl/docs/schema/" + file, "$defs": s.defs}
		for k, v := range root {
			doc[k] = v
		}
		text, err := json.MarshalIndent(doc, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, '\n')
		path := filepath.Join("..", "..", "docs", "schema", file)
		if updating() {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, text) {
			t.Errorf("%s is not what the types say (make golden writes it): %v", path, err)
		}
	}
}

// schemaWriter turns types into definitions.
type schemaWriter struct {
	defs     map[string]any
	comments map[string]map[string]string // directory → Type or Type.Field → comment
}

// enums are types with few values.
var enums = map[reflect.Type][]any{
	reflect.TypeFor[verify.Verdict]():  {"Complete", "Incomplete", "Indeterminate", nil},
	reflect.TypeFor[evidence.Result](): {evidence.Pass, evidence.Fail, evidence.Inconclusive},
	reflect.TypeFor[evidence.Mode]():   {evidence.Names, evidence.HMAC, evidence.Counts},
	reflect.TypeFor[evidence.State]():  {evidence.StateOK, evidence.StatePlaintext, evidence.StateStale, evidence.StateUnknown, evidence.StateError, evidence.StateNotJudged},
}

func (s *schemaWriter) of(t reflect.Type) map[string]any {
	if values, ok := enums[t]; ok {
		return map[string]any{"enum": values}
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage](), t.Kind() == reflect.Interface:
		return map[string]any{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return map[string]any{"anyOf": []any{s.of(t.Elem()), map[string]any{"type": "null"}}}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return map[string]any{"type": "string", "contentEncoding": "base64"}
		}
		return map[string]any{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Struct:
		return s.object(t)
	}
	panic("no schema for " + t.String())
}

// object is a reference to the definition of a struct.
func (s *schemaWriter) object(t reflect.Type) map[string]any {
	name := strings.TrimPrefix(t.String(), "evidence.")
	ref := map[string]any{"$ref": "#/$defs/" + name}
	if _, ok := s.defs[name]; ok {
		return ref
	}
	s.defs[name] = nil // it may refer to itself
	properties, required := map[string]any{}, []string{}
	s.fields(t, properties, &required)
	def := map[string]any{"type": "object", "additionalProperties": false, "properties": properties, "required": required}
	if c := s.comment(t, t.Name()); c != "" {
		def["description"] = c
	}
	s.defs[name] = def
	return ref
}

func (s *schemaWriter) fields(t reflect.Type, properties map[string]any, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == "" && !f.Anonymous {
			tag = f.Name
		}
		switch {
		case tag == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && tag == "":
			s.fields(f.Type, properties, required)
			continue
		}
		property := s.of(f.Type)
		switch t.Name() + "." + f.Name {
		case "Migration.Report":
			property = s.of(reflect.TypeFor[migrate.Report]())
		case "Migration.NotRewritten", "Plan.Resources", "PlannedResource.Preflight": // null is an answer of its own, or of a report that came to nothing
			property = map[string]any{"anyOf": []any{property, map[string]any{"type": "null"}}}
		}
		if c := s.comment(t, t.Name()+"."+f.Name); c != "" {
			if _, isRef := property["$ref"]; isRef {
				property = map[string]any{"allOf": []any{property}}
			}
			property["description"] = c
		}
		properties[tag] = property
		if !strings.Contains(f.Tag.Get("json"), ",omit") {
			*required = append(*required, tag)
		}
	}
}

// comment is what the source says of a type or a field of it.
func (s *schemaWriter) comment(t reflect.Type, name string) string {
	dir, ours := strings.CutPrefix(t.PkgPath(), module)
	if !ours {
		return ""
	}
	if s.comments[dir] == nil {
		s.comments[dir] = map[string]string{}
		files, _ := filepath.Glob(filepath.Join("..", "..", dir, "*.go"))
		for _, file := range files {
			s.readComments(file, s.comments[dir])
		}
	}
	return s.comments[dir][name]
}

func (s *schemaWriter) readComments(file string, into map[string]string) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return
	}
	text := func(groups ...*ast.CommentGroup) string {
		for _, g := range groups {
			if g != nil {
				return strings.Join(strings.Fields(g.Text()), " ")
			}
		}
		return ""
	}
	for _, decl := range parsed.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range gen.Specs {
			typ, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			into[typ.Name.Name] = text(typ.Doc, gen.Doc)
			if fields, ok := typ.Type.(*ast.StructType); ok {
				for _, f := range fields.Fields.List {
					for _, n := range f.Names {
						into[typ.Name.Name+"."+n.Name] = text(f.Doc, f.Comment)
					}
				}
			}
		}
	}
}
