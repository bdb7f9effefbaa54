package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
)

// The format of a bolt file, as go.etcd.io/bbolt has it in internal/common. It is read here and not by that library because a
// damaged file is what this package must be able to take: bbolt trusts what a page says of itself.
const (
	pageHeader = 16 // id, flags, count, overflow
	element    = 16 // of a branch or a leaf
	bucketHead = 16 // root page, sequence
	metaSize   = 64 // after the header of its page

	branchPage = 0x01
	leafPage   = 0x02
	metaPage   = 0x04
	freePage   = 0x10

	bucketLeaf = 0x01 // flag of an element whose value is a bucket

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	noFreelist  = ^uint64(0)

	minPageSize = 1 << 10
	maxPageSize = 64 << 10
)

// page is one page with those that overflow from it, or the page inside of an inline bucket, which has no number.
type page struct {
	id    uint64
	start uint64 // where in the file it is
	flags uint16
	count int
	bytes []byte // with the header
}

// DamageError tells where a file is no bolt file that etcd could have written. Page is one that the file has, and Reason a fixed
// text: whatever stands in a page could be a part of a value, numbers included.
type DamageError struct {
	Page   uint64
	Reason string
}

func (e *DamageError) Error() string { return fmt.Sprintf("page %d is damaged: %s", e.Page, e.Reason) }

func damaged(id uint64, reason string) error { return &DamageError{Page: id, Reason: reason} }

var errNoSuchPage = errors.New("a page is damaged: it refers to one that the file does not have")

// page reads the header of a page, and finds all of its bytes in the file.
func (b *bolt) page(id uint64) (page, error) {
	if id < 2 || id >= b.meta.pages {
		return page{}, errNoSuchPage
	}
	start := id * b.pageSize
	p, overflow := parsePage(b.data[start : start+b.pageSize])
	if p.id != id {
		return page{}, damaged(id, "it says that it is another one")
	}
	if overflow >= b.meta.pages-id {
		return page{}, damaged(id, "it goes on behind the end of the file")
	}
	p.start, p.bytes = start, b.data[start:start+(overflow+1)*b.pageSize]
	return p, nil
}

// parsePage reads a header; bytes has room for one.
func parsePage(bytes []byte) (p page, overflow uint64) {
	return page{
		id:    binary.LittleEndian.Uint64(bytes),
		flags: binary.LittleEndian.Uint16(bytes[8:]),
		count: int(binary.LittleEndian.Uint16(bytes[10:])),
		bytes: bytes,
	}, uint64(binary.LittleEndian.Uint32(bytes[12:]))
}

// check tells whether the page is a branch or a leaf as bolt writes one: what its elements hold follows upon them in their order
// and without a gap. So a wrong number of elements shows, which bolt's own check takes as it is.
func (p page) check() error {
	switch {
	case p.flags != branchPage && p.flags != leafPage:
		return damaged(p.id, "it is neither a branch nor a leaf")
	case p.flags == branchPage && p.count == 0:
		return damaged(p.id, "it is a branch without elements")
	case pageHeader+p.count*element > len(p.bytes):
		return damaged(p.id, "its elements have no room in it")
	case p.count == 0 && len(p.bytes) >= pageHeader+element && !bytes.Equal(p.bytes[pageHeader:pageHeader+element], make([]byte, element)):
		return damaged(p.id, "it says that it is empty, and is not")
	}
	next := uint64(pageHeader + p.count*element)
	for i := range p.count {
		from, end, err := p.extent(i)
		if err != nil {
			return err
		}
		if from != next {
			return damaged(p.id, "an element does not begin where the one before ends")
		}
		next = end
	}
	return nil
}

// extent is where in the page lies what element i holds, of a leaf or a branch.
func (p page) extent(i int) (from, end uint64, err error) {
	at := pageHeader + i*element
	e := p.bytes[at : at+element]
	if p.flags == branchPage {
		from = uint64(at) + uint64(binary.LittleEndian.Uint32(e))
		end = from + uint64(binary.LittleEndian.Uint32(e[4:]))
	} else {
		from = uint64(at) + uint64(binary.LittleEndian.Uint32(e[4:]))
		end = from + uint64(binary.LittleEndian.Uint32(e[8:])) + uint64(binary.LittleEndian.Uint32(e[12:]))
	}
	if from < uint64(pageHeader+p.count*element) || end > uint64(len(p.bytes)) {
		return 0, 0, damaged(p.id, "an element lies outside of it")
	}
	return from, end, nil
}

// leaf is element i of a leaf, which check has passed: but the file may have been changed since.
func (p page) leaf(i int) (flags uint32, key, value []byte, err error) {
	if i >= p.count || p.flags != leafPage {
		return 0, nil, nil, damaged(p.id, "it was changed while it was read")
	}
	from, end, err := p.extent(i)
	if err != nil {
		return 0, nil, nil, err
	}
	e := p.bytes[pageHeader+i*element:]
	keyEnd := from + uint64(binary.LittleEndian.Uint32(e[8:]))
	if keyEnd > end {
		return 0, nil, nil, damaged(p.id, "an element lies outside of it")
	}
	return binary.LittleEndian.Uint32(e), p.bytes[from:keyEnd:keyEnd], p.bytes[keyEnd:end:end], nil
}

// key is that of element i, of a leaf or a branch.
func (p page) key(i int) ([]byte, error) {
	if p.flags == leafPage {
		_, key, _, err := p.leaf(i)
		return key, err
	}
	if i >= p.count || p.flags != branchPage {
		return nil, damaged(p.id, "it was changed while it was read")
	}
	from, end, err := p.extent(i)
	if err != nil {
		return nil, err
	}
	return p.bytes[from:end:end], nil
}

// branch is element i of a branch, which check has passed.
func (p page) branch(i int) (child uint64, err error) {
	if i >= p.count || p.flags != branchPage {
		return 0, damaged(p.id, "it was changed while it was read")
	}
	return binary.LittleEndian.Uint64(p.bytes[pageHeader+i*element+8:]), nil
}

// used is where the last byte of the page ends that an element has; what follows is slack.
func (p page) used() (int, error) {
	if p.count == 0 {
		return pageHeader, nil
	}
	_, end, err := p.extent(p.count - 1)
	return int(end), err
}

// meta is what one of the two first pages says of the file.
type meta struct {
	pageSize uint64
	root     uint64 // of the bucket of buckets
	freelist uint64
	pages    uint64 // of the file; etcd may have made room for more
	tx       uint64
}

// parseMeta reads the page of a meta; bytes begin with its header. It is sound if its checksum is.
func parseMeta(bytes []byte) (m meta, sound bool) {
	if len(bytes) < pageHeader+metaSize {
		return meta{}, false
	}
	b := bytes[pageHeader : pageHeader+metaSize]
	m = meta{
		pageSize: uint64(binary.LittleEndian.Uint32(b[8:])),
		root:     binary.LittleEndian.Uint64(b[16:]),
		freelist: binary.LittleEndian.Uint64(b[32:]),
		pages:    binary.LittleEndian.Uint64(b[40:]),
		tx:       binary.LittleEndian.Uint64(b[48:]),
	}
	sum := fnv.New64a()
	sum.Write(b[:56])
	size := m.pageSize
	return m, binary.LittleEndian.Uint32(b) == boltMagic && binary.LittleEndian.Uint32(b[4:]) == boltVersion &&
		binary.LittleEndian.Uint64(b[56:]) == sum.Sum64() && size >= minPageSize && size <= maxPageSize && size&(size-1) == 0
}
