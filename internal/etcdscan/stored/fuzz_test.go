package stored

import (
	"bytes"
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/svmctl/svmctl/testdata/vectors"
)

var cborSerializer = cbor.NewSerializer(runtime.NewScheme(), runtime.NewScheme())

// header is what Kubernetes would read of a JSON object.
type header struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name              string `json:"name"`
		Namespace         string `json:"namespace"`
		DeletionTimestamp any    `json:"deletionTimestamp"`
	} `json:"metadata"`
}

// checkPayload states what holds for every payload, and that Kubernetes' own decoders agree.
func checkPayload(t *testing.T, payload []byte) {
	t.Helper()
	before := bytes.Clone(payload)
	h, err := Parse(payload)
	if !bytes.Equal(before, payload) {
		t.Fatal("payload was changed")
	}
	if err != nil {
		if h != (Header{}) {
			t.Fatalf("%+v and %v", h, err)
		}
		if err == ErrJSON {
			checkRefused(t, payload)
		}
		return
	}
	if !validAPIVersion(h.APIVersion) || !validKind(h.Kind) {
		t.Fatalf("%q %q", h.APIVersion, h.Kind)
	}
	switch h.Encoding {
	case JSON:
		var want header
		if err := kjson.UnmarshalCaseSensitivePreserveInts(payload, &want); err != nil {
			t.Fatal(err)
		}
		got := header{APIVersion: h.APIVersion, Kind: h.Kind}
		got.Metadata.Name, got.Metadata.Namespace = h.Name, h.Namespace
		if h.Terminating != (want.Metadata.DeletionTimestamp != nil) {
			t.Fatalf("terminating %v, want %v", h.Terminating, want.Metadata.DeletionTimestamp)
		}
		want.Metadata.DeletionTimestamp = nil
		if got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	case Protobuf:
		var unknown runtime.Unknown
		if err := unknown.Unmarshal(payload[len(protobufPrefix):]); err != nil {
			t.Fatal(err)
		}
		if unknown.APIVersion != h.APIVersion || unknown.Kind != h.Kind {
			t.Fatalf("%+v, want %+v", h, unknown.TypeMeta)
		}
	case CBOR:
		var object unstructured.Unstructured
		if _, _, err := cborSerializer.Decode(payload, nil, &object); err != nil {
			return // stricter about what lies in fields that are not read here
		}
		if object.GetAPIVersion() != h.APIVersion || object.GetKind() != h.Kind || object.GetNamespace() != h.Namespace || object.GetName() != h.Name {
			t.Fatalf("%+v, want %v", h, object.Object)
		}
	case YAML:
		if bytes.IndexByte(payload, '*') >= 0 {
			return // aliases may come to gigabytes there
		}
		asJSON, err := yaml.YAMLToJSON(payload)
		if err != nil {
			return // keys that JSON cannot have
		}
		var want header
		if err := kjson.UnmarshalCaseSensitivePreserveInts(asJSON, &want); err != nil {
			t.Fatal(err)
		}
		if want.APIVersion != h.APIVersion || want.Kind != h.Kind || want.Metadata.Name != h.Name || want.Metadata.Namespace != h.Namespace {
			t.Fatalf("%+v, want %+v", h, want)
		}
	default:
		t.Fatalf("encoding %q", h.Encoding)
	}
}

// checkRefused compares with Kubernetes on JSON that was refused: it is refused there too, or a field occurs twice.
func checkRefused(t *testing.T, payload []byte) {
	t.Helper()
	var want header
	if kjson.UnmarshalCaseSensitivePreserveInts(payload, &want) != nil {
		return
	}
	if strict, err := kjson.UnmarshalStrict(payload, &map[string]any{}); err == nil && len(strict) == 0 && json.Valid(payload) {
		t.Fatal("Kubernetes reads it, and nothing occurs twice")
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range vectors.Load(f) {
		f.Add(c.Value)
	}
	for _, file := range apiFiles(f) {
		if file.inTestdata("core.v1.Secret") || file.inTestdata("coordination.k8s.io.v1.Lease") {
			f.Add(file.read(f))
		}
	}
	f.Add([]byte(`{"apiVersion":"v1","kind":"K","metadata":{"name":"\ud800","deletionTimestamp":null},"a":[1,-0.5e+1,true,[],{}]}`))
	f.Add(encodeCBOR(f))
	f.Add([]byte("kind: K\napiVersion: v1\nmetadata: {name: n, <<: {namespace: ns}}\n"))
	f.Add([]byte("{apiVersion: v1, kind: K}"))
	f.Add([]byte("? apiVersion\n: !!str v1\nkind: \"K\"\n"))
	f.Fuzz(checkPayload)
}

func BenchmarkParse(b *testing.B) {
	payloads := map[string][]byte{"cbor": encodeCBOR(b)}
	for _, f := range apiFiles(b) {
		if f.inTestdata("core.v1.Secret") {
			payloads["secret "+string(f.want.Encoding)] = f.read(b)
		}
	}
	payloads["secret 1.1 kB"] = largeSecret(b)
	for name, payload := range payloads {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
