package etcdscan_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

// batches is a store that has its answers ready.
type batches [][]etcdscan.KeyValue

func (b batches) Pin(context.Context, etcdscan.Range, int64) (etcdscan.Pin, error) {
	return etcdscan.Pin{Revision: 1 << 40, ClusterID: 1}, nil
}

func (b batches) Count(context.Context, etcdscan.Range, int64) (int64, error) {
	n := 0
	for _, batch := range b {
		n += len(batch)
	}
	return int64(n), nil
}

func (b batches) First(context.Context, etcdscan.Range, int64) (string, bool, error) {
	return "", false, nil
}

func (b batches) Read(context.Context, etcdscan.Range, int64) iter.Seq2[[]etcdscan.KeyValue, error] {
	return func(yield func([]etcdscan.KeyValue, error) bool) {
		for _, batch := range b {
			if !yield(batch, nil) {
				return
			}
		}
	}
}

type ignore struct{}

func (ignore) Begin()                                       {}
func (ignore) Take(*etcdscan.Record, *etcdscan.Entry) error { return nil }

// BenchmarkScan reads values of 1 kB, half of them in plaintext, half encrypted and closed.
func BenchmarkScan(b *testing.B) {
	const size, count = 400, 100
	ciphertext := strings.Repeat("\xc0\x80x\xff", 256)
	var store batches
	for i := range count {
		var batch []etcdscan.KeyValue
		for j := range size {
			name := fmt.Sprintf("app-%06d", i*size+j)
			value := "k8s:enc:aescbc:v1:key1:" + ciphertext
			if j%2 == 0 {
				value = inProtobuf(name)
			}
			batch = append(batch, etcdscan.KeyValue{Key: "/registry/secrets/ns/" + name, Value: []byte(value), ModRevision: 7})
		}
		store = append(store, batch)
	}
	reading := etcdscan.Reading{Source: store, Scope: etcdscan.NewScope([]string{"/registry/"}, []string{"/registry"})}
	b.ReportAllocs()
	for b.Loop() {
		if res, err := etcdscan.Scan(b.Context(), reading, ignore{}); err != nil || res.Shortfall != nil {
			b.Fatal(err, res.Shortfall)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size/count, "ns/key")
}

// inProtobuf is a secret of some 1 kB as an apiserver stores it.
func inProtobuf(name string) string {
	field := func(tag byte, text string) string {
		return string(binary.AppendUvarint([]byte{tag}, uint64(len(text)))) + text
	}
	meta := field(0x0a, name) + field(0x1a, "ns")
	object := field(0x0a, meta) + field(0x12, field(0x0a, "password")+field(0x12, strings.Repeat("x", 1000)))
	kind := field(0x0a, "v1") + field(0x12, "Secret")
	return "k8s\x00" + field(0x0a, kind) + field(0x12, object) + field(0x1a, "") + field(0x22, "")
}
