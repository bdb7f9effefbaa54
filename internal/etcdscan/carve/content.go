package carve

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"
)

var (
	reserved       = []byte("k8s:enc:")
	protobufPrefix = []byte("k8s\x00")
	cborTag        = []byte{0xd9, 0xd9, 0xf7}
)

// recogniser is the function for the kind of value that b begins like, nil if it is none. With headed, etcd's header is in front
// of the value, and content ends where that says or with the region; otherwise with the region.
func recogniser(b []byte) func(s *search, at int, content []byte, headed bool) (extent, bool) {
	switch {
	case b[0] == '{':
		if quote := skipSpace(b, 1); quote < len(b) && b[quote] == '"' {
			return (*search).json
		}
	case bytes.HasPrefix(b, cborTag):
		return (*search).cbor
	case bytes.HasPrefix(b, protobufPrefix):
		return (*search).protobuf
	case bytes.HasPrefix(b, reserved):
		return (*search).encrypted
	}
	return nil
}

// transformers are the prefixes behind the reserved one:
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/server/options/encryptionconfig/config.go
var transformers = [...]string{"aescbc:v1:", "aesgcm:v1:", "secretbox:v1:", "kms:v1:", "kms:v2:"}

const (
	maxName = 256 // of a key or provider
	// opaque is how many bytes behind the prefix show that they are no text: one random value in 10 million would be taken for it.
	opaque = 16
)

func (*search) encrypted(_ int, content []byte, headed bool) (extent, bool) {
	e := extent{end: len(content), next: len(reserved)}
	prefix := prefixEnd(content)
	if prefix < 0 {
		return e, headed
	}
	e.next = prefix
	body := content[prefix:min(prefix+opaque, len(content))]
	return e, headed || bytes.ContainsFunc(body, func(r rune) bool { return (r < ' ' && !space(byte(r))) || r > '~' })
}

// prefixEnd is where the prefix of a known transformer ends if the name has no ':', negative if it is none.
func prefixEnd(content []byte) int {
	for _, t := range transformers {
		at := len(reserved) + len(t)
		if at > len(content) || string(content[len(reserved):at]) != t {
			continue
		}
		for n, c := range content[at:min(at+maxName+1, len(content))] {
			if c == ':' && n > 0 {
				return at + n + 1
			}
			if c < ' ' || c > '~' || c == ':' {
				return -1
			}
		}
	}
	return -1
}

// protobuf reads a runtime.Unknown. The apiserver writes each of its four fields, in the order of their numbers and though the
// last two are empty: so its lengths tell where it ends, and what is there tells whether it does. However long it is, a few bytes
// are looked at.
// https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/runtime/generated.proto
func (*search) protobuf(_ int, content []byte, headed bool) (extent, bool) {
	e := extent{end: len(content), next: len(protobufPrefix)}
	typeMeta, at := delimited(content, len(protobufPrefix), 1)
	if at < 0 || !plausible(typeMeta) || at == len(content) || content[at] != 2<<3|byte(protowire.BytesType) {
		return e, headed
	}
	raw, size := protowire.ConsumeVarint(content[at+1:])
	if size < 0 || raw > maxValue {
		return e, headed
	}
	at += 1 + size
	if int(raw) > len(content)-at {
		e.hides = e.end
		return e, true
	}
	e.end, e.whole = at+int(raw), true
	for _, number := range []protowire.Number{3, 4} { // the encoding and type of raw
		name, at := delimited(content, e.end, number)
		if e.whole = at >= 0 && (len(name) == 0 || typeName(name)); !e.whole {
			break
		}
		e.end = at
	}
	e.hides = e.end
	return e, true
}

// plausible tells whether b is a TypeMeta as an apiserver writes it.
func plausible(b []byte) bool {
	apiVersion, at := delimited(b, 0, 1)
	if at < 0 {
		return false
	}
	kind, at := delimited(b, at, 2)
	return at == len(b) && typeName(apiVersion) && typeName(kind)
}

// maxTypeName is what the API allows for a group, a '/' and a version.
const maxTypeName = 253 + 1 + 63

// typeName tells whether b consists of what an apiVersion or a kind may consist of.
func typeName(b []byte) bool {
	if len(b) == 0 || len(b) > maxTypeName {
		return false
	}
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '/' && c != '-' {
			return false
		}
	}
	return true
}

// delimited reads the length-delimited field of that number at an offset; end is negative if it is not there.
func delimited(b []byte, at int, number protowire.Number) (field []byte, end int) {
	if at >= len(b) || b[at] != byte(number<<3)|byte(protowire.BytesType) {
		return nil, -1
	}
	field, n := protowire.ConsumeBytes(b[at+1:])
	if n < 0 {
		return nil, -1
	}
	return field, at + 1 + n
}
