package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"sync"
)

// ranked is a key with the bytes of it that are compared.
type ranked struct {
	head uint64
	set  uint32
	name name
}

const (
	few  = 12      // so many keys are compared as they are
	many = 1 << 14 // fewer are not worth to be sorted by two
)

// order gives back the places of all keys in their order. No two are the same. Keys of one directory share a long beginning: what is
// compared is eight bytes of each, behind what all of them share.
func order(ctx context.Context, sets []*names) ([]place, error) {
	n := 0
	for _, set := range sets {
		set.each(func(name) { n++ })
	}
	items := make([]ranked, 0, n)
	for i, set := range sets {
		set.each(func(at name) { items = append(items, ranked{set: uint32(i), name: at}) })
	}
	s := sorter{ctx: ctx, sets: sets}
	s.sort(items, 0)
	s.wait.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	places := make([]place, n)
	for i, item := range items {
		places[i] = sets[item.set].place(item.name)
	}
	return places, nil
}

type sorter struct {
	ctx  context.Context
	sets []*names
	wait sync.WaitGroup
}

func (s *sorter) key(to []byte, item ranked) []byte {
	return s.sets[item.set].append(to, item.name)
}

// sort sorts items whose keys have the first skip bytes in common. It may return before all of it is done.
func (s *sorter) sort(items []ranked, skip int) {
	if s.ctx.Err() != nil {
		return
	}
	if len(items) <= few {
		s.compare(items)
		return
	}
	common := s.common(items, skip)
	for i := range items {
		items[i].head = s.head(items[i], common)
	}
	s.byHead(items, len(items), common)
}

// byHead sorts items by their heads, and those of one head by what follows. Of is how many items there are whose keys have so many
// bytes in common.
func (s *sorter) byHead(items []ranked, of, common int) {
	for len(items) > many {
		less, more := partition(items)
		s.sameHead(items[less:more], of, common)
		left := items[:less]
		s.wait.Go(func() { s.byHead(left, of, common) })
		items = items[more:]
	}
	slices.SortFunc(items, func(a, b ranked) int { return cmp.Compare(a.head, b.head) })
	for from := 0; from < len(items); {
		to := from + 1
		for to < len(items) && items[to].head == items[from].head {
			to++
		}
		s.sameHead(items[from:to], of, common)
		from = to
	}
}

func (s *sorter) sameHead(items []ranked, of, common int) {
	switch {
	case len(items) <= 1:
	case len(items) == of, items[0].head&0xff == 0:
		// Keys that end here look like those that go on with zeros.
		s.compare(items)
	case len(items) > many:
		s.wait.Go(func() { s.sort(items, common+8) })
	default:
		s.sort(items, common+8)
	}
}

// partition puts those of one head in the middle, between those of lower and of higher ones.
func partition(items []ranked) (less, more int) {
	n := len(items)
	probes := [5]uint64{items[0].head, items[n/4].head, items[n/2].head, items[n/4*3].head, items[n-1].head}
	slices.Sort(probes[:])
	pivot := probes[2]
	more = n
	for i := 0; i < more; {
		switch head := items[i].head; {
		case head < pivot:
			items[i], items[less] = items[less], items[i]
			less++
			i++
		case head > pivot:
			more--
			items[i], items[more] = items[more], items[i]
		default:
			i++
		}
	}
	return less, more
}

// head is eight bytes of a key, from at on.
func (s *sorter) head(item ranked, from int) uint64 {
	dir, rest := s.sets[item.set].of(item.name)
	var head [8]byte
	n := 0
	if from < len(dir) {
		n = copy(head[:], dir[from:])
		copy(head[n:], rest)
	} else {
		copy(head[:], rest[from-len(dir):])
	}
	return binary.BigEndian.Uint64(head[:])
}

// common is how many bytes the keys have in common, of which skip are known.
func (s *sorter) common(items []ranked, skip int) int {
	first := s.key(nil, items[0])
	n := len(first)
	var key []byte
	for _, item := range items[1:] {
		if n <= skip {
			break
		}
		if dir, _ := s.sets[item.set].of(item.name); n <= len(dir) && dir[skip:n] == string(first[skip:n]) {
			continue
		}
		key = s.key(key[:0], item)
		n = min(n, len(key))
		if bytes.Equal(key[skip:n], first[skip:n]) {
			continue
		}
		for j := skip; j < n; j++ {
			if key[j] != first[j] {
				n = j
			}
		}
	}
	return n
}

// compare sorts by whole keys.
func (s *sorter) compare(items []ranked) {
	var x, y []byte
	slices.SortFunc(items, func(a, b ranked) int {
		x, y = s.key(x[:0], a), s.key(y[:0], b)
		return bytes.Compare(x, y)
	})
}
