package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"runtime"
	"sync"
)

// place is where in the file a write lies: the head of its element in a leaf of the key bucket.
type place uint64

const gone = place(1) << 63 // the write is a tombstone

func at(p page, i int) place { return place(p.start + pageHeader + uint64(i)*element) }

// index has the newest write of each key at one revision, in the order of the keys. A key takes 8 bytes of it. While it is made, a
// key takes some 45 more and its name without the directory; old revisions take none.
type index struct {
	revision int64
	places   []place
}

const (
	maxParts = 8  // that are walked at once
	finer    = 16 // subtrees for each of them, so that they are of a size
)

// makeIndex reads all revisions up to one. The tree of them is walked in parts at once, each the newest first, so that the first of
// each key in it is the one that counts; and what a newer part has counts more than what an older one has.
func (f *File) makeIndex(ctx context.Context, upTo int64) (*index, error) {
	parts, err := f.walkParts(ctx, upTo)
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	for i, older := range parts {
		wg.Go(func() {
			for _, newer := range parts[i+1:] {
				older.set.forget(newer.set)
			}
		})
	}
	wg.Wait()
	sets := make([]*names, len(parts))
	for i, p := range parts {
		p.set.slots = nil // from here on they would only take room
		sets[i] = &p.set.names
	}
	places, err := order(ctx, sets)
	return &index{revision: upTo, places: places}, err
}

// part is what some of the subtrees of the key bucket have, which are neighbours.
type part struct {
	set            *keySet
	seen           pageSet
	problems       []error
	newest, oldest []byte // revision
	written        written
}

// written counts the revisions that there are behind the last compaction, as they come, the newest first.
type written struct {
	revisions      int64
	newest, oldest int64
}

func (w *written) meet(revision, compacted int64) {
	if revision <= compacted || revision == w.oldest {
		return
	}
	w.revisions++
	if w.oldest = revision; w.newest == 0 {
		w.newest = revision
	}
}

// join adds what is older.
func (w *written) join(older written) {
	if w.revisions > 0 && older.newest == w.oldest {
		w.revisions-- // one revision of several writes
	}
	w.revisions += older.revisions
	if older.revisions > 0 {
		w.oldest = older.oldest
	}
}

// walkParts gives back the parts of the key bucket, the oldest first.
func (f *File) walkParts(ctx context.Context, upTo int64) ([]*part, error) {
	want := min(runtime.GOMAXPROCS(0), maxParts)
	top := part{seen: newPageSet(f.meta.pages)}
	var subtrees []subtree
	err := guarded(func() error {
		if f.keys.root != 0 {
			t := tree{bolt: f.bolt, seen: top.seen, broken: top.broken}
			subtrees = t.subtrees(f.keys.root, want*finer)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	parts := make([]*part, max(1, min(want, len(subtrees))))
	errs := make([]error, len(parts))
	seed := maphash.MakeSeed()
	var wg sync.WaitGroup
	for i := range parts {
		mine := subtrees[i*len(subtrees)/len(parts) : (i+1)*len(subtrees)/len(parts)]
		parts[i] = &part{set: newKeySet(seed), seen: newPageSet(f.meta.pages)}
		wg.Go(func() { errs[i] = guarded(func() error { return parts[i].walk(ctx, f, mine, upTo) }) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	f.judge(&top, parts)
	return parts, nil
}

func (p *part) broken(err error) { p.problems = append(p.problems, err) }

// walk walks subtrees, or the bucket if it is inline, the newest first.
func (p *part) walk(ctx context.Context, f *File, subtrees []subtree, upTo int64) error {
	t := tree{bolt: f.bolt, seen: p.seen, broken: p.broken, ahead: true}
	last := []byte(nil)
	t.visit = func(leaf page) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return t.tolerate(leaf.eachRevision(&last, func(i int, r revision, value []byte) error {
			if p.newest == nil {
				p.newest = bytes.Clone(last)
			}
			p.written.meet(r.main, f.compacted)
			if r.main > upTo {
				return nil
			}
			if len(value) == 0 {
				return nil // a mark that etcdutl leaves where it raises the revision
			}
			key, ok := keyOf(value)
			if !ok {
				return damaged(leaf.id, "a write is no KeyValue")
			}
			here := at(leaf, i)
			if r.tombstone {
				here |= gone
			}
			_, err := p.set.meet(key, here)
			return err
		}))
	}
	if f.keys.root == 0 {
		return t.walkBucket(f.keys)
	}
	for i := len(subtrees) - 1; i >= 0; i-- {
		if err := t.descend(subtrees[i].id, subtrees[i].depth); err != nil {
			return err
		}
	}
	p.oldest = bytes.Clone(last)
	return nil
}

// judge notes what is damaged in the parts, and between them.
func (f *File) judge(top *part, parts []*part) {
	for i := len(parts) - 1; i >= 0; i-- {
		for _, problem := range parts[i].problems {
			f.broken(problem)
		}
	}
	for _, problem := range top.problems {
		f.broken(problem)
	}
	oldest := []byte(nil)
	var all written
	for i := len(parts) - 1; i >= 0; i-- {
		p := parts[i]
		all.join(p.written)
		if oldest != nil && p.newest != nil && bytes.Compare(p.newest, oldest) >= 0 {
			f.broken(damaged(f.keys.root, "a revision below it is out of order"))
		}
		if p.oldest != nil {
			oldest = p.oldest
		}
		for _, other := range append(parts[:i:i], top) {
			if id, found := p.seen.both(other.seen); found {
				f.broken(damaged(id, twoPlaces))
			}
		}
	}
	f.missing = f.newest - max(f.compacted, 1) - all.revisions
}

// tolerate notes damage, which ends the page alone.
func (t *tree) tolerate(err error) error {
	if damage, ok := err.(*DamageError); ok {
		t.broken(damage)
		return nil
	}
	return err
}

// keyAt is the key of the write at a place.
func (f *File) keyAt(at place) ([]byte, error) {
	_, value, err := f.element(at)
	if err != nil {
		return nil, err
	}
	key, ok := keyOf(value)
	if !ok {
		return nil, damaged(f.pageOf(at), "a write is no KeyValue")
	}
	return key, nil
}

// element is the revision and the write at a place of the key bucket. All of its page was found to be in order when the index was
// made, but the file may have been changed since.
func (f *File) element(at place) (key, value []byte, err error) {
	start, size := uint64(at), uint64(len(f.data))
	if start+element > size {
		return nil, nil, damaged(f.pageOf(at), "it lies outside of the file")
	}
	e := f.data[start : start+element]
	from := start + uint64(binary.LittleEndian.Uint32(e[4:]))
	keyEnd := from + uint64(binary.LittleEndian.Uint32(e[8:]))
	end := keyEnd + uint64(binary.LittleEndian.Uint32(e[12:]))
	if end > size {
		return nil, nil, damaged(f.pageOf(at), "what it holds lies outside of the file")
	}
	return f.data[from:keyEnd:keyEnd], f.data[keyEnd:end:end], nil
}

func (f *File) pageOf(at place) uint64 { return uint64(at) / f.pageSize }
