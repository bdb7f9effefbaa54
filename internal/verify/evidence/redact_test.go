package evidence

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

func redactor(t testing.TB, mode Mode, key []byte) *Redactor {
	t.Helper()
	r, err := NewRedactor(mode, key)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRedactionKey(t *testing.T) {
	for _, c := range []struct {
		name string
		mode Mode
		key  string
		none bool
		ok   bool
	}{
		{name: "no mode", key: strings.Repeat("k", 32)},
		{name: "another mode", mode: "clear", key: strings.Repeat("k", 32)},
		{name: "hmac without a key", mode: HMAC, none: true},
		{name: "counts without a key", mode: Counts, none: true},
		{name: "names without a key", mode: Names, none: true, ok: true},
		{name: "hmac with an empty file", mode: HMAC},
		{name: "names with an empty file", mode: Names},
		{name: "31 bytes", mode: HMAC, key: strings.Repeat("k", 31)},
		{name: "31 bytes and white space", mode: HMAC, key: " " + strings.Repeat("k", 31) + "\r\n"},
		{name: "31 bytes, names", mode: Names, key: strings.Repeat("k", 31)},
		{name: "32 bytes", mode: HMAC, key: strings.Repeat("k", 32), ok: true},
		{name: "32 bytes and a line end", mode: Counts, key: strings.Repeat("k", 32) + "\n", ok: true},
	} {
		key := []byte(c.key)
		if c.none {
			key = nil
		}
		_, err := NewRedactor(c.mode, key)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && strings.Contains(err.Error(), "kkk") {
			t.Errorf("%s: the error shows the key: %v", c.name, err)
		}
	}
	trimmed := redactor(t, HMAC, bytes.TrimSpace(redactionKey))
	if trimmed.keyID() != redactor(t, HMAC, redactionKey).keyID() {
		t.Error("a line end makes another key of it")
	}
}

func TestSeal(t *testing.T) {
	r, other := redactor(t, HMAC, redactionKey), redactor(t, HMAC, bytes.Repeat([]byte("x"), 32))
	for _, k := range []string{"", "a", "/registry/secrets/ns/a", "\xff\xfe\x00", strings.Repeat("n", 127), strings.Repeat("n", 128), strings.Repeat("n", 4000)} {
		sealed := r.seal(k)
		if got, err := r.unseal(sealed); err != nil || got != k {
			t.Errorf("%.20q comes back as %.20q, %v", k, got, err)
		}
		if r.seal(k) != sealed {
			t.Errorf("%.20q is sealed in two ways", k)
		}
		if got, err := other.unseal(sealed); err == nil {
			t.Errorf("another key opens %.20q: %.20q", k, got)
		}
		if len(k) > 3 && strings.Contains(sealed, k) {
			t.Errorf("%.20q is not sealed", k)
		}
		raw, err := base64.StdEncoding.DecodeString(sealed)
		if err != nil {
			t.Fatal(err)
		}
		for i := range raw {
			changed := bytes.Clone(raw)
			changed[i] ^= 1
			if got, err := r.unseal(base64.StdEncoding.EncodeToString(changed)); err == nil {
				t.Errorf("with byte %d changed %.20q is opened as %.20q", i, k, got)
			}
		}
	}
	for _, bad := range []string{"", "no base64!", base64.StdEncoding.EncodeToString(make([]byte, 11)), base64.StdEncoding.EncodeToString(make([]byte, 200))} {
		if got, err := r.unseal(bad); err == nil {
			t.Errorf("%q is opened as %q", bad, got)
		}
	}
	if a, b := len(r.seal("/registry/secrets/ns/a")), len(r.seal("/registry/secrets/ns/longer-than-the-other")); a != b {
		t.Errorf("the length of names shows: %d and %d", a, b)
	}
}

func TestDerivedValuesDiffer(t *testing.T) {
	r, other := redactor(t, HMAC, redactionKey), redactor(t, HMAC, bytes.Repeat([]byte("x"), 32))
	const a, b = "/registry/secrets/ns/a", "/registry/secrets/ns/b"
	seen := make(map[string]string)
	for name, v := range map[string]string{
		"salt of a": hex.EncodeToString(r.salt(a)), "salt of b": hex.EncodeToString(r.salt(b)), "salt of a, other key": hex.EncodeToString(other.salt(a)),
		"name of a": hidden(r.opening(a), a), "name of b": hidden(r.opening(b), b), "name of a, other key": hidden(other.opening(a), a),
		"text a": r.hide(a), "text a, other key": other.hide(a), "sealed a": r.seal(a), "sealed a, other key": other.seal(a), "key ID": r.keyID(), "other key's ID": other.keyID(),
		"opening of a": hex.EncodeToString(r.opening(a)[:16]),
	} {
		if seen[v] != "" {
			t.Errorf("%s is %s", name, seen[v])
		}
		seen[v] = name
	}
	if len(r.salt(a)) != saltLength {
		t.Errorf("a salt has %d bytes", len(r.salt(a)))
	}
	// As docs/evidence-format.md tells.
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	opening := mac(bytes.TrimSpace(redactionKey), "svmctl name v1\x00"+a)
	if want := "hmac:" + hex.EncodeToString(mac(opening, a)); hidden(r.opening(a), a) != want {
		t.Errorf("the name is hidden as %s; docs/evidence-format.md has %s", hidden(r.opening(a), a), want)
	}
}

// Without a redaction key nobody can follow an object from bundle to bundle, and no salt is like another.
func TestMadeUpKey(t *testing.T) {
	a, b := redactor(t, Names, nil), redactor(t, Names, nil)
	if bytes.Equal(a.salt("x"), b.salt("x")) {
		t.Error("two bundles have the same salts")
	}
	if a.described().KeyID != "" {
		t.Error("a key that nobody has is given an ID")
	}
}
