package carve

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/svmctl/svmctl/testdata/vectors"
)

// slow is made to keep the search busy: many beginnings, headers and nested structures, none of which comes to an end.
func slow(size int) map[string][]byte {
	fill := func(unit string) []byte { return bytes.Repeat([]byte(unit), size/len(unit)) }
	return map[string][]byte{
		"braces":        fill(`{"`),
		"spaces":        fill("{ \n"),
		"objects":       fill(`{"kind":"K","x":`),
		"typed objects": fill(`{"kind":"K","apiVersion":"v1","x":`),
		"arrays":        fill("\n\x01/\x12\xff\xff\x7f" + `{"kind":"K","x":[` + "\x00"),
		"protobuf":      fill("\n\x01/\x12\x7fk8s\x00"),
		"type meta":     fill("k8s\x00\n\x09\n\x02v1\x12\x03Pod\x12\xff\xff\xff\x1f"),
		"CBOR": slices.Concat(
			bytes.Repeat([]byte("\n\x01a\x10\x01\x18\x01\x20\x01\x2a\x80\x80\x80\x0a\xd9\xd9\xf7\xbf\x01"), 9000),
			bytes.Repeat([]byte("\x01"), size-9000*19)),
		"CBOR in depth":  fill("\x9f\xd9\xd9\xf7\xa1Dkind"),
		"CBOR tags":      fill("\xd9\xd9\xf7"),
		"long keys":      fill("\n\xff\x1f/" + strings.Repeat("k", 4094) + "\x12\x7fk8s\x00"),
		"parts of them":  fill("k\x12\x7f{\"kind\":\"K\""),
		"key of markers": fill(`k8s{"kind":"K","apiVersion":"v",`),
		"one end":        slices.Concat(sameEnd(size/2), bytes.Repeat([]byte("v"), size/4), bytes.Repeat([]byte(" "), size/4)),
		"varints":        fill("\xff\xff\xff\xff\xff\xff\xff\xff\x7fk8s\x00"),
		"names":          fill("k8s:enc:kms:v1:"),
	}
}

// sameEnd is full of protobuf values that all claim to reach to its end.
func sameEnd(size int) []byte {
	const type4 = 4 << 3 // raw is followed by fields of a length in the millions
	var b []byte
	for len(b) < size-100 {
		left := uint64(size - len(b))
		b = append(b, "\n\x01/\x12"...)
		b = append(protowire.AppendVarint(b, 2*left), "k8s\x00\n\x09\n\x02v1\x12\x03Pod\x12"...)
		b = protowire.AppendVarint(b, uint64(size-len(b)-protowire.SizeVarint(left)-8))
	}
	b = append(b, make([]byte, size-len(b)-8)...)
	return protowire.AppendVarint(append(b, 0x1a, 0x00, type4|2), uint64(size/4))
}

// TestSlow would take minutes, not milliseconds, if any of them were searched in quadratic time.
func TestSlow(t *testing.T) {
	for name, b := range slow(4 << 20) {
		start := time.Now()
		find(b)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	const size = 64 << 20
	regions := slow(size / 8)
	regions["zero"], regions["random"] = make([]byte, size), make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(regions["random"])
	var values []byte
	for i, all := 0, vectors.Load(b); len(values) < size; i++ {
		values = append(values, inDB(b, fmt.Sprintf("/registry/secrets/default/%d", i), int64(i+10), all[i%len(all)].Value)...)
	}
	regions["values"] = values
	regions["text"] = bytes.Repeat([]byte("The key k8s.io/name of a label {is} what \"k8s-app\": was, and key1 is its kind.\n"), size/80)
	regions["fields"] = bytes.Repeat([]byte(`"f:metadata":{"f:labels":{"f:app.k8s.io/name":{}},"f:spec":{"k:{\"type\":1}":{}}},`), size/80)
	for _, name := range slices.Sorted(maps.Keys(regions)) {
		b.Run(name, func(b *testing.B) {
			region := regions[name]
			b.SetBytes(int64(len(region)))
			b.ReportAllocs()
			for b.Loop() {
				for range Find(region) {
				}
			}
		})
	}
}
