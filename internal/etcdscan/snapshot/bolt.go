package snapshot

import (
	"errors"
	"fmt"
	"math/bits"
)

var (
	// ErrForeign is returned for a file that is no bolt file.
	ErrForeign = errors.New("this is no file of etcd's: neither of its first pages is one of bolt's")
	// ErrNotEtcd is returned for a bolt file of something else than etcd.
	ErrNotEtcd = errors.New("this is a bolt file and not etcd's: it has no buckets key and meta")
	// ErrTruncated is returned for a file that ends before its pages do.
	ErrTruncated = errors.New("the file is cut off")
)

// maxDepth is more than a tree of 64 KiB pages in a file of any size can have.
const maxDepth = 64

// bolt is the bytes of a bolt file: pages that form trees.
type bolt struct {
	data     []byte // pages, and room for more; never the trailing digest
	pageSize uint64
	meta     meta
	damage   error // what is the matter with the meta pages: one of the two is not sound
}

// newBolt finds the newer of the two metas, as bbolt does. Where the other one is damaged it may have been the newest.
func newBolt(data []byte) (*bolt, error) {
	first, sound := parseMeta(data)
	sizes := []uint64{first.pageSize}
	if !sound {
		sizes = nil
		for size := uint64(minPageSize); size <= maxPageSize; size <<= 1 {
			sizes = append(sizes, size)
		}
	}
	for _, size := range sizes {
		var second meta
		secondSound := false
		if uint64(len(data)) > size {
			second, secondSound = parseMeta(data[size:])
			secondSound = secondSound && second.pageSize == size
		}
		if !sound && !secondSound {
			continue
		}
		b := &bolt{data: data, pageSize: size, meta: first}
		switch {
		case !sound:
			b.meta, b.damage = second, damaged(0, "its checksum is wrong, and what was written last may be missing")
		case !secondSound:
			b.damage = damaged(1, "its checksum is wrong, and what was written last may be missing")
		case second.tx > first.tx:
			b.meta = second
		}
		if have := uint64(len(data)) / size; have < b.meta.pages {
			return nil, fmt.Errorf("%w: it has %d pages of %d", ErrTruncated, have, b.meta.pages)
		}
		return b, nil
	}
	return nil, ErrForeign
}

// tree walks the pages below root, the last elements first, and hands each leaf to visit. A page that cannot be read is handed to
// broken, and left out. Seen has a bit for each page of the file: no page is in two places.
type tree struct {
	*bolt
	seen   pageSet
	visit  func(page) error
	branch func(page) error // is handed each branch; may be nil
	broken func(error)
	ahead  bool // have the memory bring leaves that are to be visited
	looked byte
}

func (t *tree) walk(p page, depth int) error {
	if err := p.check(); err != nil {
		t.broken(err)
		return nil
	}
	if p.flags == leafPage {
		return t.visit(p)
	}
	if depth == maxDepth {
		t.broken(damaged(p.id, "the tree is deeper than any"))
		return nil
	}
	if t.branch != nil {
		if err := t.branch(p); err != nil {
			return err
		}
	}
	for i := p.count - 1; i >= 0; i-- {
		if t.ahead && (p.count-1-i)%lookAhead == 0 {
			t.look(p, i)
		}
		child, err := p.branch(i)
		if err != nil {
			t.broken(err)
			continue
		}
		if err := t.descend(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// descend walks the page of that number.
func (t *tree) descend(id uint64, depth int) error {
	p, err := t.page(id)
	if err != nil {
		t.broken(err)
		return nil
	}
	if !t.claim(p) {
		return nil
	}
	return t.walk(p, depth)
}

// claim tells whether a page is met for the first time.
func (t *tree) claim(p page) bool {
	for i := range uint64(len(p.bytes)) / t.pageSize {
		if !t.seen.add(p.id + i) {
			t.broken(damaged(p.id+i, twoPlaces))
			return false
		}
	}
	return true
}

const twoPlaces = "it is in two places"

// subtree is a page of a tree with all below it.
type subtree struct {
	id    uint64
	depth int
}

// subtrees takes a tree apart, from above: into some at least, if it has so many, in their order.
func (t *tree) subtrees(root uint64, some int) []subtree {
	parts := []subtree{{id: root}}
	for depth := 0; depth < maxDepth && len(parts) < some; depth++ {
		var below []subtree
		apart := false
		for _, s := range parts {
			p, err := t.page(s.id)
			if err != nil || p.flags != branchPage {
				below = append(below, s) // whoever walks it tells what it is
				continue
			}
			apart = true
			if !t.claim(p) {
				continue
			}
			if err := p.check(); err != nil {
				t.broken(err)
				continue
			}
			for i := range p.count {
				child, err := p.branch(i)
				if err != nil {
					t.broken(err)
					continue
				}
				below = append(below, subtree{id: child, depth: s.depth + 1})
			}
		}
		if parts = below; !apart {
			break
		}
	}
	return parts
}

// bucket is where the tree of a bucket begins.
type bucket struct {
	root   uint64 // 0: inline
	inline []byte // the page in an inline bucket
	start  uint64 // where in the file that is
}

// parseBucket reads the value of an element that is a bucket.
func parseBucket(p page, value []byte) (bucket, error) {
	if len(value) < bucketHead {
		return bucket{}, damaged(p.id, "it has a bucket without a head")
	}
	b := bucket{root: le64(value)}
	if b.root != 0 {
		return b, nil
	}
	if b.inline = value[bucketHead:]; len(b.inline) < pageHeader {
		return bucket{}, damaged(p.id, "it has an inline bucket without a page")
	}
	return b, nil
}

// walkBucket walks a bucket.
func (t *tree) walkBucket(b bucket) error {
	if b.root != 0 {
		return t.descend(b.root, 0)
	}
	p, _ := parsePage(b.inline)
	p.id, p.start = 0, b.start
	return t.walk(p, 0)
}

// buckets are the top-level buckets by name.
func (b *bolt) buckets(seen pageSet, broken func(error)) map[string]bucket {
	found := make(map[string]bucket)
	t := tree{bolt: b, seen: seen, broken: broken, visit: func(p page) error {
		for i := range p.count {
			flags, name, value, err := p.leaf(i)
			if err == nil && flags&bucketLeaf == 0 {
				err = damaged(p.id, "it has something else than a bucket in the bucket of buckets")
			}
			if err != nil {
				broken(err)
				continue
			}
			inner, err := parseBucket(p, value)
			if err != nil {
				broken(err)
				continue
			}
			_, end, _ := p.extent(i)
			inner.start = p.start + end - uint64(len(inner.inline))
			found[string(name)] = inner
		}
		return nil
	}}
	_ = t.descend(b.meta.root, 0) // visit gives no error
	return found
}

// pageSet has a bit for each page of a file.
type pageSet []uint64

func newPageSet(pages uint64) pageSet { return make(pageSet, pages/64+1) }

func (s pageSet) has(id uint64) bool { return s[id/64]&(1<<(id%64)) != 0 }

// both is a page that is in both of two sets of one file.
func (s pageSet) both(t pageSet) (id uint64, found bool) {
	for i := range s {
		if common := s[i] & t[i]; common != 0 {
			return uint64(i)*64 + uint64(bits.TrailingZeros64(common)), true
		}
	}
	return 0, false
}

// add tells whether the page was not in the set before.
func (s pageSet) add(id uint64) bool {
	if s.has(id) {
		return false
	}
	s[id/64] |= 1 << (id % 64)
	return true
}
