package crd

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What is to be told of each case of testdata/rewrites. The cases were rewritten by kube-apiserver 1.37.2; see TestRecord.
var told = map[string]struct {
	problem Problem
	paths   []string
}{
	"narrowed":  {paths: []string{`extra`, `spec.byname["x.y/z"].colour`, `spec.ports[1].proto`, `spec.wide`, `status`}},
	"preserved": {paths: []string{`spec.known.b`}},
	"embedded":  {paths: []string{`spec.narrow.immutable`, `spec.narrow.metadata.labels`, `spec.template.metadata.unheard`}},
	"metadata":  {paths: []string{`metadata.clusterName`, `metadata.initializers`, `metadata.labels`, `metadata.ownerReferences[0].unheard`}},
	"nop":       {paths: []string{`spec.hostPort`}},
	"through":   {paths: []string{`spec.c`, `spec.d`, `spec.e`}},
	// a and c are null where the schema admits none: nothing is lost with them. What the schema does not know is
	// lost, be it null or empty.
	"nulls":         {paths: []string{`spec.d`, `spec.e`, `spec.f`, `spec.g`}},
	"cbor":          {paths: []string{`spec.flags`, `spec.wide`}},
	"schemaless":    {paths: []string{`spec`, `status`}},
	"version":       {problem: UnknownVersion},
	"text-metadata": {problem: Malformed},
	"text-embedded": {problem: Malformed},
	"other-kind":    {problem: OtherKind},
	"other-group":   {problem: OtherGroup},
}

func TestExamineTellsWhatTheApiserverDid(t *testing.T) {
	dirs := cases(t)
	if len(dirs) != len(told) {
		t.Errorf("%d cases, and %d are told of", len(dirs), len(told))
	}
	for _, dir := range dirs {
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			p := pruner(t, read(t, filepath.Join(dir, "crd.yaml")))
			stored := read(t, filepath.Join(dir, "stored"))
			e, err := p.Examine(stored)
			if err != nil {
				t.Fatal(err)
			}
			want := told[name]
			if e.Problem != want.problem || e.Readable != (want.problem == "") || !slices.Equal(e.Paths, want.paths) {
				t.Errorf("told readable %t, problem %q, paths %q; want %q, %q", e.Readable, e.Problem, e.Paths, want.problem, want.paths)
			}
			_, err = os.Stat(filepath.Join(dir, "refused"))
			if refused := !errors.Is(err, os.ErrNotExist); refused {
				if e.Readable {
					t.Error("the apiserver refused to patch it")
				}
				return
			}
			if want.problem != "" {
				return // other-kind: the patch that was recorded made it one of this kind
			}
			var before, after any
			if err := unmarshal(stored, &before); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(read(t, filepath.Join(dir, "rewritten")), &after); err != nil {
				t.Fatal(err)
			}
			gone := make(map[string]any)
			difference("", before, after, gone)
			delete(gone, ".metadata.selfLink") // no apiserver stores one
			for path, value := range gone {
				if told := slices.Contains(e.Paths, asTold(path)); !told && !bare(value) {
					t.Errorf("%s is gone, and was not told of", path)
				}
			}
			for _, path := range e.Paths {
				if !slices.ContainsFunc(keys(gone), func(k string) bool { return asTold(k) == path }) {
					t.Errorf("%s was told of, and is not gone", path)
				}
			}
		})
	}
}

// difference is a second opinion on what is gone.
func difference(at string, before, after any, gone map[string]any) {
	switch before := before.(type) {
	case map[string]any:
		after, _ := after.(map[string]any)
		for k, v := range before {
			if now, ok := after[k]; ok {
				difference(at+"."+k, v, now, gone)
			} else {
				gone[at+"."+k] = v
			}
		}
	case []any:
		after, _ := after.([]any)
		for i, v := range before {
			difference(at+"["+strconv.Itoa(i)+"]", v, after[i], gone)
		}
	}
}

func asTold(path string) string {
	return strings.ReplaceAll(strings.TrimPrefix(path, "."), ".x.y/z", `["x.y/z"]`)
}

func bare(v any) bool {
	text, err := json.Marshal(v)
	return err == nil && slices.Contains([]string{"null", "{}", "[]", `""`, "0", "false"}, string(text))
}

func keys(m map[string]any) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

func pruner(t *testing.T, text []byte) *Pruner {
	t.Helper()
	p, err := NewPruner(parseOne(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
