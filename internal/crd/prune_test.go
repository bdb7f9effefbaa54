package crd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// oneVersion has a schema with a single field, spec.a.
const oneVersion = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.a.example.com}
spec:
  group: a.example.com
  names: {kind: Thing, plural: things}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {a: {type: string}}}}}}
`

func examine(t *testing.T, crd, payload string) Examination {
	t.Helper()
	e, err := pruner(t, []byte(crd)).Examine([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestPreservedUnknownFields(t *testing.T) {
	const object = `{"apiVersion":"a.example.com/v1","kind":"Thing","metadata":{"name":"one","unheard":"of"},"spec":{"a":"a","b":"b"}}`
	if e := examine(t, oneVersion, object); !slices.Equal(e.Paths, []string{"metadata.unheard", "spec.b"}) {
		t.Errorf("pruned: %q", e.Paths)
	}
	// As definitions of old have it, which were made through v1beta1. Metadata is typed all the same.
	if e := examine(t, oneVersion+"  preserveUnknownFields: true\n", object); !e.Readable || !slices.Equal(e.Paths, []string{"metadata.unheard"}) {
		t.Errorf("preserved: %q", e.Paths)
	}
	// Such a definition may have a schema that is not structural, which prunes nothing either.
	odd := strings.Replace(oneVersion, "a: {type: string}", "a: {$ref: x}", 1) + "  preserveUnknownFields: true\n"
	if e := examine(t, odd, object); !e.Readable || !slices.Equal(e.Paths, []string{"metadata.unheard"}) {
		t.Errorf("not structural: %+v", e)
	}
	if _, err := NewPruner(parseOne(t, []byte(strings.Replace(odd, "preserveUnknownFields: true", "", 1)))); err == nil {
		t.Error("a schema that no apiserver serves was taken for one that prunes nothing")
	}
}

func TestWebhookConversion(t *testing.T) {
	const webhook = "  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: 'https://127.0.0.1'}}}\n"
	two := oneVersion + `
  - name: v2
    served: true
    storage: false
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {b: {type: string}}}}}}
`
	const v1 = `{"apiVersion":"a.example.com/v1","kind":"Thing","metadata":{"name":"one"},"spec":{"a":"a","b":"b"}}`
	v2 := strings.Replace(v1, "/v1", "/v2", 1)
	for _, c := range []struct {
		name, crd, object string
		paths             []string
		converted         bool
	}{
		{"stored at the storage version", two + webhook, v1, []string{"spec.b"}, false},
		{"the schema that it is stored by prunes, and what the webhook makes of the rest is not known", two + webhook, v2, []string{"spec.a"}, true},
		{"the same without a webhook", two, v2, []string{"spec.a", "spec.b"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if e := examine(t, c.crd, c.object); !e.Readable || !slices.Equal(e.Paths, c.paths) || e.Converted != c.converted {
				t.Errorf("got %+v", e)
			}
		})
	}
}

// A null that the first schema does not admit is gone before the second one, which does not know the field, sees it.
func TestNullsOnTheWay(t *testing.T) {
	crd := strings.Replace(oneVersion, "storage: true", "storage: false", 1) + `
  - name: v2
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object}}}}
`
	const object = `{"apiVersion":"a.example.com/v1","kind":"Thing","metadata":{"name":"one"},"spec":{"a":%s}}`
	if e := examine(t, crd, fmt.Sprintf(object, "null")); !e.Readable || e.Paths != nil {
		t.Errorf("null: %+v", e)
	}
	if e := examine(t, crd, fmt.Sprintf(object, `"a"`)); !slices.Equal(e.Paths, []string{"spec.a"}) {
		t.Errorf("a value: %+v", e)
	}
}

func TestExaminationOfMetadata(t *testing.T) {
	e := examine(t, oneVersion, `{"apiVersion":"a.example.com/v1","kind":"Thing","metadata":{"name":"one","deletionTimestamp":"2026-01-02T03:04:05Z","managedFields":[
		{"manager":"a","apiVersion":"a.example.com/v1alpha1"},{"manager":"b","apiVersion":"a.example.com/v1"},{"manager":"c","apiVersion":"b.example.com/v1alpha1"},
		{"manager":"d","apiVersion":"a.example.com/v1alpha1"},{"manager":"e","apiVersion":"a.example.com/hunter2 \u001b[31m"},{"manager":"f","apiVersion":"a.example.com/v0"}]}}`)
	if !e.Readable || !e.Terminating || !slices.Equal(e.ManagedVersions, []string{"a.example.com/v0", "a.example.com/v1alpha1"}) || e.Paths != nil {
		t.Errorf("got %+v", e)
	}
	// It is told of objects that cannot be read, too: those need it most.
	e = examine(t, oneVersion, `{"apiVersion":"a.example.com/v0","kind":"Thing","metadata":{"name":"one","deletionTimestamp":"2026-01-02T03:04:05Z"}}`)
	if e.Readable || e.Problem != UnknownVersion || e.Version != "v0" || !e.Terminating {
		t.Errorf("got %+v", e)
	}
}

func TestPathsAreBoundedAndInert(t *testing.T) {
	var fields strings.Builder
	for i := range 100 {
		fmt.Fprintf(&fields, `"x%02d":1,`, i)
	}
	e := examine(t, oneVersion, `{"apiVersion":"a.example.com/v1","kind":"Thing","spec":{`+fields.String()+`"a":"a"}}`)
	if len(e.Paths) != maxPaths || e.Omitted != 100-maxPaths || e.Paths[31] != "spec.x31" {
		t.Errorf("got %d paths and %d omitted", len(e.Paths), e.Omitted)
	}
	e = examine(t, oneVersion, `{"apiVersion":"a.example.com/v1","kind":"Thing","spec":{"\u001b[31mé\n":1,"`+strings.Repeat("y", 1<<16)+`":1}}`)
	if len(e.Paths) != 2 || !slices.Contains(e.Paths, `spec["\x1b[31m\u00e9\n"]`) || len(e.Paths[0]) > maxPath+3 {
		t.Errorf("got %.300q", e.Paths)
	}
}

// What is no custom resource gives an error of fixed text, and never an Examination that reads as harmless.
func TestExamineRefuses(t *testing.T) {
	p := pruner(t, []byte(oneVersion))
	for _, c := range []struct {
		payload string
		want    error
	}{
		{"", ErrEncoding},
		{"k8s:enc:aescbc:v1:key1:hunter2", ErrEncoding},
		{"k8s\x00hunter2", ErrEncoding},
		{`{"apiVersion":"a.example.com/v1","kind":"Thing","spec":{"a":"hunter2`, ErrJSON},
		{`{"apiVersion":"a.example.com/v1","kind":"Thing"} hunter2`, ErrJSON},
		{"\xd9\xd9\xf7\xa1hunter2", ErrCBOR},
		{"\xd9\xd9\xf7\x01", ErrCBOR},
		{`{"spec":{"a":"hunter2"}}`, ErrType},
		{`{"apiVersion":7,"kind":"Thing"}`, ErrType},
	} {
		e, err := p.Examine([]byte(c.payload))
		if !errors.Is(err, c.want) || e.Readable {
			t.Errorf("%.20q: got %+v, %v, want %v", c.payload, e, err, c.want)
		}
		if _, _, _, err := Metadata([]byte(c.payload)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.20q: metadata: %v", c.payload, err)
		}
	}
}

