package snapshot

import (
	"context"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

const (
	batchKeys  = 512
	batchBytes = 1 << 20
	ahead      = 3 // batches: one is looked at, one waits, one is filled
)

type yield = func([]etcdscan.KeyValue, error) bool

// read yields what is at places.
func (f *File) read(ctx context.Context, places []place, yield yield) {
	var b batch
	for len(places) > 0 {
		n, err := b.next(ctx, f, places)
		if err != nil {
			yield(nil, err)
			return
		}
		if places = places[n:]; !yield(b.kvs, nil) {
			return
		}
	}
}

// readAhead is read for many places: while a batch is looked at, the next ones are filled.
func (f *File) readAhead(ctx context.Context, places []place, yield yield) {
	ctx, cancel := context.WithCancel(ctx)
	filled, free := make(chan *batch, ahead), make(chan *batch, ahead)
	for range ahead {
		free <- new(batch)
	}
	go func() {
		defer close(filled)
		for len(places) > 0 {
			b := <-free
			n, err := b.next(ctx, f, places)
			b.err = err
			filled <- b
			if err != nil {
				return
			}
			places = places[n:]
		}
	}()
	defer func() {
		cancel()
		for b := range filled { // until nobody looks at the file any more
			free <- b
		}
	}()
	for b := range filled {
		if b.err != nil {
			yield(nil, b.err)
			return
		}
		more := yield(b.kvs, nil)
		free <- b
		if !more {
			return
		}
	}
}

// batch is some keys with copies of their values.
type batch struct {
	kvs    []etcdscan.KeyValue
	keys   []byte
	values []byte
	names  []int // lengths of the keys
	err    error
	looked byte
}

// next fills the batch with what comes first of places, and returns how many that are.
func (b *batch) next(ctx context.Context, f *File, places []place) (n int, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	places = places[:min(batchKeys, len(places))]
	err = guarded(func() error {
		b.look(f.data, places)
		n, err = b.fill(f, places)
		return err
	})
	return n, err
}

func (b *batch) fill(f *File, places []place) (int, error) {
	b.kvs, b.keys, b.values, b.names = b.kvs[:0], b.keys[:0], b.values[:0], b.names[:0]
	for _, at := range places {
		name, value, err := f.element(at)
		if err != nil {
			return 0, err
		}
		r, _ := parseRevision(name)
		w, ok := parseWrite(value)
		if !ok || w.mod != r.main {
			return 0, damaged(f.pageOf(at), wrongRevision)
		}
		if len(b.values)+len(w.value) > batchBytes && len(b.kvs) > 0 {
			break
		}
		b.add(w)
	}
	names := string(b.keys)
	for i, n := range b.names {
		b.kvs[i].Key, names = names[:n], names[n:]
	}
	return len(b.kvs), nil
}

// add copies a write. Its key follows when those of all are there.
func (b *batch) add(w write) {
	if cap(b.values)-len(b.values) < len(w.value) {
		b.values = make([]byte, 0, max(len(w.value), batchBytes)) // what was copied before stays where it is
	}
	from := len(b.values)
	b.keys, b.names = append(b.keys, w.key...), append(b.names, len(w.key))
	b.values = append(b.values, w.value...)
	b.kvs = append(b.kvs, etcdscan.KeyValue{Value: b.values[from:len(b.values):len(b.values)],
		CreateRevision: w.created, ModRevision: w.mod, Version: w.version, Lease: w.lease})
}
