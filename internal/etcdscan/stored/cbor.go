package stored

import "github.com/fxamacker/cbor/v2"

// cborMode decodes as the apiserver does: field names and strings may be byte strings, which is how it writes them.
// https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/runtime/serializer/cbor/internal/modes/decode.go
var cborMode = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:           cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:     10000,
		MaxArrayElements:    1<<31 - 1,
		MaxMapPairs:         1 << 21,
		UTF8:                cbor.UTF8RejectInvalid,
		FieldNameMatching:   cbor.FieldNameMatchingCaseSensitive,
		FieldNameByteString: cbor.FieldNameByteStringAllowed,
		ByteStringToString:  cbor.ByteStringToStringAllowedWithExpectedLaterEncoding,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constant
	}
	return mode
}()

// parseCBOR reads one CBOR map with nothing behind it.
func parseCBOR(payload []byte) (Header, error) {
	var object struct {
		APIVersion string `cbor:"apiVersion"`
		Kind       string `cbor:"kind"`
		Metadata   struct {
			Name              string `cbor:"name"`
			Namespace         string `cbor:"namespace"`
			DeletionTimestamp any    `cbor:"deletionTimestamp"`
		} `cbor:"metadata"`
	}
	if cborMode.Unmarshal(payload, &object) != nil {
		return Header{}, ErrCBOR
	}
	t, err := typeNames([]byte(object.APIVersion), []byte(object.Kind))
	return Header{Type: t, Namespace: object.Metadata.Namespace, Name: object.Metadata.Name, Terminating: object.Metadata.DeletionTimestamp != nil}, err
}
