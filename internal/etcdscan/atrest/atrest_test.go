package atrest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func body(n int) string { return strings.Repeat("\xa5", n) }

func TestParse(t *testing.T) {
	long := strings.Repeat("n", maxName)
	for _, tc := range []struct {
		value string
		key   string
		ends  []int
		guess bool
		fault string
	}{
		{"aescbc:v1:key1:" + body(32), "key1", nil, false, ""},
		{"aescbc:v1:key1:" + body(48), "key1", nil, false, ""},
		{"aescbc:v1:key1:" + body(33), "key1", nil, false, FaultAESCBCLength},
		{"aescbc:v1:key1:" + body(16), "key1", nil, false, FaultAESCBCLength},
		{"aescbc:v1:a:b:" + body(32), "a:b", nil, true, ""},                                  // "b:" makes no whole block
		{"aescbc:v1:a:b:" + body(30), "a", nil, true, ""},                                    // but it may be part of one
		{"aescbc:v1:a:123456789012345:" + body(32), "a:123456789012345", []int{1}, true, ""}, // and here nothing tells
		{"aescbc:v1:a:b:c" + body(32), "a", nil, true, FaultAESCBCLength},                    // none is possible: the first one
		{"aesgcm:v1:key1:" + body(28), "key1", nil, false, ""},
		{"aesgcm:v1:key1:" + body(27), "key1", nil, false, FaultAESGCMLength},
		{"aesgcm:v1:key1:ab:" + body(25), "key1", nil, true, ""}, // too short behind the longer one
		{"aesgcm:v1:key1:ab:" + body(28), "key1:ab", []int{4}, true, ""},
		{"aesgcm:v1:a:b:c:d:" + body(28), "a:b:c:d", []int{1, 3, 5}, true, ""},
		{"aesgcm:v1::a:" + body(28), ":a", nil, false, ""}, // legal, if odd
		{"aesgcm:v1:a::" + body(28), "a:", []int{1}, true, ""},
		{"aesgcm:v1:a b~:" + body(28), "a b~", nil, false, ""},
		{"secretbox:v1:key1:" + body(40), "key1", nil, false, ""},
		{"secretbox:v1:key1:" + body(39), "key1", nil, false, FaultSecretboxLength},
		{"secretbox:v1:" + long + ":" + body(40), long, nil, false, ""},
		{"secretbox:v1:" + long + "n:" + body(40), "", nil, false, FaultNoKeyName},
		{"secretbox:v1:\x7f:" + body(40), "", nil, false, FaultNoKeyName},
		{"secretbox:v1:schl\xc3\xbcssel:" + body(40), "", nil, false, FaultNoKeyName},
		{"kms:v1:vault:\x00\x03dek" + body(28), "vault", nil, false, ""},
		{"kms:v1:vault:\x00\x03dek" + body(27), "vault", nil, false, FaultKMSv1Frame},
		{"kms:v1:vault:\x00", "vault", nil, false, FaultKMSv1Frame},
		{"kms:v1:vault:eu:\x00\x03dek" + body(28), "vault:eu", nil, true, ""},
		{"kms:v2:vault:", "vault", nil, false, FaultKMSv2Frame},
		{"kms:v2:" + long + "n:", "", nil, false, FaultNoKeyName},
	} {
		v := Parse([]byte("k8s:enc:" + tc.value))
		e := v.Encryption
		if e.Key != tc.key || !slices.Equal(v.Ends, tc.ends) || e.KeyInferred != tc.guess || v.Fault != tc.fault {
			t.Errorf("%q: %+v, ends %v, fault %q", tc.value, e, v.Ends, v.Fault)
		}
		if !strings.HasPrefix(tc.value, string(e.Provider)+":"+e.Version+":") {
			t.Errorf("%q: %+v", tc.value, e)
		}
	}
}

func TestShowKeyID(t *testing.T) {
	for id, want := range map[string]string{
		"kek-2":                         "kek-2",
		"projects/p/keys/k with spaces": "projects/p/keys/k with spaces",
		"schlüssel":                     "schlüssel",
		"\x00":                          "hex:00",
		"a\nb":                          "hex:610a62",
		"\u202etxt":                     "hex:e280ae747874",
		"hex:00":                        "hex:6865783a3030",
		"\xff":                          "hex:ff",
	} {
		if got := ShowKeyID(id); got != want {
			t.Errorf("%q: %q", id, got)
		}
	}
}

func TestEncryptionJSON(t *testing.T) {
	b, err := json.Marshal(Encryption{Provider: KMS, Version: V2, Key: "vault", KeyID: "kek-2"})
	if err != nil || string(b) != `{"provider":"kms","version":"v2","key":"vault","keyID":"kek-2","keyInferred":false}` {
		t.Errorf("%s, %v", b, err)
	}
}

// Values are read by the million, and nearly all have a name that was seen before.
func TestParseAllocates(t *testing.T) {
	for _, value := range []string{"{}", "k8s:enc:aescbc:v1:key1:" + body(320), "k8s:enc:kms:v1:vault:\x00\x03dek" + body(280)} {
		b := []byte(value)
		if n := testing.AllocsPerRun(100, func() { Parse(b) }); n != 0 {
			t.Errorf("%.20q: %v allocations", value, n)
		}
	}
}

func TestInterned(t *testing.T) {
	var in interned
	for i := range 2 * maxInterned {
		if name := fmt.Sprint(i); in.intern([]byte(name)) != name {
			t.Fatal(name)
		}
	}
	if n := len(*in.seen.Load()); n != maxInterned {
		t.Errorf("%d names", n)
	}
}

func BenchmarkParse(b *testing.B) {
	for name, value := range map[string]string{
		"identity": "k8s\x00" + body(1100),
		"aescbc":   "k8s:enc:aescbc:v1:key1:" + body(1104),
		"k3s":      "k8s:enc:aescbc:v1:" + k3sCBC + ":" + body(1104),
	} {
		b.Run(name, func(b *testing.B) {
			v := []byte(value)
			b.ReportAllocs()
			for b.Loop() {
				Parse(v)
			}
		})
	}
}
