package crd

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
)

// FuzzExamine: whatever lies in etcd, nothing panics, and what is told of it is consistent.
func FuzzExamine(f *testing.F) {
	files, err := filepath.Glob("testdata/rewrites/*/stored")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		// One group for all, so that every seed meets every schema.
		text = bytes.Replace(text, []byte(filepath.Base(filepath.Dir(file))+".example.com"), []byte("narrowed.example.com"), 1)
		f.Add(text)
		var object any
		if unmarshal(text, &object) != nil { // cbor, whose lengths no longer fit
			continue
		}
		if asCBOR, err := direct.Marshal(object); err == nil {
			f.Add(append(bytes.Clone(cborPrefix), asCBOR...))
		}
	}
	var pruners []*Pruner
	defs, err := filepath.Glob("testdata/rewrites/*/crd.yaml")
	if err != nil || len(defs) == 0 {
		f.Fatalf("no definitions: %v", err)
	}
	for _, file := range defs {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		parsed, _, err := Parse(bytes.NewReader(text))
		if err != nil {
			f.Fatal(err)
		}
		parsed[0].Group = "narrowed.example.com"
		p, err := NewPruner(parsed[0])
		if err != nil {
			f.Fatal(err)
		}
		pruners = append(pruners, p)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		before := bytes.Clone(payload)
		_, _, _, metaErr := Metadata(payload)
		for _, p := range pruners {
			e, err := p.Examine(payload)
			switch {
			case !bytes.Equal(before, payload):
				t.Error("the payload was changed")
			case err != nil && (e.Readable || metaErr == nil):
				t.Errorf("%v, and readable %t, metadata %v", err, e.Readable, metaErr)
			case err == nil && e.Readable == (e.Problem != ""):
				t.Errorf("readable %t with problem %q", e.Readable, e.Problem)
			case !e.Readable && (e.Paths != nil || e.Converted):
				t.Errorf("told %q of what cannot be read", e.Paths)
			}
		}
	})
}
