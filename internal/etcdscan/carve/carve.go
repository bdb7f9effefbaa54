// Package carve finds the values that Kubernetes stored in bytes of etcd's files whose structure is gone: free pages, the slack
// of pages, the tail of a WAL segment. It never reads a file and never decrypts, and what it returns are slices of the bytes it
// was given.
package carve

import (
	"bytes"
	"iter"
)

// Value is one value that was found. Its slices are part of the bytes searched.
type Value struct {
	// Offset is that of the value's first byte in the region.
	Offset int
	// Key is the etcd key that the value was written under, nil where that could not be recovered. One with a control character in
	// it never is.
	Key []byte
	// ModRevision is the revision that the value was written at, 0 where that could not be recovered. A WAL does not hold it beside
	// the value.
	ModRevision int64
	// Bytes are as many as the value had, unless it is Cut; a page in the middle may still have been used for something else. Of one
	// that is Cut they end with the region, where the next value begins, or where they can no longer belong to it: the value may have
	// ended before that, and may have been longer.
	Bytes []byte
	// Cut tells that the end of the value is missing, or not known.
	Cut bool
}

// Find yields the values in b in the order of their offsets, none inside of another. It finds them by how they begin, so one
// whose beginning is missing is not found, nor is YAML. What is not Kubernetes' is left out. The time is linear in len(b).
//
// A value with nothing recognisable in front of it must tell by more than its first bytes what it is, so that text about values
// and objects inside of objects are not counted.
func Find(b []byte) iter.Seq[Value] {
	return func(yield func(Value) bool) {
		s := search{b: b, yield: yield, items: rewalks * len(b)}
		if s.run() && s.held {
			yield(s.last)
		}
	}
}

// search is one pass over a region. A value is held back until the next one is known, which may be where it ends.
type search struct {
	b     []byte
	yield func(Value) bool
	held  bool
	last  Value

	at     int // where the next value may begin
	floor  int // the end of what was yielded: no header reaches back over it
	inside int // the end of the last value if it is whole, otherwise 0
	hidden int // values without a header that begin before it are part of the last one
	items  int // how many items of CBOR may yet be looked at
}

// markers are how the search gets on: the first bytes of the three kinds, protobuf and ciphertext being one of them here.
var markers = [...][]byte{[]byte("k8s"), []byte("{"), cborTag}

// window bounds how far the search for one marker runs ahead of the others, so that a mapped file passes through memory once.
const window = 1 << 20

// rewalks is how often each byte may be looked at as an item of CBOR. Once is enough for values one behind another, even if each
// byte is an item; what is made to claim the values behind it as its own, again and again, would otherwise be walked in quadratic
// time.
const rewalks = 4

// run is false when the caller has had enough.
func (s *search) run() bool {
	for start := 0; start < len(s.b); start += window {
		end := min(start+window, len(s.b))
		next := [len(markers)]int{-1, -1, -1}
		s.at = max(s.at, start)
		for s.at < end {
			first := end
			for i, marker := range markers {
				if next[i] < s.at {
					next[i] = end
					if n := bytes.Index(s.b[s.at:min(end+len(marker)-1, len(s.b))], marker); n >= 0 {
						next[i] = s.at + n
					}
				}
				first = min(first, next[i])
			}
			s.at = first
			if first < end && !s.look() {
				return false
			}
		}
	}
	return true
}

// look takes the value that begins at s.at, if one does, and moves on. It is false when the caller has had enough.
func (s *search) look() bool {
	at := s.at
	s.at++
	recognise := recogniser(s.b[at:])
	if recognise == nil {
		return true
	}
	floor := s.floor
	switch {
	case at < s.inside:
		floor = s.last.Offset + 1
	case s.inside > 0:
		floor = s.inside
	}
	h := headerBefore(s.b[floor:at])
	if h.kind == inMap || h.kind == none && at < s.hidden || at < s.inside && !h.element {
		return true
	}
	content := s.b[at:]
	cut := false
	if h.kind == byEtcd {
		cut = h.length > len(content)
		content = content[:min(h.length, len(content))]
	}
	e, ok := recognise(s, at, content, h.kind == byEtcd)
	if !ok {
		return true
	}
	v := Value{Offset: at, Key: h.key, ModRevision: h.modRevision, Bytes: content, Cut: cut}
	if h.kind == none {
		v.Bytes, v.Cut = content[:e.end], !e.whole
	} else if cut || e.end < len(content) {
		e.whole = false // by chance: something else lies where the value went on
	}
	if !s.take(v, at-h.size) {
		return false
	}
	s.at, s.hidden, s.inside = at+e.next, at+e.hides, 0
	if e.whole {
		s.inside = at + e.end
	}
	return true
}

// take holds v, whose header begins at start, and yields the value before it.
func (s *search) take(v Value, start int) bool {
	held, last := s.held, s.last
	s.held, s.last = true, v
	if !held || start <= last.Offset { // what was taken for a value is part of the key of this one
		return true
	}
	if reach := start - last.Offset; reach < len(last.Bytes) {
		last.Bytes, last.Cut = last.Bytes[:reach], true
	}
	s.floor = last.Offset + len(last.Bytes)
	return s.yield(last)
}

// extent is what the bytes of a value tell about its end. Offsets are from its beginning.
//
// The pages of a value are used again one by one, so that what lies behind its beginning, or in its middle, may be another page.
// Two mistakes are possible: to count what is only text inside of an object, which nobody could ever clean up, and to miss a
// value that is there.
//
//   - Inside of a value that is whole by its own structure, only an element of bbolt counts, with its key in front: a large field
//     is not looked into, so a page in the middle of it may be another one. The price is that a copy of a db file, stored in an
//     object, counts as well.
//   - Where the structure breaks, or the region ends, whatever has a header of etcd's counts, and what has none only behind the
//     point up to which the structure reaches.
//   - Ciphertext has no structure, and nothing in it looks like a value by chance: whatever is found in it has overwritten it.
type extent struct {
	end   int  // of the value; if not whole, of what may belong to it
	whole bool // the value's own structure ends at end
	next  int  // where the search goes on
	hides int  // where values without a header count again
}
