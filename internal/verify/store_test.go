package verify_test

import (
	"context"
	"iter"
	"maps"
	"slices"
	"testing"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

// store is an etcd of keys and values at revision 1.
type store map[string]string

func (s store) keys(r etcdscan.Range) []string {
	var in []string
	for k := range maps.Keys(s) {
		if k >= r.Start && (r.End == "" || k < r.End) {
			in = append(in, k)
		}
	}
	slices.Sort(in)
	return in
}

func (s store) Pin(context.Context, etcdscan.Range, int64) (etcdscan.Pin, error) {
	return etcdscan.Pin{Revision: 1, ClusterID: 1}, nil
}

func (s store) Count(_ context.Context, r etcdscan.Range, _ int64) (int64, error) {
	return int64(len(s.keys(r))), nil
}

func (s store) First(_ context.Context, r etcdscan.Range, _ int64) (string, bool, error) {
	keys := s.keys(r)
	if len(keys) == 0 {
		return "", false, nil
	}
	return keys[0], true, nil
}

func (s store) Read(_ context.Context, r etcdscan.Range, _ int64) iter.Seq2[[]etcdscan.KeyValue, error] {
	return func(yield func([]etcdscan.KeyValue, error) bool) {
		for _, k := range s.keys(r) {
			if !yield([]etcdscan.KeyValue{{Key: k, Value: []byte(s[k]), ModRevision: 1, Version: 1}}, nil) {
				return
			}
		}
	}
}

// without is the store when it loses a key between counting and reading.
type without struct {
	store
	lost string
}

func (w without) Read(ctx context.Context, r etcdscan.Range, revision int64) iter.Seq2[[]etcdscan.KeyValue, error] {
	rest := maps.Clone(w.store)
	delete(rest, w.lost)
	return rest.Read(ctx, r, revision)
}

type discard struct{}

func (discard) Begin()                                       {}
func (discard) Take(*etcdscan.Record, *etcdscan.Entry) error { return nil }

// scan reads everything under /registry.
func scan(t *testing.T, src etcdscan.Source) etcdscan.Result {
	t.Helper()
	scope := etcdscan.NewScope([]string{"/registry"}, []string{"/registry"})
	res, err := etcdscan.Scan(t.Context(), etcdscan.Reading{Source: src, Scope: scope}, discard{})
	if err != nil {
		t.Fatal(err)
	}
	return res
}
