package atrest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
	"github.com/svmctl/svmctl/testdata/vectors"
)

// TestVectors runs every reader on every vector. What a file expects is written by hand.
func TestVectors(t *testing.T) {
	known := map[string]bool{"comment": true, "root": true, "key": true, "secret": true, "expect-inside": true}
	for _, c := range vectors.Load(t) {
		t.Run(c.File, func(t *testing.T) {
			value := slices.Clone(c.Value)
			v := atrest.Parse(value)
			object := key.Parse(c.Headers["root"], c.Headers["key"])
			got := map[string]string{
				"expect-provider":         string(v.Encryption.Provider),
				"expect-provider-version": v.Encryption.Version,
				"expect-key-name":         v.Encryption.Key,
				"expect-ends":             strings.Trim(fmt.Sprint(v.Ends), "[]"),
				"expect-key-id":           v.Encryption.KeyID,
				"expect-inferred":         "",
				"expect-fault":            v.Fault,
				"expect-note":             object.Note,
				"expect-object":           describeObject(object),
				"expect-stored":           "opaque",
			}
			if v.Encryption.KeyInferred {
				got["expect-inferred"] = "true"
			}
			if v.Encryption.Provider == atrest.Identity {
				got["expect-stored"] = describeStored(v.Payload)
			}
			for name, text := range got {
				if c.Headers[name] != text {
					t.Errorf("%s: %q, want %q", name, text, c.Headers[name])
				}
			}
			for name := range c.Headers {
				if _, ok := got[name]; !ok && !known[name] {
					t.Errorf("nothing checks the header %q", name)
				}
			}
			if !slices.Equal(value, c.Value) {
				t.Error("a reader changed the value")
			}
			checkValue(t, c.Value)
		})
	}
}

func describeObject(o key.Object) string {
	if o.Resource == "" {
		return ""
	}
	parts := []string{o.Group, o.Resource, o.Namespace, o.Name}
	for i, part := range parts {
		if part == "" {
			parts[i] = "-"
		}
	}
	return strings.Join(parts, " ")
}

func describeStored(payload []byte) string {
	h, err := stored.Parse(payload)
	if err != nil {
		return "error: " + err.Error()
	}
	return fmt.Sprintf("%s %s %s", h.APIVersion, h.Kind, h.Encoding)
}

// checkValue states what holds for every value, whatever its bytes.
func checkValue(t *testing.T, value []byte) {
	t.Helper()
	v := atrest.Parse(value)
	e := v.Encryption
	reserved := strings.HasPrefix(string(value), "k8s:enc:")
	if (e.Provider == atrest.Identity) == reserved {
		t.Fatalf("provider %q, reserved prefix %v", e.Provider, reserved)
	}
	switch e.Provider {
	case atrest.Identity:
		if string(v.Payload) != string(value) || (v.Fault != "") != (len(value) == 0) {
			t.Fatal("identity is not the value")
		}
	case atrest.Unknown:
		if v.Payload != nil || v.Fault == "" || e != (atrest.Encryption{Provider: atrest.Unknown}) {
			t.Fatal("unknown says too much")
		}
	case atrest.AESCBC, atrest.AESGCM, atrest.Secretbox, atrest.KMS:
		if e.Key == "" && (v.Fault != atrest.FaultNoKeyName || v.Payload != nil) {
			t.Fatalf("no key name, fault %q", v.Fault)
		}
	default:
		t.Fatalf("provider %q", e.Provider)
	}
	for _, name := range []string{e.Key, e.KeyID, v.Fault} {
		if strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			t.Fatalf("%q is shown", name)
		}
	}
	if e.Key == "" {
		return
	}
	if len(v.Ends) > 0 && !e.KeyInferred {
		t.Fatal("ambiguous, yet not inferred")
	}
	var census atrest.Census
	census.Add(v)
	resolved, ambiguous := census.Resolve(e, v.Ends)
	if ambiguous && len(v.Ends) == 0 {
		t.Fatal("one candidate, yet ambiguous")
	}
	last := 0
	for _, end := range append(slices.Clone(v.Ends), len(e.Key)) {
		if end <= last || end > len(e.Key) {
			t.Fatalf("ends %v in %q", v.Ends, e.Key)
		}
		last = end
		candidate := e
		candidate.Key = e.Key[:end]
		// Prefix and body of each candidate are the whole value.
		if joined := candidate.Prefix() + string(v.Body(candidate)); joined != string(value) {
			t.Fatalf("candidate %q does not join", candidate.Key)
		}
		if candidate.Key == resolved.Key {
			ambiguous = true // the resolved name is a candidate
		}
	}
	if !ambiguous {
		t.Fatalf("resolved to %q, no candidate", resolved.Key)
	}
	if strings.Contains(e.Key, ":") && e.Provider == atrest.KMS && e.Version == atrest.V2 {
		t.Fatal("KMS v2 names hold no ':'")
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range vectors.Load(f) {
		f.Add(c.Value)
	}
	f.Fuzz(checkValue)
}
