package evidence

import (
	"encoding/json"
	"testing"

	"github.com/svmctl/svmctl/internal/encryption"
)

func TestScrubText(t *testing.T) {
	const arn = "arn:aws:kms:eu-central-1:123456789012:key/0d990263"
	h := encryption.KeyIDHash
	for _, c := range []struct {
		ids        []string
		text, want string
	}{
		{nil, "kms:vault:kek-1", "kms:vault:kek-1"},
		{[]string{"kek-1"}, "kms:vault:kek-1", "kms:vault:" + h("kek-1")},
		{[]string{"kek-1"}, "under kms:vault:kek-1, and kms:v:kek-1.", "under kms:vault:" + h("kek-1") + ", and kms:v:" + h("kek-1") + "."},
		{[]string{"kek-1"}, "kms:v:kek-10 kms:v:kek-1_ kms:v:kek-1-b", "kms:v:kek-10 kms:v:kek-1_ kms:v:kek-1-b"},
		{[]string{"kek-1", "kek-10"}, "kms:v:kek-10,kms:v:kek-1", "kms:v:" + h("kek-10") + ",kms:v:" + h("kek-1")},
		{[]string{"a/b", "a/b/c"}, "kms:v:a/b/c and kms:v:a/b", "kms:v:" + h("a/b/c") + " and kms:v:" + h("a/b")},
		{[]string{arn}, "--can-remove=kms:aws:" + arn, "--can-remove=kms:aws:" + h(arn)},
		{[]string{arn}, "until " + arn + " is gone, but not " + arn + "4", "until " + h(arn) + " is gone, but not " + arn + "4"},
		{[]string{"schlüssel"}, "kms:v:schlüssel", "kms:v:" + h("schlüssel")},
		{[]string{"a b"}, "kms:v:a b y", "kms:v:" + h("a b") + " y"},
		// A short ID is a word like any other.
		{[]string{"1", "v1", "17", "2026", "00Z", "apiservers"}, "1 of 2 apiservers, v1.37.2, 127.0.0.1, 2026-11-26T12:17:00Z, SC-28(1)", "1 of 2 apiservers, v1.37.2, 127.0.0.1, 2026-11-26T12:17:00Z, SC-28(1)"},
		{[]string{"kms"}, "kms kms: kms:a kms:kms:kms", "kms kms: kms:a kms:kms:" + h("kms")},
	} {
		s := (&Observed{KeyIDs: c.ids, Report: look{}.none()}).newScrubber()
		if got := s.text(c.text); got != c.want {
			t.Errorf("of %q without %q is left %q", c.text, c.ids, got)
		}
	}
}

// A key ID that is a word of the schema as well breaks no document, and is shown in no field that tells it.
func TestScrubDocument(t *testing.T) {
	for _, id := range []string{"kms", "v2", "keyID", "secrets", "plaintext", "1", "52", "true", "svmctl", "Z", `a"b\c`, "<&>", "vault"} {
		doc := map[string]any{"apiVersion": APIVersion, "provider": "kms", "version": "v2", "key": "vault", "keyID": id, "value": "kms:vault:" + id, "number": 1, "yes": true,
			"at": noon, "text": "it was " + id + ".", "list": []string{id, "kms:vault:" + id}, "empty": "", "nested": map[string]any{"keyID": id, "state": "plaintext", "resource": "secrets"}}
		s := (&Observed{KeyIDs: []string{id}, Report: look{}.none()}).newScrubber()
		text, err := s.encode(doc)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Errorf("%q: %v", id, err)
			continue
		}
		hash := hashOf(id)
		want := map[string]any{"provider": "kms", "version": "v2", "key": "vault", "keyID": hash, "value": "kms:vault:" + hash, "number": 1.0, "yes": true, "at": "2026-11-26T12:00:00Z"}
		for field, w := range want {
			if got[field] != w {
				t.Errorf("%q: %s is %v, and should be %v", id, field, got[field], w)
			}
		}
		if list := got["list"].([]any); list[0] != id || list[1] != "kms:vault:"+hash {
			t.Errorf("%q: the list is %v", id, list)
		}
		nested := got["nested"].(map[string]any)
		if nested["keyID"] != hash || nested["state"] != "plaintext" || nested["resource"] != "secrets" {
			t.Errorf("%q: nested is %v", id, nested)
		}
	}
}

// A bundle is sound whatever its key IDs are.
func TestOddKeyIDs(t *testing.T) {
	t.Parallel()
	server := start(t)
	for _, id := range []string{"kms", "v2", "secrets", "ok", "1", "2026", "00", "vault", "names", "identity", "aescbc", "etcd", "L1", "SVM-E1", "pass", "svmctl", "\x01\x02", "sha256", "hex:00", "ä"} {
		fill(t, server, values{"/registry/secrets/ns/a": kmsV2("vault", id), "/registry/secrets/ns/b": aescbc("key1")})
		o := look{expect: []string{"secrets=kms:vault"}}.live(t, server)
		dir, doc := write(t, o, Options{CSV: true})
		sound(t, dir)
		found := false
		for _, p := range doc.Scan.Population {
			found = found || p.KeyIDHash == hashOf(keyIDIn(o)) && p.Provider == "kms" && p.Version == "v2" && p.Key == "vault"
		}
		if !found {
			t.Errorf("%q: the population is %+v", id, doc.Scan.Population)
		}
	}
}

func keyIDIn(o *Observed) string {
	for _, e := range o.Report.Entries {
		if e.AtRest.KeyID != "" {
			return e.AtRest.KeyID
		}
	}
	return ""
}
