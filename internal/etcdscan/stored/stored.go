// Package stored reads apiVersion, kind and identity from a plaintext payload, in every encoding that an apiserver stores.
// It knows no schemes and no types, so every kind works, and it never shows a byte of a payload that is not one of those names.
package stored

import (
	"bytes"
	"errors"
)

// Encoding is the serialization of a payload.
type Encoding string

const (
	Protobuf Encoding = "protobuf"
	JSON     Encoding = "json"
	CBOR     Encoding = "cbor"
	YAML     Encoding = "yaml"
)

// Type is what an object was stored as. It is comparable.
type Type struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Encoding   Encoding `json:"encoding"`
}

// Header is the part of an object that says what it is. APIVersion and Kind are well-formed. Namespace and Name are whatever
// the payload's metadata says, "" when it says nothing: compare them, and do not show them unless they are what the key says.
type Header struct {
	Type
	Namespace, Name string
	Terminating     bool // deleted, and kept by its finalizers
}

// Errors of Parse. They are fixed texts: what is wrong with a payload could be any byte of a secret.
var (
	ErrEmpty    = errors.New("empty payload")
	ErrEncoding = errors.New("neither protobuf, JSON, CBOR nor YAML")
	ErrProtobuf = errors.New("malformed protobuf")
	ErrWrapped  = errors.New("protobuf wrapper around another encoding")
	ErrJSON     = errors.New("malformed JSON")
	ErrCBOR     = errors.New("malformed CBOR")
	ErrYAML     = errors.New("malformed YAML")
	ErrType     = errors.New("no apiVersion and kind")
)

var (
	protobufPrefix = []byte("k8s\x00")
	// https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/runtime/serializer/cbor/cbor.go
	cborPrefix = []byte{0xd9, 0xd9, 0xf7}
)

// Parse reads the header of one payload and checks the structure of all of it: a truncated payload or one with something behind
// its end is an error. The one exception is YAML, where a payload cut off at a line's end, or within a plain scalar, is itself YAML. Which
// encoding it is follows from how it begins, as for the apiserver:
// https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/runtime/serializer/recognizer/recognizer.go
//
// Parse keeps no reference to payload and is safe for concurrent use.
func Parse(payload []byte) (Header, error) {
	var h Header
	var err error
	switch {
	case len(payload) == 0:
		return Header{}, ErrEmpty
	case bytes.HasPrefix(payload, protobufPrefix):
		h, err = parseProtobuf(payload[len(protobufPrefix):])
		h.Encoding = Protobuf
	case bytes.HasPrefix(payload, cborPrefix):
		h, err = parseCBOR(payload)
		h.Encoding = CBOR
	case looksLikeJSON(payload):
		h, err = parseJSON(payload)
		h.Encoding = JSON
	case looksLikeYAML(payload):
		h, err = parseYAML(payload)
		h.Encoding = YAML
	default:
		err = ErrEncoding
	}
	if err != nil {
		return Header{}, err
	}
	return h, nil
}
