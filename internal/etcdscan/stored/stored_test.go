package stored

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"sigs.k8s.io/yaml"
)

func TestParseKubernetesTestdata(t *testing.T) {
	seen := map[Encoding]int{}
	for _, f := range apiFiles(t) {
		seen[f.want.Encoding]++
		h, err := Parse(f.read(t))
		if err != nil || h.Type != f.want {
			t.Errorf("%s: %+v, %v", f.path, h.Type, err)
		}
		// Every stored kind has ObjectMeta, and these files give every string the name of its field.
		if stored := f.inTestdata("core.v1.Secret") || f.inTestdata("apps.v1.Deployment") || f.inTestdata("storage.k8s.io.v1.CSINode"); stored &&
			(h.Name != "nameValue" || h.Namespace != "namespaceValue" || !h.Terminating) {
			t.Errorf("%s: %+v", f.path, h)
		}
	}
	for _, e := range []Encoding{Protobuf, JSON, YAML} {
		if seen[e] < 500 {
			t.Errorf("%d %s objects", seen[e], e)
		}
	}
}

// A value that was cut off must not be read as a whole one. YAML alone cannot tell: every line of it is an end.
func TestParseTruncated(t *testing.T) {
	for _, f := range apiFiles(t) {
		if !f.inTestdata("core.v1.Secret") && !f.inTestdata("core.v1.Pod") && !f.inTestdata("discovery.k8s.io.v1.EndpointSlice") {
			continue
		}
		payload := f.read(t)
		if f.inTestdata("core.v1.Pod") && f.want.Encoding != Protobuf {
			continue // large: half a minute
		}
		checkTruncated(t, f.path, payload, f.want)
	}
	checkTruncated(t, "CBOR", encodeCBOR(t), Type{"stable.example.com/v1", "SelfieRequest", CBOR})
}

func checkTruncated(t *testing.T, name string, payload []byte, want Type) {
	t.Helper()
	whole := len(bytes.TrimRight(payload, "\n")) // white space behind JSON carries nothing
	if want.Encoding != JSON {
		whole = len(payload)
	}
	for n := range whole {
		h, err := Parse(payload[:n])
		switch {
		case err != nil && h != Header{}:
			t.Fatalf("%s: %d bytes: header %+v with an error", name, n, h)
		case err == nil && want.Encoding != YAML:
			t.Fatalf("%s: %d of %d bytes: read as %+v", name, n, len(payload), h)
		case err == nil && !strings.HasPrefix(want.Kind, h.Kind):
			t.Fatalf("%s: %d bytes: read as %+v", name, n, h)
		}
	}
}

func TestParseTrailing(t *testing.T) {
	for _, f := range apiFiles(t) {
		if !f.inTestdata("core.v1.Secret") {
			continue
		}
		payload := f.read(t)
		for _, tail := range []string{"\x00", "x", "}", "\x28\x01", "\x1a\x00", "\n---\nx: y\n", "{}", "\xff\xff"} {
			if f.want.Encoding == YAML && tail == "x" {
				continue // one more character of the last plain scalar
			}
			if h, err := Parse(append(bytes.Clone(payload), tail...)); err == nil {
				t.Errorf("%s with %q behind it: %+v", f.path, tail, h)
			}
		}
	}
	if h, err := Parse(append(encodeCBOR(t), 0)); err != ErrCBOR {
		t.Errorf("CBOR with a byte behind it: %+v, %v", h, err)
	}
}

func customResource() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "stable.example.com/v1",
		"kind":       "SelfieRequest",
		"metadata":   map[string]any{"name": "s", "namespace": "default", "uid": "7f3c9a52-0000-4000-8000-000000000001", "generation": int64(1)},
		"spec":       map[string]any{"kind": "Other", "apiVersion": "v9", "numbers": []any{int64(1), 2.5, nil, true}},
	}}
}

