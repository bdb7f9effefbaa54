package stored

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"sigs.k8s.io/yaml"
)

// A deletion that finalizers hold up shows in every encoding, and one that is null is none.
func TestParseTerminating(t *testing.T) {
	deleted := customResource()
	deleted.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(1, 0)})
	for want, object := range map[bool]*unstructured.Unstructured{true: deleted, false: customResource()} {
		if !want {
			object.Object["metadata"].(map[string]any)["deletionTimestamp"] = nil
		}
		asJSON, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		asYAML, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		var asCBOR bytes.Buffer
		if err := cbor.NewSerializer(runtime.NewScheme(), runtime.NewScheme()).Encode(object, &asCBOR); err != nil {
			t.Fatal(err)
		}
		for _, payload := range [][]byte{asJSON, asYAML, asCBOR.Bytes()} {
			if h, err := Parse(payload); err != nil || h.Terminating != want {
				t.Errorf("%+v, %v, want terminating %v", h, err, want)
			}
		}
	}
}
