package carve

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const object = `{"apiVersion":"example.com/v1","kind":"K","metadata":{"name":"n"}}`

// secret is one in the storage format; the texts in it are what an object may hold.
func secret(t testing.TB, name string, data []byte) []byte {
	t.Helper()
	s := corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns"}}
	s.Data = map[string][]byte{"data": data, "more": []byte("canary-" + name)}
	s.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": object + "\n"}
	raw, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	unknown := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "Secret"}, Raw: raw}
	b, err := unknown.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte("k8s\x00"), b...)
}

// ciphertext is a value of that many bytes behind its prefix, none of which is text.
func ciphertext(n int) []byte {
	return append([]byte("k8s:enc:aescbc:v1:key1:"), bytes.Repeat([]byte{0x9c}, n)...)
}

// lies is what is expected of one value. Size is that of Bytes, -1 for any.
type lies struct {
	offset int
	key    string
	size   int
	cut    bool
}

func checkAll(t *testing.T, b []byte, want ...lies) {
	t.Helper()
	var got []lies
	for v := range Find(b) {
		l := lies{v.Offset, string(v.Key), len(v.Bytes), v.Cut}
		if i := len(got); i < len(want) && want[i].size < 0 {
			l.size = -1
		}
		got = append(got, l)
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %+v\nwant  %+v", got, want)
	}
}

// TestAdjacent has one value right behind another, and on both sides of where the search pauses.
func TestAdjacent(t *testing.T) {
	values := [][]byte{secret(t, "a", nil), ciphertext(48), []byte(object), []byte(`{ "kind" : "K", "apiVersion" : "v1" }`)}
	values = append(values, []byte{0xd9, 0xd9, 0xf7, 0xa1, 'D', 'k', 'i', 'n', 'd', 'A', 'K'})
	for shift := range 120 {
		b := make([]byte, window-300+shift)
		var want []lies
		for i, v := range values {
			name := fmt.Sprintf("/registry/k/%d", i)
			b = append(b, inDB(t, name, 7, v)...)
			want = append(want, lies{bytes.LastIndex(b, v), name, len(v), false})
		}
		checkAll(t, b, want...)
	}
}

// TestInside has values, and text that looks like one, inside of others.
func TestInside(t *testing.T) {
	const outer, inner = "/registry/secrets/ns/outer", "/registry/secrets/ns/inner"
	copied := inDB(t, inner, 9, secret(t, "inner", nil))[8+1+8:] // without the key of bbolt
	for name, data := range map[string][]byte{
		"prefix":         ciphertext(64),
		"object":         []byte(object),
		"copy of values": slices.Concat(copied, copied),
		"copy of a WAL":  inWAL(t, inner, ciphertext(64)),
	} {
		t.Run(name, func(t *testing.T) {
			v := secret(t, "outer", data)
			for _, b := range [][]byte{inDB(t, outer, 9, v), inWAL(t, outer, v)} {
				at := bytes.LastIndex(b, v)
				checkAll(t, b, lies{at, outer, len(v), false})
				// The rest of the page is lost. What has etcd's own header may as well have overwritten it, and counts.
				end := bytes.LastIndex(b, data) + len(data) + 1
				want := []lies{{at, outer, -1, true}}
				for n := range 2 {
					if i := nth(data, copied, n); i >= 0 {
						want = append(want, lies{end - 1 - len(data) + i + bytes.Index(copied, []byte("k8s\x00")), inner, -1, false})
					}
				}
				if i := bytes.Index(data, ciphertext(64)); i > 0 {
					want = append(want, lies{end - 1 - len(data) + i, inner, -1, false})
				}
				checkAll(t, b[:end], want...)
				// Without a header it ends by itself.
				checkAll(t, b[at:], lies{0, "", len(v), false})
				second := inDB(t, inner, 9, v)
				checkAll(t, slices.Concat(v, second), lies{0, "", len(v), false}, lies{len(v) + bytes.Index(second, v), inner, len(v), false})
			}
			// Of an object whose beginning is missing, entries of its maps are no values.
			b := v[bytes.Index(v, []byte("kubectl.kub"))-2:]
			if name == "object" || name == "prefix" {
				checkAll(t, b)
			}
		})
	}
}

func nth(b, part []byte, n int) int {
	at := 0
	for ; n > 0; n-- {
		i := bytes.Index(b[at:], part)
		if i < 0 {
			return -1
		}
		at += i + len(part)
	}
	if i := bytes.Index(b[at:], part); i >= 0 {
		return at + i
	}
	return -1
}

