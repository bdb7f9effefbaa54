// Package vectors loads the stored values beside it: one file for each case, with headers, a blank line, and the raw bytes as they lie
// in etcd. It is for tests alone, and decides nothing about the values.
package vectors

import (
	"bytes"
	"embed"
	"path"
	"strings"
	"testing"
)

//go:embed *
var files embed.FS

// Case is one file. Headers that say what a reader must make of the value start with "expect-"; one that is left out expects "".
//
//	comment                  what the case is for
//	root, key                where the value lies
//	secret                   base64 of the key that encrypted it, for aescbc, aesgcm and secretbox
//	expect-provider          identity, aescbc, aesgcm, secretbox, kms, unknown
//	expect-provider-version  v1, v2
//	expect-key-name          the longest candidate
//	expect-ends              ends of the shorter candidates, joined by spaces
//	expect-key-id            KMS v2
//	expect-inferred          true when there were several candidates
//	expect-fault             the fixed text
//	expect-object            group, resource, namespace and name, joined by spaces, "-" for an empty one
//	expect-note              the fixed text when the key is no API object
//	expect-stored            apiVersion, kind and encoding of the payload, or "opaque", or "error: " and the fixed text
//	expect-inside            the same of what secret decrypts to
type Case struct {
	File    string
	Headers map[string]string
	Value   []byte
}

// Load reads every case. A file that is not one fails the test.
func Load(t testing.TB) []Case {
	t.Helper()
	entries, err := files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var cases []Case
	for _, entry := range entries {
		if path.Ext(entry.Name()) != "" {
			continue // this package
		}
		b, err := files.ReadFile(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		head, value, ok := bytes.Cut(b, []byte("\n\n"))
		if !ok {
			t.Fatalf("%s: no blank line", entry.Name())
		}
		c := Case{File: entry.Name(), Headers: map[string]string{}, Value: value}
		for line := range strings.SplitSeq(string(head), "\n") {
			name, text, ok := strings.Cut(line, ": ")
			if _, twice := c.Headers[name]; !ok || twice || text == "" {
				t.Fatalf("%s: bad header %q", entry.Name(), line)
			}
			c.Headers[name] = text
		}
		cases = append(cases, c)
	}
	if len(cases) == 0 {
		t.Fatal("no vectors")
	}
	return cases
}
