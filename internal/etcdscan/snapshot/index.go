package snapshot

import (
	"bytes"
	"context"
	"hash/maphash"
)

// place is where in the file a write lies: its page, and the element in it.
type place uint64

const (
	elementBits = 16
	gone        = place(1) << 63 // the write is a tombstone
)

func at(p page, element int) place { return place(p.id<<elementBits | uint64(element)) }

// index has the newest write of each key at one revision, in the order of the keys. A key takes 8 bytes of it, and some 40 while
// it is made; old revisions take none.
type index struct {
	revision int64
	places   []place
}

// makeIndex reads all revisions up to one, the newest first, so that the first of each key is the one that counts.
func (f *File) makeIndex(ctx context.Context, upTo int64) (*index, error) {
	set := newKeySet(f)
	last := []byte(nil)
	t := tree{bolt: f.bolt, seen: newPageSet(f.meta.pages), broken: f.broken}
	t.visit = func(p page) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return t.tolerate(p.eachRevision(&last, func(i int, r revision, value []byte) error {
			if r.main > upTo {
				return nil
			}
			key, ok := keyOf(value)
			if !ok {
				return damaged(p.id, "the write at revision %d is no KeyValue", r.main)
			}
			here := at(p, i)
			if r.tombstone {
				here |= gone
			}
			_, err := set.meet(key, here)
			return err
		}))
	}
	if err := guarded(func() error { return t.walkBucket(f.keys) }); err != nil {
		return nil, err
	}
	places := set.places[:0]
	for _, p := range set.places {
		if p&gone == 0 {
			places = append(places, p)
		}
	}
	set = nil
	if err := guarded(func() error { return f.order(ctx, places) }); err != nil {
		return nil, err
	}
	return &index{revision: upTo, places: places}, nil
}

// tolerate notes damage, which ends the page alone.
func (t *tree) tolerate(err error) error {
	if damage, ok := err.(*DamageError); ok {
		t.broken(damage)
		return nil
	}
	return err
}

// keySet is the keys that were met, each by the place of its newest write. Its slots have the upper half of a key's hash, and the
// number of its place, from 1.
type keySet struct {
	file   *File
	seed   maphash.Seed
	slots  []uint64
	places []place
}

func newKeySet(f *File) *keySet {
	return &keySet{file: f, seed: maphash.MakeSeed(), slots: make([]uint64, 1<<12)}
}

// meet takes a key up, and tells whether it is the first time.
func (s *keySet) meet(key []byte, here place) (first bool, err error) {
	if len(s.places) >= len(s.slots)/4*3 {
		s.grow()
	}
	tag := maphash.Bytes(s.seed, key) >> 32
	mask := uint64(len(s.slots) - 1)
	for i := tag & mask; ; i = (i + 1) & mask {
		slot := s.slots[i]
		if slot == 0 {
			s.places = append(s.places, here)
			s.slots[i] = tag<<32 | uint64(len(s.places))
			return true, nil
		}
		if slot>>32 != tag {
			continue
		}
		known, err := s.file.keyAt(s.places[uint32(slot)-1])
		if err != nil || bytes.Equal(known, key) {
			return false, err
		}
	}
}

func (s *keySet) grow() {
	old := s.slots
	s.slots = make([]uint64, 2*len(old))
	mask := uint64(len(s.slots) - 1)
	for _, slot := range old {
		if slot == 0 {
			continue
		}
		i := slot >> 32 & mask
		for s.slots[i] != 0 {
			i = (i + 1) & mask
		}
		s.slots[i] = slot
	}
}

// keyAt is the key of the write at a place.
func (f *File) keyAt(at place) ([]byte, error) {
	_, value, err := f.element(at)
	if err != nil {
		return nil, err
	}
	key, ok := keyOf(value)
	if !ok {
		return nil, damaged(uint64(at&^gone>>elementBits), "a write is no KeyValue")
	}
	return key, nil
}

// element is the revision and the write at a place of the key bucket.
func (f *File) element(at place) (key, value []byte, err error) {
	at &^= gone
	p := page{}
	if id := uint64(at >> elementBits); id != 0 {
		if p, err = f.page(id); err != nil {
			return nil, nil, err
		}
	} else {
		p, _ = parsePage(f.keys.inline)
		p.id = 0
	}
	_, key, value, err = p.leaf(int(at & (1<<elementBits - 1)))
	return key, value, err
}
