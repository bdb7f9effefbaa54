package snapshot

import "encoding/binary"

const (
	lookAhead = 16 // pages
	lookInto  = 8  // elements of each
	cacheLine = 64
)

// look has the memory bring the pages below a branch that are next, and the beginnings of what they hold: one after the other each
// would be waited for, as they are far from each other. Whether they are in order is for others to tell.
func (t *tree) look(p page, last int) {
	var starts [lookAhead]uint64
	n, size, looked := 0, uint64(len(t.data)), byte(0)
	for i := last; i >= 0 && n < lookAhead; i-- {
		if id, err := p.branch(i); err == nil && id < t.meta.pages {
			starts[n] = id * t.pageSize
			looked += t.data[starts[n]]
			n++
		}
	}
	for _, start := range starts[:n] {
		head, _ := parsePage(t.data[start:])
		if head.flags != leafPage {
			continue
		}
		for i := range uint64(min(head.count, lookInto)) {
			at := start + pageHeader + i*element
			if from := at + uint64(binary.LittleEndian.Uint32(t.data[at+4:])); from+cacheLine < size {
				looked += t.data[from] + t.data[from+cacheLine]
			}
		}
	}
	t.looked = looked
}

// look has the memory bring the elements at places, and the beginnings of what they hold.
func (b *batch) look(data []byte, places []place) {
	looked, size := byte(0), uint64(len(data))
	for _, at := range places {
		if uint64(at) < size {
			looked += data[at]
		}
	}
	for _, at := range places {
		if uint64(at)+element > size {
			continue
		}
		if from := uint64(at) + uint64(binary.LittleEndian.Uint32(data[at+4:])); from < size {
			looked += data[from]
		}
	}
	b.looked = looked
}
