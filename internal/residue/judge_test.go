package residue

import (
	"bytes"
	"testing"

	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/carve"
	"github.com/svmctl/svmctl/internal/verify"
)

var (
	plain   = atrest.Encryption{Provider: atrest.Identity}
	under1  = atrest.Encryption{Provider: atrest.AESCBC, Version: atrest.V1, Key: "key1"}
	under2  = atrest.Encryption{Provider: atrest.AESCBC, Version: atrest.V1, Key: "key2"}
	secrets = verify.Resource{Name: "secrets"}
	tokens  = verify.Resource{Group: "vault.example.com", Name: "tokens"}
)

// configured writes secrets with its first key; with twins there are two of that name.
func configured(twins bool) *encryption.Configuration {
	c := &encryption.Configuration{Keys: []encryption.Key{{Provider: atrest.AESCBC, Version: "v1", Name: "key2"}, {Provider: atrest.AESCBC, Version: "v1", Name: "key1"}, encryption.Identity}}
	if twins {
		c.Keys = append(c.Keys, encryption.Key{Provider: atrest.AESCBC, Version: "v1", Name: "key2", Twin: 1})
	}
	c.Rules = []encryption.Rule{{Patterns: []encryption.Pattern{{Resource: "secrets"}}, Keys: []int{0, 1, 2}}}
	return c
}

