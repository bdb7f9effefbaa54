package upgrade

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"

	"github.com/svmctl/svmctl/internal/crd"
)

// version is one of spec.versions; spec.FIELD of every given field is a string.
type version struct {
	name            string
	served, storage bool
	fields          []string
}

// definition writes a CustomResourceDefinition. rest is what else there is in spec, in lines of two blanks.
func definition(name, rest string, versions ...version) string {
	var b strings.Builder
	group := name + ".example.com"
	if strings.Contains(name, ".") {
		group = name
	}
	fmt.Fprintf(&b, "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: things.%[1]s\nspec:\n  group: %[1]s\n", group)
	if !strings.Contains(rest, "names:") {
		b.WriteString("  names: {kind: Thing, plural: things, singular: thing, listKind: ThingList}\n")
	}
	if !strings.Contains(rest, "scope:") {
		b.WriteString("  scope: Namespaced\n")
	}
	b.WriteString(rest + "  versions:\n")
	for _, v := range versions {
		properties := make(map[string]any)
		for _, f := range v.fields {
			properties[f] = map[string]any{"type": "string"}
		}
		schema, err := json.Marshal(map[string]any{"type": "object", "properties": map[string]any{"spec": map[string]any{"type": "object", "properties": properties}}})
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&b, "  - {name: %s, served: %t, storage: %t, schema: {openAPIV3Schema: %s}}\n", v.name, v.served, v.storage, schema)
	}
	return b.String()
}

func parse(t *testing.T, text string) *crd.Definition {
	t.Helper()
	defs, _, err := crd.Parse(strings.NewReader(text))
	if err != nil || len(defs) != 1 {
		t.Fatalf("parsed %d definitions, %v, of\n%s", len(defs), err, text)
	}
	return defs[0]
}

// v gives a version that is served.
func v(name string, storage bool, fields ...string) version {
	return version{name, true, storage, fields}
}

func thing(name, version string, fields ...string) string {
	spec := make(map[string]string)
	for _, f := range fields {
		spec[f] = "hunter2"
	}
	object, err := json.Marshal(map[string]any{"apiVersion": name + ".example.com/" + version, "kind": "Thing", "metadata": map[string]any{"name": "one", "namespace": "default"}, "spec": spec})
	if err != nil {
		panic(err)
	}
	return string(object)
}

func TestOutcome(t *testing.T) {
	const webhook = "  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: 'https://127.0.0.1'}}}\n"
	for _, c := range []struct {
		name          string
		present, next string // "" for present: there is none
		payload       string
		want          Outcome
	}{
		{
			"nothing changes", definition("a", "", v("v1", true, "x")), definition("a", "", v("v1", true, "x")), thing("a", "v1", "x"),
			Outcome{Examined: true, Version: "v1"},
		},
		{
			"storedVersions was trimmed though etcd holds v1", definition("a", "", v("v1", false, "x"), v("v2", true, "x")), definition("a", "", v("v2", true, "x")),
			thing("a", "v1", "x"), Outcome{Examined: true, Version: "v1", Unreadable: true},
		},
		{
			"not readable under the present one either", definition("a", "", v("v2", true, "x")), definition("a", "", v("v2", true)), thing("a", "v1", "x"),
			Outcome{Examined: true, Version: "v1", Unreadable: true, Already: true},
		},
		{
			"readable again", definition("a", "", v("v2", true, "x")), definition("a", "", v("v1", false, "x"), v("v2", true, "x")), thing("a", "v1", "x"),
			Outcome{Examined: true, Version: "v1"},
		},
		{
			"a narrower schema", definition("a", "", v("v1", true, "x", "y")), definition("a", "", v("v1", true, "x")), thing("a", "v1", "x", "y"),
			Outcome{Examined: true, Version: "v1", Lost: []string{"spec.y"}},
		},
		{
			"lost under the present one already", definition("a", "", v("v1", true, "x", "y")), definition("a", "", v("v1", true, "x")), thing("a", "v1", "x", "y", "z"),
			Outcome{Examined: true, Version: "v1", Lost: []string{"spec.y"}},
		},
		{
			"a field that no object has", definition("a", "", v("v1", true, "x", "y")), definition("a", "", v("v1", true, "x")), thing("a", "v1", "x"),
			Outcome{Examined: true, Version: "v1"},
		},
		{
			"a new storage version without a webhook that would fill it", definition("a", "", v("v1", true, "hostPort")),
			definition("a", "", v("v1", false, "hostPort"), v("v2", true, "host", "port")), thing("a", "v1", "hostPort"),
			Outcome{Examined: true, Version: "v1", Lost: []string{"spec.hostPort"}},
		},
		{
			"the same with one", definition("a", "", v("v1", true, "hostPort")),
			definition("a", webhook, v("v1", false, "hostPort"), v("v2", true, "host", "port")), thing("a", "v1", "hostPort"),
			Outcome{Examined: true, Version: "v1", Converted: true},
		},
		{
			"left over from a definition that was deleted", "", definition("a", "", v("v1", true, "x")), thing("a", "v1", "x", "y"),
			Outcome{Examined: true, Version: "v1", Lost: []string{"spec.y"}},
		},
		{
			"left over at a version that does not come back", "", definition("a", "", v("v2", true, "x")), thing("a", "v1", "x"),
			Outcome{Examined: true, Version: "v1", Unreadable: true},
		},
		{"no object", definition("a", "", v("v1", true)), definition("a", "", v("v1", true)), "k8s:enc:aescbc:v1:key1:hunter2", Outcome{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var present *crd.Definition
			if c.present != "" {
				present = parse(t, c.present)
			}
			x, err := NewExaminer(present, parse(t, c.next))
			if err != nil {
				t.Fatal(err)
			}
			if got := x.Examine([]byte(c.payload)); !reflect.DeepEqual(got, c.want) {
				t.Errorf("JSON: got %+v, want %+v", got, c.want)
			}
			var object map[string]any
			if json.Unmarshal([]byte(c.payload), &object) != nil {
				return
			}
			asCBOR, err := direct.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			if got := x.Examine(append([]byte{0xd9, 0xd9, 0xf7}, asCBOR...)); !reflect.DeepEqual(got, c.want) {
				t.Errorf("CBOR: got %+v, want %+v", got, c.want)
			}
		})
	}
}