// TestPageInside has a page in the middle of a large field: it was overwritten there, or an object holds a db file.
func TestPageInside(t *testing.T) {
	const outer, inner = "/registry/secrets/ns/outer", "/registry/secrets/ns/inner"
	page := slices.Concat(make([]byte, 40), inDB(t, inner, 9, ciphertext(64)), inDB(t, inner, 12, secret(t, "inner", nil)), []byte(object))
	for name, v := range map[string][]byte{
		"protobuf": secret(t, "outer", page),
		"cbor":     slices.Concat([]byte("\xd9\xd9\xf7\xa2DkindAKDdata\x59"), []byte{byte(len(page) >> 8), byte(len(page))}, page),
	} {
		t.Run(name, func(t *testing.T) {
			b := inDB(t, outer, 15, v)
			at := bytes.Index(b, v)
			first, second := bytes.Index(b, ciphertext(64)), bytes.LastIndex(b, []byte("k8s\x00"))
			checkAll(t, b,
				lies{at, outer, bytes.Index(b, []byte("\n\x1a"+inner)) - at, true},
				lies{first, inner, len(ciphertext(64)), false},
				lies{second, inner, len(secret(t, "inner", nil)), false},
				lies{bytes.LastIndex(b, page) + len(page) - len(object), "", len(object), false})
		})
	}
}

// TestClaimed has CBOR behind the beginning of CBOR that claims all of it.
func TestClaimed(t *testing.T) {
	v := []byte("\xd9\xd9\xf7\xa2DkindAKDdata\x58\x80" + object)
	v = append(v, make([]byte, 128-len(object))...)
	first := slices.Concat([]byte("\xd9\xd9\xf7\xa2DkindAKDdata\x59\x40\x00"), make([]byte, 100))
	b := inDB(t, "/registry/k/0", 9, append(first, make([]byte, 0x4000)...))
	b = slices.Concat(b[:bytes.Index(b, first)+len(first)],
		inDB(t, "/registry/k/1", 10, v), inWAL(t, "/registry/k/2", v), v, inDB(t, "/registry/k/3", 11, v))
	var at []int
	for i := range b {
		if bytes.HasPrefix(b[i:], []byte("\xd9\xd9\xf7")) {
			at = append(at, i)
		}
	}
	checkAll(t, b,
		lies{at[0], "/registry/k/0", -1, true}, lies{at[1], "/registry/k/1", len(v), false}, lies{at[2], "/registry/k/2", len(v), false},
		lies{at[3], "", len(v), false}, lies{at[4], "/registry/k/3", len(v), false})
}

// TestOverwritten has values whose rest became another page.
func TestOverwritten(t *testing.T) {
	const old, young = "/registry/secrets/ns/old", "/registry/secrets/ns/young"
	page := slices.Concat(make([]byte, 40), inDB(t, young, 9, secret(t, "young", nil)))
	in := bytes.Index(page, []byte("k8s\x00"))
	size := len(secret(t, "young", nil))
	for name, v := range map[string][]byte{
		"protobuf":   secret(t, "old", make([]byte, 1000)),
		"ciphertext": ciphertext(1024),
		"json":       []byte(`{"apiVersion":"v1","kind":"K","data":"` + strings.Repeat("x", 1000) + `"}`),
		"cbor":       slices.Concat([]byte("\xd9\xd9\xf7\xa2DkindAKDdata\x59\x04\x00"), make([]byte, 1024)),
	} {
		t.Run(name, func(t *testing.T) {
			b := inDB(t, old, 9, v)
			at := bytes.Index(b, v)
			overwritten := slices.Concat(b[:at+400], page)
			overwritten = append(overwritten, b[min(len(overwritten), len(b)):]...)
			header := at + 400 + bytes.Index(page, []byte("\n\x1a"+young))
			checkAll(t, overwritten, lies{at, old, header - at, true}, lies{at + 400 + in, young, size, false})
			// The page that follows begins in the middle of a value, behind its header.
			overwritten = slices.Concat(b[:at+400], make([]byte, 40), ciphertext(64))
			want := []lies{{at, old, -1, true}, {at + 440, "", 64 + 23, true}}
			if name == "protobuf" || name == "cbor" {
				want = want[:1] // it might be text in the object
			}
			checkAll(t, overwritten, want...)
		})
	}
}