func encodeCBOR(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := cbor.NewSerializer(runtime.NewScheme(), runtime.NewScheme()).Encode(customResource(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// largeSecret is a protobuf secret of 1.1 kB.
func largeSecret(t testing.TB) []byte {
	t.Helper()
	secret := &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: "default", UID: "7f3c9a52-0000-4000-8000-000000000001", Labels: map[string]string{"app": "db"}},
		Data:       map[string][]byte{"password": make([]byte, 900)},
		Type:       corev1.SecretTypeOpaque,
	}
	var b bytes.Buffer
	if err := protobuf.NewSerializer(nil, nil).Encode(secret, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestParseCustomResource(t *testing.T) {
	want := Header{Namespace: "default", Name: "s"}
	asJSON, err := json.Marshal(customResource())
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(customResource())
	if err != nil {
		t.Fatal(err)
	}
	payloads := map[Encoding][]byte{JSON: asJSON, YAML: asYAML, CBOR: encodeCBOR(t)}
	for encoding, payload := range payloads {
		want.Type = Type{"stable.example.com/v1", "SelfieRequest", encoding}
		if h, err := Parse(payload); err != nil || h != want {
			t.Errorf("%s: %+v, %v", encoding, h, err)
		}
	}
	if payloads[CBOR][3]&0xe0 != 0xa0 || !bytes.Contains(payloads[CBOR], []byte("Dkind")) {
		t.Errorf("the serializer no longer writes a map with byte-string keys: test that anew")
	}
}

// Objects without registered types work: here one that the test itself declares.
func TestParseProtobufUnknown(t *testing.T) {
	metadata := "\n\x01n\x1a\x02ns\x2a\x01u"
	raw := []byte("\n" + string(rune(len(metadata))) + metadata)
	encode := func(u runtime.Unknown) []byte {
		var b bytes.Buffer
		if err := protobuf.NewSerializer(nil, nil).Encode(&u, &b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	typeMeta := runtime.TypeMeta{APIVersion: "a.b/v1", Kind: "K"}
	for name, tc := range map[string]struct {
		unknown runtime.Unknown
		want    Header
		err     error
	}{
		"plain":             {runtime.Unknown{TypeMeta: typeMeta, Raw: raw}, Header{Type{"a.b/v1", "K", Protobuf}, "ns", "n", false}, nil},
		"content type":      {runtime.Unknown{TypeMeta: typeMeta, Raw: raw, ContentType: runtime.ContentTypeProtobuf}, Header{Type{"a.b/v1", "K", Protobuf}, "ns", "n", false}, nil},
		"no fields":         {runtime.Unknown{TypeMeta: typeMeta, Raw: []byte{}}, Header{Type: Type{"a.b/v1", "K", Protobuf}}, nil},
		"JSON inside":       {runtime.Unknown{TypeMeta: typeMeta, Raw: []byte("{}"), ContentType: runtime.ContentTypeJSON}, Header{}, ErrWrapped},
		"compressed":        {runtime.Unknown{TypeMeta: typeMeta, Raw: raw, ContentEncoding: "gzip"}, Header{}, ErrWrapped},
		"raw cut off":       {runtime.Unknown{TypeMeta: typeMeta, Raw: raw[:len(raw)-1]}, Header{}, ErrProtobuf},
		"raw with garbage":  {runtime.Unknown{TypeMeta: typeMeta, Raw: append(bytes.Clone(raw), 0xff)}, Header{}, ErrProtobuf},
		"metadata cut off":  {runtime.Unknown{TypeMeta: typeMeta, Raw: []byte("\n\x02\n\x05")}, Header{Type: Type{"a.b/v1", "K", Protobuf}}, nil},
		"no kind":           {runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1"}, Raw: raw}, Header{}, ErrType},
		"no version":        {runtime.Unknown{TypeMeta: runtime.TypeMeta{Kind: "K"}, Raw: raw}, Header{}, ErrType},
		"kind with a space": {runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "K K"}, Raw: raw}, Header{}, ErrType},
	} {
		if h, err := Parse(encode(tc.unknown)); h != tc.want || err != tc.err {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

func TestParseText(t *testing.T) {
	secret := Type{"v1", "Secret", JSON}
	inYAML := Type{"v1", "Secret", YAML}
	for payload, want := range map[string]struct {
		header Header
		err    error
	}{
		"":                                    {Header{}, ErrEmpty},
		"\x00\x01":                            {Header{}, ErrEncoding},
		"k8s":                                 {Header{}, ErrEncoding},
		"k8s\x00":                             {Header{}, ErrProtobuf},
		"\xd9\xd9\xf7":                        {Header{}, ErrCBOR},
		"\xd9\xd9\xf7\xa0":                    {Header{}, ErrType},
		"plain text":                          {Header{}, ErrEncoding},
		`{}`:                                  {Header{}, ErrType},
		`[]`:                                  {Header{}, ErrEncoding},
		`{"apiVersion":"v1"}`:                 {Header{}, ErrType},
		`{"apiVersion":"v1","kind":null}`:     {Header{}, ErrType},
		`{"apiVersion":"v1","Kind":"Secret"}`: {Header{}, ErrType},
		`{"apiVersion":"v1","kind":5}`:        {Header{}, ErrJSON},
		`{"apiVersion":"v1","kind":"Secret"}`: {Header{Type: secret}, nil},
		" {\n \"kind\" : \"Secret\" , \"apiVersion\" : \"v1\" }\n ":                                               {Header{Type: secret}, nil},
		`{"apiVersion":"v1","kind":"Secret","metadata":null}`:                                                     {Header{Type: secret}, nil},
		`{"apiVersion":"v1","kind":"Secret","metadata":[]}`:                                                       {Header{}, ErrJSON},
		`{"apiVersion":"v1","kind":"Secret","metadata":{"name":1}}`:                                               {Header{}, ErrJSON},
		`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","name":"b"}}`:                                  {Header{}, ErrJSON},
		`{"apiVersion":"v1","kind":"Secret","kind":"Secret"}`:                                                     {Header{}, ErrJSON},
		`{"apiVersion":"v1","kind":"Secret","metadata":{},"metadata":{}}`:                                         {Header{}, ErrJSON},
		`{"spec":{"kind":"X","metadata":{"name":"x"}},"apiVersion":"v1","kind":"Secret"}`:                         {Header{Type: secret}, nil},
		`{"\u0061piVersion":"v1","kind":"\u0053ecret","metadata":{"name":"\u00e9","Name":"x"}}`:                   {Header{Type: secret, Name: "é"}, nil},
		`{"apiVersion":"v1","kind":"Secret"}x`:                                                                    {Header{}, ErrJSON},
		`{"apiVersion":"v1","kind":"Secret"}{}`:                                                                   {Header{}, ErrJSON},
		`{"apiVersion":"v1","kind":"Secret",}`:                                                                    {Header{}, ErrJSON},
		`{"apiVersion":"v1","kind":"Secret","a":01}`:                                                              {Header{}, ErrJSON},
		`{"apiVersion":"v1","kind":"Se` + "\n" + `cret"}`:                                                         {Header{}, ErrJSON},
		`{"apiVersion":"/v1","kind":"Secret"}`:                                                                    {Header{}, ErrType},
		`{"apiVersion":"a/b/v1","kind":"Secret"}`:                                                                 {Header{}, ErrType},
		`{"apiVersion":"s3cr3t!","kind":"Secret"}`:                                                                {Header{}, ErrType},
		`{"apiVersion":"v1","kind":"Secret","a":` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999) + `}`:   {Header{Type: secret}, nil},
		`{"apiVersion":"v1","kind":"Secret","a":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`: {Header{}, ErrJSON},

		"apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\n  namespace: b\n": {Header{inYAML, "b", "a", false}, nil},
		"---\n# comment\ndata: {}\nkind: Secret\napiVersion: v1":               {Header{Type: inYAML}, nil},
		"data: |\n  ---\n  *x &y\nkind: Secret\napiVersion: v1\n":              {Header{Type: inYAML}, nil},
		"apiVersion: v1\nkind: Secret\n---\nkind: Other\n":                     {Header{}, ErrYAML},
		"apiVersion: v1\nkind: Secret\u2028---\u2028kind: Other\n":             {Header{}, ErrYAML},
		"apiVersion: v1\nkind: Secret\n...\n":                                  {Header{}, ErrYAML},
		"apiVersion: v1\nkind: Secret\nx: [\n":                                 {Header{}, ErrYAML},
		"apiVersion: v1\nkind: true\n":                                         {Header{}, ErrYAML},
		"apiVersion: v1\nkind: Secret\nmetadata:\n  name: 5\n":                 {Header{}, ErrYAML},
		"- apiVersion: v1\n  kind: Secret\n":                                   {Header{}, ErrYAML},
		"apiVersion kind":                                                      {Header{}, ErrYAML},
		"apiVersion: v1\nkind: S\x01\n":                                        {Header{}, ErrEncoding},
	} {
		if h, err := Parse([]byte(payload)); h != want.header || err != want.err {
			t.Errorf("%.80q: %+v, %v", payload, h, err)
		}
	}
}

// Aliases that would come to gigabytes must cost nothing.
func TestParseAliasBomb(t *testing.T) {
	long := "a: &a \"" + strings.Repeat("x", 1<<20) + "\"\nb: [" + strings.Repeat("*a,", 100_000) + "*a]\n"
	deep := "x0: &x0 [l,l,l,l,l,l,l,l,l]\n"
	for i := range 20 {
		deep += strings.NewReplacer("N", string(rune('a'+i+1)), "P", string(rune('a'+i))).Replace("xN: &xN [*xP,*xP,*xP,*xP,*xP,*xP,*xP,*xP]\n")
	}
	deep = strings.Replace(deep, "x0: &x0", "xa: &xa", 1)
	for _, bomb := range []string{long, deep, deep + "metadata:\n  name: *xu\n", deep + "metadata: *xu\n"} {
		start := time.Now()
		h, err := Parse([]byte("apiVersion: v1\nkind: Secret\n" + bomb))
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %v: %+v, %v", took, h.Type, err)
		}
		if err != nil && !errors.Is(err, ErrYAML) {
			t.Error(err)
		}
	}
}

// A flipped bit may be read as another name, but never shown as anything that no object can be called.
func TestParseFlipped(t *testing.T) {
	for _, f := range apiFiles(t) {
		if !f.inTestdata("core.v1.Secret") {
			continue
		}
		payload := f.read(t)
		for i := range payload {
			for bit := range 8 {
				payload[i] ^= 1 << bit
				if h, err := Parse(payload); err == nil && (!validAPIVersion(h.APIVersion) || !validKind(h.Kind)) {
					t.Fatalf("%s, bit %d of byte %d: %q %q", f.path, bit, i, h.APIVersion, h.Kind)
				}
				payload[i] ^= 1 << bit
			}
		}
	}
}

func TestTypeJSON(t *testing.T) {
	b, err := json.Marshal(Type{"apps/v1", "Deployment", Protobuf})
	if err != nil || string(b) != `{"apiVersion":"apps/v1","kind":"Deployment","encoding":"protobuf"}` {
		t.Errorf("%s, %v", b, err)
	}
}
