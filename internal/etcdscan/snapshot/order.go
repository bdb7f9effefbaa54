package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"
)

// ranked is a place with the bytes of its key that are compared.
type ranked struct {
	head uint64
	at   place
}

// few is how many keys are compared as they are.
const few = 12

// order sorts places by their keys. Keys of one directory share a long beginning, and each look at one is a look into the file:
// so eight bytes of each are taken along, behind what all of them share.
func (f *File) order(ctx context.Context, places []place) error {
	s := sorter{file: f, ctx: ctx}
	sorted, err := s.sorted(places)
	if err != nil || sorted {
		return err
	}
	items := make([]ranked, len(places))
	for i, p := range places {
		items[i].at = p
	}
	if err := s.sort(items, 0); err != nil {
		return err
	}
	for i := range items {
		places[i] = items[i].at
	}
	return nil
}

type sorter struct {
	file *File
	ctx  context.Context
}

// sorted tells whether there is nothing to do. Keys that were created in their order come in the opposite one, which is turned.
func (s *sorter) sorted(places []place) (bool, error) {
	slices.Reverse(places)
	var before []byte
	for _, p := range places {
		key, err := s.file.keyAt(p)
		if err != nil {
			return false, err
		}
		if before != nil && bytes.Compare(before, key) >= 0 {
			return false, nil
		}
		before = key
	}
	return true, nil
}

// sort sorts items whose keys have the first skip bytes in common.
func (s *sorter) sort(items []ranked, skip int) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if len(items) <= few {
		return s.compare(items)
	}
	common, err := s.common(items, skip)
	if err != nil {
		return err
	}
	for i := range items {
		key, err := s.file.keyAt(items[i].at)
		if err != nil {
			return err
		}
		var head [8]byte
		copy(head[:], key[common:])
		items[i].head = binary.BigEndian.Uint64(head[:])
	}
	slices.SortFunc(items, func(a, b ranked) int { return cmp.Compare(a.head, b.head) })
	for from := 0; from < len(items); {
		to := from + 1
		for to < len(items) && items[to].head == items[from].head {
			to++
		}
		switch same := items[from:to]; {
		case len(same) == 1:
		case len(same) == len(items), same[0].head&0xff == 0:
			// Keys that end here look like those that go on with zeros.
			err = s.compare(same)
		default:
			err = s.sort(same, common+8)
		}
		if err != nil {
			return err
		}
		from = to
	}
	return nil
}

// common is how many bytes the keys have in common, of which skip are known.
func (s *sorter) common(items []ranked, skip int) (int, error) {
	first, err := s.file.keyAt(items[0].at)
	if err != nil {
		return 0, err
	}
	n := len(first)
	for i := 1; i < len(items) && n > skip; i++ {
		key, err := s.file.keyAt(items[i].at)
		if err != nil {
			return 0, err
		}
		n = min(n, len(key))
		for j := skip; j < n; j++ {
			if key[j] != first[j] {
				n = j
			}
		}
	}
	return n, nil
}

// compare sorts by whole keys.
func (s *sorter) compare(items []ranked) (err error) {
	slices.SortFunc(items, func(a, b ranked) int {
		x, errX := s.file.keyAt(a.at)
		y, errY := s.file.keyAt(b.at)
		if err == nil {
			err = cmp.Or(errX, errY)
		}
		return bytes.Compare(x, y)
	})
	return err
}
