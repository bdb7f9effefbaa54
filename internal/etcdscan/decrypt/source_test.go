package decrypt_test

import (
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

// source is a store in memory: what is tested here lies behind it.
type source map[string][]byte

func (s source) in(r etcdscan.Range) []string {
	keys := slices.Sorted(maps.Keys(s))
	return slices.DeleteFunc(keys, func(k string) bool { return k < r.Start || r.End != "" && k >= r.End })
}

func (s source) Pin(context.Context, etcdscan.Range, int64) (etcdscan.Pin, error) {
	return etcdscan.Pin{Revision: 1}, nil
}

func (s source) Count(_ context.Context, r etcdscan.Range, _ int64) (int64, error) {
	return int64(len(s.in(r))), nil
}

func (s source) First(_ context.Context, r etcdscan.Range, _ int64) (string, bool, error) {
	keys := s.in(r)
	if len(keys) == 0 {
		return "", false, nil
	}
	return keys[0], true, nil
}

func (s source) Read(_ context.Context, r etcdscan.Range, _ int64) iter.Seq2[[]etcdscan.KeyValue, error] {
	return func(yield func([]etcdscan.KeyValue, error) bool) {
		for keys := range slices.Chunk(s.in(r), 40) {
			var batch []etcdscan.KeyValue
			for _, k := range keys {
				batch = append(batch, etcdscan.KeyValue{Key: k, Value: s[k], ModRevision: 1, CreateRevision: 1, Version: 1})
			}
			if !yield(batch, nil) {
				return
			}
		}
	}
}