// TestLeftBehind has for each verdict a case in which looking at what is live of the resource would say that all is well.
func TestLeftBehind(t *testing.T) {
	const left, clean, untold = "left", "clean", "untold"
	for _, c := range []struct {
		name   string
		config *encryption.Configuration
		none   bool // no database
		live   map[string]atrest.Encryption
		s      subject
		form   atrest.Encryption
		want   string
	}{
		{name: "the live value of the key is like it", live: map[string]atrest.Encryption{"a": under2}, s: of(secrets, "a"), form: under2, want: clean},
		{name: "it is not, and another live one is", live: map[string]atrest.Encryption{"a": under2, "b": plain}, s: of(secrets, "a"), form: plain, want: left},
		{name: "the key was deleted, and a live one is in plaintext as well", live: map[string]atrest.Encryption{"b": plain, "c": under2}, s: of(secrets, "a"), form: plain, want: left},
		{name: "the key was deleted, and a live one is like it", live: map[string]atrest.Encryption{"b": under2}, s: of(secrets, "a"), form: under2, want: clean},
		{name: "the key was deleted, and none is like it", live: map[string]atrest.Encryption{"b": under2}, s: of(secrets, "a"), form: under1, want: left},
		{name: "all secrets are gone", live: map[string]atrest.Encryption{}, s: of(secrets, "a"), form: plain, want: left},
		{name: "all of another resource are gone, and others are encrypted", live: map[string]atrest.Encryption{"b": under2}, s: of(tokens, "a"), form: plain, want: untold},
		{name: "all of another resource are gone, and nothing is encrypted", live: map[string]atrest.Encryption{"b": plain}, s: of(tokens, "a"), form: plain, want: clean},
		{name: "the key is lost, and others are encrypted", live: map[string]atrest.Encryption{"b": under2}, form: plain, want: untold},
		{name: "the key is lost, under a key that is in use", live: map[string]atrest.Encryption{"b": under2}, form: under2, want: clean},
		{name: "the key is lost, under one that is not", live: map[string]atrest.Encryption{"b": under2}, form: under1, want: left},
		{name: "the name of its key is lost", live: map[string]atrest.Encryption{"b": under2}, s: of(secrets, "b"), form: atrest.Encryption{Provider: atrest.AESCBC, Version: "v1"}, want: left},
		{name: "no database", none: true, s: of(secrets, "a"), form: under2, want: untold},

		{name: "not as the file writes it, like the live one", config: configured(false), live: map[string]atrest.Encryption{"a": plain}, s: of(secrets, "a"), form: plain, want: left},
		{name: "under the key before, like the live one", config: configured(false), live: map[string]atrest.Encryption{"a": under1}, s: of(secrets, "a"), form: under1, want: left},
		{name: "as the file writes it", config: configured(false), live: map[string]atrest.Encryption{"a": under2}, s: of(secrets, "a"), form: under2, want: clean},
		{name: "of a resource that the file leaves in plaintext", config: configured(false), live: map[string]atrest.Encryption{"b": under2}, s: of(tokens, "a"), form: plain, want: clean},
		{name: "encrypted, of a resource that it leaves in plaintext", config: configured(false), live: map[string]atrest.Encryption{"b": under2}, s: of(tokens, "a"), form: under2, want: left},
		{name: "the key is lost, and the file encrypts something", config: configured(false), live: map[string]atrest.Encryption{}, form: plain, want: untold},
		{name: "two keys of that name", config: configured(true), live: map[string]atrest.Encryption{"a": under2}, s: of(secrets, "a"), form: under2, want: untold},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHome("", c.config)
			h.database = !c.none
			h.of[secrets] = make(map[atrest.Encryption]bool)
			for k, form := range c.live {
				h.forms = append(h.forms, form)
				h.live[of(secrets, k).key] = uint32(len(h.forms) - 1)
				h.of[secrets][form] = true
			}
			got := clean
			switch l, told := h.leftBehind(c.s, c.form); {
			case !told:
				got = untold
			case l:
				got = left
			}
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// of is a value of an object that is known by one letter.
func of(r verify.Resource, key string) subject {
	return subject{resource: r, name: r.String(), key: uint64(key[0]), keyKnown: true}
}

// Nothing that stands in bytes that belong to nothing is shown as a name: pages may have been used again in the middle of one.
func TestNoNameIsTakenFromFreePages(t *testing.T) {
	for _, value := range []string{"k8s:enc:aescbc:v1:hunter2-password: of the cluster", "k8s:enc:kms:v2:hunter2-password:\x0a\x02ab\x12\x03key", "k8s:enc:secretbox:v1:hunter2-password:" + string(bytes.Repeat([]byte{1}, 80))} {
		h := newHome("", nil)
		h.database = true
		s := h.newSearch(&part{File: File{Path: "db", Kind: Database}})
		s.take(carve.Value{Key: []byte("/registry/secrets/ns/a"), ModRevision: 7, Bytes: []byte(value)})
		for c := range h.counts {
			if c.Key != "" || c.KeyID != "" {
				t.Errorf("%q is shown as %q, %q", value, c.Key, c.KeyID)
			}
		}
		if len(h.counts) != 1 {
			t.Errorf("%q: %d counts", value, len(h.counts))
		}
	}
}

// Where the end of a name cannot be told the shorter one is shown, and nobody says that it is the one that is live.
func TestOpenNamesAreUntold(t *testing.T) {
	h := newHome("", nil)
	h.database = true
	h.forms, h.of[secrets] = []atrest.Encryption{under1}, map[atrest.Encryption]bool{under1: true}
	longer := under1
	longer.Key += ":old"
	h.add(History, &part{File: File{Path: "db", Kind: Database}}, of(secrets, "a"), []atrest.Encryption{under1, longer}, false)
	for _, c := range h.counts {
		if c.Untold != 1 || c.LeftBehind != 0 || c.Key != "key1" {
			t.Errorf("%+v", c)
		}
	}
}

// Nor is a resource, which stands in a key: one that nothing else has is told of as lost.
func TestNoResourceIsTakenFromFreePages(t *testing.T) {
	for k, want := range map[string]string{
		"/registry/hunter2.example.com/passwords/ns/a": "",
		"/registry/vault.example.com/tokens/ns/a":      tokens.String(),
		"/registry/secrets/ns/a":                       "secrets",
		"/registry/pods/ns/a":                          "pods",
	} {
		h := newHome("", nil)
		h.database, h.seen[tokens] = true, true
		h.newSearch(&part{File: File{Path: "db", Kind: Database}}).take(carve.Value{Key: []byte(k), ModRevision: 7, Bytes: []byte(`{"kind":"A","apiVersion":"v1"}`)})
		for c := range h.counts {
			if c.Resource != want {
				t.Errorf("%s is shown as %q", k, c.Resource)
			}
		}
	}
}
