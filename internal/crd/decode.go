package crd

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	"k8s.io/apimachinery/pkg/util/validation"
	kjson "sigs.k8s.io/json"
)

// Errors of a payload that is no custom resource. They are fixed texts: what is wrong with a payload could be any byte of a secret.
var (
	ErrEncoding = errors.New("neither JSON nor CBOR")
	ErrJSON     = errors.New("malformed JSON")
	ErrCBOR     = errors.New("malformed CBOR")
	ErrType     = errors.New("no apiVersion and kind")
)

// https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/runtime/serializer/cbor/cbor.go
var cborPrefix = []byte{0xd9, 0xd9, 0xf7}

const maxManaged = 32

// unmarshal reads a payload as the apiserver reads custom resources: CBOR if it begins with the tag for it, else JSON.
func unmarshal(payload []byte, into any) error {
	switch {
	case bytes.HasPrefix(payload, cborPrefix):
		if direct.Unmarshal(payload, into) != nil {
			return ErrCBOR
		}
	case bytes.HasPrefix(bytes.TrimLeft(payload, " \t\r\n"), []byte("{")):
		if kjson.UnmarshalCaseSensitivePreserveInts(payload, into) != nil {
			return ErrJSON
		}
	default:
		return ErrEncoding
	}
	return nil
}

// Metadata reads what can be told of a stored custom resource without its CustomResourceDefinition: its apiVersion, whether it is
// being deleted, and the apiVersions that its managedFields name, sorted, each once and at most 32.
func Metadata(payload []byte) (apiVersion string, terminating bool, managed []string, err error) {
	var object map[string]any
	if err := unmarshal(payload, &object); err != nil {
		return "", false, nil, err
	}
	apiVersion, _ = object["apiVersion"].(string)
	if kind, _ := object["kind"].(string); kind == "" || !wellFormed(apiVersion) {
		return "", false, nil, ErrType
	}
	terminating, managed = look(object)
	return apiVersion, terminating, managed, nil
}

// look reads whether an object is being deleted, and the apiVersions in its managedFields.
func look(object map[string]any) (terminating bool, managed []string) {
	meta, _ := object["metadata"].(map[string]any)
	entries, _ := meta["managedFields"].([]any)
	for _, entry := range entries {
		fields, _ := entry.(map[string]any)
		apiVersion, _ := fields["apiVersion"].(string)
		if wellFormed(apiVersion) && len(managed) < maxManaged && !slices.Contains(managed, apiVersion) {
			managed = append(managed, apiVersion)
		}
	}
	slices.Sort(managed)
	return meta["deletionTimestamp"] != nil, managed
}

// wellFormed tells whether a text is fit to be shown as an apiVersion.
func wellFormed(apiVersion string) bool {
	gv, err := schema.ParseGroupVersion(apiVersion)
	return err == nil && len(validation.IsDNS1035Label(gv.Version)) == 0 &&
		(gv.Group == "" && !strings.Contains(apiVersion, "/") || len(validation.IsDNS1123Subdomain(gv.Group)) == 0)
}
