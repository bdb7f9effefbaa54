package snapshot

import (
	"bytes"
	"context"
)

// walkAll walks every bucket, those of etcd's that are not read included, the list of free pages, and the pages that are free.
func (f *File) walkAll(ctx context.Context) error {
	return guarded(func() error {
		reached, err := f.reached(ctx)
		if err != nil {
			return err
		}
		if err := f.checkFreelist(reached); err != nil {
			return err
		}
		root, err := f.page(f.meta.root)
		if err != nil {
			return err
		}
		if _, err := f.checkOrder(ctx, root, nil, nil); err != nil {
			return err
		}
		for id := uint64(2); id < uint64(len(f.data))/f.pageSize; id++ {
			if (id >= f.meta.pages || !reached.has(id)) && f.newer(id) {
				return errTorn
			}
		}
		return nil
	})
}

// newer tells whether a page that belongs to nothing holds what was written after all that does: etcd wrote to the file while it was
// copied, so that pages of different moments stand in it. It also does so while it sends a snapshot, of which the digest then tells
// that it is sound all the same.
func (f *File) newer(id uint64) bool {
	p, overflow := parsePage(f.data[id*f.pageSize : (id+1)*f.pageSize])
	end := (id + 1 + overflow) * f.pageSize
	if p.id != id || p.flags != leafPage || overflow > uint64(len(f.data))/f.pageSize || end > uint64(len(f.data)) {
		return false
	}
	p.bytes = f.data[id*f.pageSize : end]
	return f.newerIn(p)
}

// newerIn looks into inline buckets as well: those of etcd's own records are.
func (f *File) newerIn(p page) bool {
	if p.check() != nil || p.flags != leafPage {
		return false
	}
	for i := range p.count {
		flags, key, value, err := p.leaf(i)
		if err != nil {
			return false
		}
		if flags&bucketLeaf != 0 {
			if b, err := parseBucket(p, value); err == nil && b.root == 0 {
				if inner, _ := parsePage(b.inline); f.newerIn(inner) {
					return true
				}
			}
			continue
		}
		revision, is := parseRevision(key)
		compacted, was := parseRevision(value)
		switch {
		case is && revision.main > f.written:
			return true
		case string(key) == consistentIndex && len(value) == 8 && be64(value) > f.applied:
			return true
		case (string(key) == scheduledCompact || string(key) == finishedCompact) && was && compacted.main > f.compacted:
			return true
		}
	}
	return false
}

// reached is every page that belongs to some bucket. The first page that cannot be read is an error.
func (f *File) reached(ctx context.Context) (pageSet, error) {
	var first error
	seen, err := f.reach(ctx, func(err error) {
		if first == nil {
			first = err
		}
	}, func(page) error { return nil })
	if err != nil {
		return nil, err
	}
	return seen, first
}

// reach walks every bucket and hands each page to visit, branches included, and each that cannot be read to broken. It returns the
// set of those pages.
func (f *File) reach(ctx context.Context, broken func(error), visit func(page) error) (pageSet, error) {
	seen := newPageSet(f.meta.pages)
	t := tree{bolt: f.bolt, seen: seen, broken: broken, branch: visit}
	t.visit = func(p page) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if p.id != 0 { // what an inline bucket leaves is inside of the page that has it
			if err := visit(p); err != nil {
				return err
			}
		}
		for i := range p.count {
			flags, _, value, err := p.leaf(i)
			if err == nil && flags&bucketLeaf != 0 {
				var inner bucket
				if inner, err = parseBucket(p, value); err == nil {
					err = t.walkBucket(inner)
				}
			}
			if err != nil {
				return t.tolerate(err)
			}
		}
		return nil
	}
	return seen, t.descend(f.meta.root, 0)
}

// checkOrder makes sure that the keys of a page and of all below it ascend, from low on and before high, nil for no bound, and gives
// back the last. All pages are known to be in order otherwise. Bolt would find that as well, but where it finds something while it
// looks for free pages it gives up and goes on reading at once.
func (f *File) checkOrder(ctx context.Context, p page, low, high []byte) (last []byte, err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	last = low
	for i := range p.count {
		key, err := p.key(i)
		if err != nil {
			return nil, err
		}
		if order := bytes.Compare(last, key); last != nil && (order > 0 || order == 0 && i > 0) || high != nil && bytes.Compare(key, high) >= 0 {
			return nil, damaged(p.id, "its keys are out of order")
		}
		if last, err = f.orderBelow(ctx, p, i, key, high); err != nil {
			return nil, err
		}
	}
	return last, nil
}

// orderBelow checks what is below an element, and gives back the last key of it.
func (f *File) orderBelow(ctx context.Context, p page, i int, key, high []byte) ([]byte, error) {
	if p.flags == leafPage {
		flags, _, value, err := p.leaf(i)
		if err != nil || flags&bucketLeaf == 0 {
			return key, err
		}
		b, err := parseBucket(p, value)
		if err != nil || b.root == 0 {
			return key, err
		}
		inner, err := f.page(b.root)
		if err == nil {
			_, err = f.checkOrder(ctx, inner, nil, nil)
		}
		return key, err
	}
	if i+1 < p.count {
		next, err := p.key(i + 1)
		if err != nil {
			return nil, err
		}
		high = next
	}
	id, err := p.branch(i)
	if err != nil {
		return nil, err
	}
	child, err := f.page(id)
	if err != nil {
		return nil, err
	}
	return f.checkOrder(ctx, child, key, high)
}

// checkFreelist makes sure that the list of free pages names pages of the file.
func (f *File) checkFreelist(reached pageSet) error {
	if f.meta.freelist == noFreelist {
		return nil
	}
	p, err := f.page(f.meta.freelist)
	if err != nil {
		return err
	}
	count, body := uint64(p.count), p.bytes[pageHeader:]
	if p.count == 0xffff && len(body) >= 8 {
		count, body = le64(body), body[8:]
	}
	if p.flags != freePage || count > uint64(len(body))/8 {
		return damaged(p.id, "it is no list of free pages")
	}
	for i := range count {
		if id := le64(body[8*i:]); id >= f.meta.pages || reached.has(id) {
			return damaged(p.id, "it lists a page as free that is not, or that the file does not have")
		}
	}
	return nil
}