func TestNoValues(t *testing.T) {
	for name, b := range map[string]string{
		"docs":                docs,
		"unknown provider":    "\x00k8s:enc:rot13:v1:key1:\x9c\x9c",
		"unknown version":     "\x00k8s:enc:aescbc:v2:key1:\x9c\x9c",
		"no name":             "\x00k8s:enc:aescbc:v1::\x9c\x9c",
		"long name":           "\x00k8s:enc:aescbc:v1:" + strings.Repeat("n", 257) + ":\x9c\x9c",
		"owner reference":     `s":[{"apiVersion":"v1","kind":"K","uid":"u"}]`,
		"second in an array":  `}, {"apiVersion":"v1","kind":"K","uid":"u"}]`,
		"template":            "\"template\": \n{\"kind\":\"K\",\"apiVersion\":\"v1\",\"uid\":\"u\"}",
		"far kind":            `{"apiVersion":"v1","x":"` + strings.Repeat("x", 512) + `","kind":"K"}`,
		"inner kind":          `{"apiVersion":"v1","x":{"kind":"K"}}`,
		"another member":      `{"x":1,"apiVersion":"v1","kind":"K"}`,
		"kind is no string":   `{"apiVersion":"v1","kind":{}}`,
		"protobuf of another": "k8s\x00\x0a\x04\x0a\x02v1",
		"CBOR without a kind": "\xd9\xd9\xf7\xa1CkinAK",
		"CBOR array":          "\xd9\xd9\xf7\x81DkindAK",
		"tombstone":           string(marshal(t, &mvccpb.KeyValue{Key: []byte(key)})),
		"number":              string(inDB(t, "compact_rev_key", 9, []byte("12345"))),
		"other JSON":          string(inDB(t, "/coreos.com/network/config", 9, []byte(`{"Network":"10.0.0.0/8"}`))),
	} {
		if got := find([]byte(b)); len(got) > 0 {
			t.Errorf("%s: found at %v", name, offsets(got))
		}
	}
}

// TestNoHeader has what is in front of a value look like a header, and be none.
func TestNoHeader(t *testing.T) {
	v := string(secret(t, "a", nil))
	for name, front := range map[string]string{
		"key too short":          "\n\x04/key1\x10\x01\x18\x02\x20\x01\x2a\xff\x01",
		"no key":                 "\x10\x01\x18\x02\x20\x01\x2a\xff\x01",
		"control character":      "\n\x04/k\n1\x10\x01\x18\x02\x20\x01\x2a\xff\x01",
		"created later":          "\n\x04/key\x10\x03\x18\x02\x20\x01\x2a\xff\x01",
		"revision 0":             "\n\x04/key\x10\x00\x18\x00\x20\x01\x2a\xff\x01",
		"long form":              "\n\x04/key\x10\x01\x18\x82\x00\x20\x01\x2a\xff\x01",
		"tag":                    "\n\x04/key\x10\x01\x18\x02\x28\x01\x2a\xff\x01",
		"beyond any value":       "\n\x04/key\x10\x01\x18\x02\x20\x01\x2a\xff\xff\xff\xff\x0f",
		"key without its length": "/key\x12\xff\x01",
		"varint without end":     strings.Repeat("\xff", 20) + "\x01",
		"nothing":                "",
	} {
		got := find([]byte(front + v))
		if len(got) != 1 || got[0].Offset != len(front) || got[0].Key != nil {
			t.Errorf("%s: found %+v", name, got)
			continue
		}
		if known := name == "no key" || name == "key too short" || name == "control character"; (got[0].ModRevision == 2) != known {
			t.Errorf("%s: revision %d", name, got[0].ModRevision)
		}
	}
}

// TestKeys has keys of every length whose form differs.
func TestKeys(t *testing.T) {
	for _, n := range []int{1, 2, 9, 10, 11, 31, 32, 127, 128, 129, 2047, 4095, 4096, 4097} {
		name := "/" + strings.Repeat("é", (n-1)/2) + strings.Repeat("k", (n-1)%2)
		for form, b := range map[string][]byte{"db": inDB(t, name, 1<<40, []byte(object)), "wal": inWAL(t, name, []byte(object))} {
			got := find(b)
			if len(got) != 1 || (string(got[0].Key) == name) != (n <= maxKey) {
				t.Errorf("%s: key of %d bytes: found %+v", form, n, got)
			}
		}
	}
	// The key itself looks like a value.
	name := "/registry/clusterroles/k8s:enc:aescbc:v1:key1:x"
	b := inDB(t, name, 9, []byte(object))
	checkAll(t, b, lies{bytes.Index(b, []byte(object)), name, len(object), false})
}

func TestStop(t *testing.T) {
	b := bytes.Repeat(inDB(t, key, 9, []byte(object)), 5)
	for limit := 1; limit <= 5; limit++ {
		n := 0
		for range Find(b) {
			if n++; n == limit {
				break
			}
		}
		if n != limit {
			t.Errorf("%d values", n)
		}
	}
}