func TestMetadata(t *testing.T) {
	apiVersion, terminating, managed, err := Metadata([]byte(`{"apiVersion":"a.example.com/v1","kind":"Thing","metadata":{"deletionTimestamp":"2026-01-02T03:04:05Z",
		"managedFields":[{"apiVersion":"a.example.com/v1"},{"apiVersion":"a.example.com/v0"},{"apiVersion":"a.example.com/v1"},{"apiVersion":"../x"}]}}`))
	if err != nil || apiVersion != "a.example.com/v1" || !terminating || !slices.Equal(managed, []string{"a.example.com/v0", "a.example.com/v1"}) {
		t.Errorf("got %q, %t, %q, %v", apiVersion, terminating, managed, err)
	}
	apiVersion, terminating, managed, err = Metadata(read(t, "testdata/rewrites/cbor/stored"))
	if err != nil || apiVersion != "cbor.example.com/v1" || terminating || managed != nil {
		t.Errorf("CBOR: got %q, %t, %q, %v", apiVersion, terminating, managed, err)
	}
}

func TestBeyond(t *testing.T) {
	wide := strings.Replace(oneVersion, "a: {type: string}", "a: {type: string}, b: {type: object, properties: {c: {type: string}}}", 1)
	const object = `{"apiVersion":"a.example.com/v1","kind":"Thing","spec":{"b":{"c":"c","d":"d"},"bb":1}}`
	narrow, before := examine(t, oneVersion, object), examine(t, wide, object)
	if paths, _ := narrow.Beyond(before); !slices.Equal(paths, []string{"spec.b"}) {
		t.Errorf("narrowed: %q; spec.bb is lost by either", paths)
	}
	if paths, _ := before.Beyond(narrow); paths != nil {
		t.Errorf("widened: %q; spec.b.d is within what is lost now", paths)
	}
	const sibling = `{"apiVersion":"a.example.com/v1","kind":"Thing","spec":{"bb":1}}`
	bb := strings.Replace(oneVersion, "a: {type: string}", "bb: {type: integer}", 1)
	if paths, _ := examine(t, oneVersion, sibling).Beyond(examine(t, bb, object)); !slices.Equal(paths, []string{"spec.bb"}) {
		t.Errorf("%q; that the other loses spec.b has nothing to do with spec.bb", paths)
	}
	if paths, _ := narrow.Beyond(Examination{}); len(paths) != 2 {
		t.Errorf("nothing known of the other: %q", paths)
	}
}

func TestPrunersAreSafeForConcurrentUse(t *testing.T) {
	p := pruner(t, read(t, "testdata/rewrites/embedded/crd.yaml"))
	stored := read(t, "testdata/rewrites/embedded/stored")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if e, err := p.Examine(stored); err != nil || len(e.Paths) != 3 {
					t.Errorf("got %+v, %v", e, err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkExamine(b *testing.B) {
	defs, _, err := Parse(strings.NewReader(oneVersion))
	if err != nil {
		b.Fatal(err)
	}
	p, err := NewPruner(defs[0])
	if err != nil {
		b.Fatal(err)
	}
	payload := []byte(`{"apiVersion":"a.example.com/v1","kind":"Thing","metadata":{"name":"one","namespace":"default","labels":{"a":"b"}},"spec":{"a":"` + strings.Repeat("x", 1000) + `"}}`)
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if _, err := p.Examine(payload); err != nil {
			b.Fatal(err)
		}
	}
}