// Ten versions, one object at each, and a new definition that drops every other one.
func TestTenVersions(t *testing.T) {
	var all, half []version
	for i := range 10 {
		one := version{fmt.Sprintf("v%d", i+1), i%3 != 0, i == 9, []string{"x"}}
		all = append(all, one)
		if i%2 == 1 {
			half = append(half, one)
		}
	}
	x, err := NewExaminer(parse(t, definition("a", "", all...)), parse(t, definition("a", "", half...)))
	if err != nil {
		t.Fatal(err)
	}
	r := Result{Compared: true, Counted: true}
	for i := range 10 {
		for range i + 1 {
			r.Add(x.Examine([]byte(thing("a", fmt.Sprintf("v%d", i+1), "x"))))
		}
	}
	if !maps.Equal(r.Unreadable, map[string]int{"v1": 1, "v3": 3, "v5": 5, "v7": 7, "v9": 9}) || len(r.Objects) != 10 || r.Total() != 55 || r.Verdict() != Loses || r.Losers != 0 {
		t.Errorf("got %+v, %v", r, r.Verdict())
	}
}

func TestVerdict(t *testing.T) {
	good, lost := Outcome{Examined: true, Version: "v1"}, Outcome{Examined: true, Version: "v1", Lost: []string{"spec.x"}}
	refused := []Problem{{Code: Refused}}
	for _, c := range []struct {
		name string
		r    Result
		add  []Outcome
		want Verdict
	}{
		{"the zero value", Result{}, nil, NotChecked},
		{"objects alone", Result{Counted: true}, []Outcome{good}, NotChecked},
		{"no objects", Result{Compared: true, Counted: true}, nil, Clean},
		{"all is well", Result{Compared: true, Counted: true}, []Outcome{good, good}, Clean},
		{"unknown fields of the file alone", Result{Compared: true, Counted: true, Problems: []Problem{{Code: UnknownField}}}, []Outcome{good}, Clean},
		{"objects were not counted to the end", Result{Compared: true}, []Outcome{good}, Unknown},
		{"one was not understood", Result{Compared: true, Counted: true}, []Outcome{good, {}}, Unknown},
		{"one cannot be read as it is", Result{Compared: true, Counted: true}, []Outcome{good, {Examined: true, Unreadable: true, Already: true}}, Unknown},
		{"a loss outranks what is unknown", Result{Compared: true}, []Outcome{{}, lost}, Loses},
		{"more paths than can be named", Result{Compared: true, Counted: true}, []Outcome{{Examined: true, Omitted: 1}}, Loses},
		{"unreadable", Result{Compared: true, Counted: true}, []Outcome{{Examined: true, Unreadable: true}}, Loses},
		{"refused outranks all", Result{Compared: true, Problems: refused}, []Outcome{lost, {}}, Rejected},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, o := range c.add {
				c.r.Add(o)
			}
			if got := c.r.Verdict(); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestResultIsBounded(t *testing.T) {
	r := Result{Compared: true, Counted: true}
	for i := range 200 {
		r.Add(Outcome{Examined: true, Version: fmt.Sprintf("v%d", i), Lost: []string{fmt.Sprintf("spec.list[%d].x", i), fmt.Sprintf("spec.x%d", i)}})
	}
	if len(r.Lost) != maxLost || r.Lost["spec.list[*].x"] != 200 || r.Omitted != 200-maxLost+1 || r.Losers != 200 {
		t.Errorf("got %d paths, %d omitted, of %d objects", len(r.Lost), r.Omitted, r.Losers)
	}
	if len(r.Objects) > maxVersions+1 || r.Total() != 200 {
		t.Errorf("got %d versions, %d objects", len(r.Objects), r.Total())
	}
	// Two items of one list are one object that loses that field.
	r = Result{}
	r.Add(Outcome{Examined: true, Lost: []string{"spec.list[0].x", "spec.list[1].x"}})
	if r.Lost["spec.list[*].x"] != 1 {
		t.Errorf("got %v", slices.Collect(maps.Values(r.Lost)))
	}
}
