package carve

import "encoding/binary"

// Major types, and the additional information of an indefinite length.
// https://www.rfc-editor.org/rfc/rfc8949.html#section-3
const (
	cborBytes      = 2
	cborText       = 3
	cborArray      = 4
	cborMap        = 5
	cborTagged     = 6
	cborSimple     = 7
	cborIndefinite = 31
)

// maxDepth is the nesting that Kubernetes allows.
const maxDepth = 10000

func (s *search) cbor(_ int, content []byte, headed bool) (extent, bool) {
	if len(content) <= len(cborTag) || content[len(cborTag)]>>5 != cborMap || !headed && !cborTyped(content[:min(near, len(content))]) {
		return extent{}, false
	}
	e := extent{next: len(cborTag)}
	e.end, e.whole = cborEnd(content, &s.items)
	e.hides = e.end
	return e, true
}

// cborTyped tells whether a map has an apiVersion or a kind among its first members. It looks for one alone: the apiserver sorts
// shorter names to the front, so that a large field may lie between the two.
func cborTyped(b []byte) bool {
	at, items := len(cborTag), len(b)
	_, _, _, n := cborHead(b[at:])
	for n > 0 {
		at += n
		major, length, indefinite, size := cborHead(b[at:])
		if size == 0 || indefinite || major != cborBytes && major != cborText || length > uint64(len(b)-at-size) {
			return false
		}
		at += size + int(length)
		if key := string(b[at-int(length) : at]); key == "apiVersion" || key == "kind" {
			return true
		}
		var whole bool
		if n, whole = cborEnd(b[at:], &items); !whole {
			return false
		}
	}
	return false
}

// cborEnd is where the item ends that b begins with, if whole; otherwise the first byte that cannot belong to it, or that is one
// too many.
func cborEnd(b []byte, items *int) (end int, whole bool) {
	var open []uint64 // items missing in each array, map or string around; indefinite for one that a break ends
	const indefinite = 1 << 63
	for at := 0; ; *items-- {
		major, n, endless, size := cborHead(b[at:])
		if size == 0 || *items <= 0 {
			return at, false
		}
		broken := major == cborSimple && endless
		if broken && (len(open) == 0 || open[len(open)-1] != indefinite) || len(open) >= maxDepth {
			return at, false
		}
		at += size
		switch {
		case major == cborTagged:
			continue
		case broken:
			open = open[:len(open)-1]
		case endless:
			open = append(open, indefinite)
			continue
		case major == cborBytes || major == cborText:
			if n > uint64(len(b)-at) {
				return len(b), false
			}
			at += int(n)
		case major == cborArray && n > 0:
			open = append(open, n)
			continue
		case major == cborMap && n > 0:
			open = append(open, 2*n)
			continue
		}
		for len(open) > 0 && open[len(open)-1] == 1 {
			open = open[:len(open)-1]
		}
		if len(open) == 0 {
			return at, true
		}
		if open[len(open)-1] != indefinite {
			open[len(open)-1]--
		}
	}
}

// cborHead reads the head of an item. Size is 0 if there is none; then b ends, or its first byte is no head.
func cborHead(b []byte) (major byte, n uint64, indefinite bool, size int) {
	if len(b) == 0 {
		return 0, 0, false, 0
	}
	major = b[0] >> 5
	info := b[0] & 0x1f
	switch {
	case info < 24:
		return major, uint64(info), false, 1
	case info < 28:
		width := 1 << (info - 24)
		if len(b) <= width {
			return 0, 0, false, 0
		}
		var wide [8]byte
		copy(wide[8-width:], b[1:1+width])
		if n = binary.BigEndian.Uint64(wide[:]); n > maxValue && major >= cborBytes && major <= cborMap {
			return 0, 0, false, 0
		}
		return major, n, false, 1 + width
	case info == cborIndefinite && (major >= cborBytes && major <= cborMap || major == cborSimple):
		return major, 0, true, 1
	}
	return 0, 0, false, 0
}
