package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/maphash"
)

// keySet is the keys that were met, each with the place of its newest write. Its slots have the upper half of a key's hash, and
// where in the names the key is.
type keySet struct {
	seed  maphash.Seed
	slots []uint64
	names names
	keys  int
}

func newKeySet(seed maphash.Seed) *keySet {
	return &keySet{seed: seed, slots: make([]uint64, 1<<12), names: newNames()}
}

var errTooMany = errors.New("the file has more keys than svmctl can tell apart")

// meet takes a key up, and tells whether it is the first time.
func (s *keySet) meet(key []byte, here place) (first bool, err error) {
	if s.keys >= len(s.slots)/4*3 {
		s.grow()
	}
	tag := uint32(maphash.Bytes(s.seed, key) >> 32)
	_, i, found := s.find(tag, func(known name) bool { return s.names.equal(known, key) })
	if found {
		return false, nil
	}
	at, err := s.names.add(key, here)
	s.slots[i] = uint64(tag)<<32 | uint64(at+1)
	s.keys++
	return true, err
}

// find looks for a key with a tag. If there is none, it gives back the slot where it would be.
func (s *keySet) find(tag uint32, is func(name) bool) (found name, slot uint64, ok bool) {
	mask := uint64(len(s.slots) - 1)
	for i := uint64(tag) & mask; ; i = (i + 1) & mask {
		switch slot := s.slots[i]; {
		case slot == 0:
			return 0, i, false
		case uint32(slot>>32) == tag && is(name(uint32(slot)-1)):
			return name(uint32(slot) - 1), i, true
		}
	}
}

func (s *keySet) grow() {
	old := s.slots
	s.slots = make([]uint64, 2*len(old))
	for i := 0; i < len(s.slots); i += slotsPerPage {
		s.slots[i] = 0 // memory that is read before it is written to is fetched twice
	}
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

const slotsPerPage = 4096 / 8 // of memory

// forget marks each key as gone that newer has: what became of it since is in there.
func (s *keySet) forget(newer *keySet) {
	var key []byte
	for _, slot := range s.slots {
		if slot == 0 {
			continue
		}
		mine, have := name(uint32(slot)-1), false
		_, _, found := newer.find(uint32(slot>>32), func(theirs name) bool {
			if !have {
				key, have = s.names.append(key[:0], mine), true
			}
			return newer.names.equal(theirs, key)
		})
		if found {
			s.names.setGone(mine)
		}
	}
}

// names is keys in the order in which they were met, each with a place. The directory of a key, to its last slash, is kept once for
// all keys in it: so a key takes some 13 bytes and its own name.
type names struct {
	chunks [][]byte
	dirs   []string // the first is empty
	known  map[string]uint32
	whole  bool // some keys are kept whole, in the empty directory
}

// name is where in the names a key is, in units of 8 bytes. There lie its place, the number of its directory, the length of what
// follows upon that, and this.
type name uint32

const (
	chunkBits = 17 // of a name; the rest is the number of the chunk
	chunkSize = 8 << chunkBits
	maxChunks = 1<<(32-chunkBits) - 1 // the last name of all is none
	nameHead  = 8 + 4
	longName  = 4096    // a name that is longer counts as a directory, so that names fit into chunks
	manyDirs  = 1 << 16 // of so many directories there is a list; keys in further ones are kept whole
)

func newNames() names {
	return names{dirs: []string{""}, known: make(map[string]uint32)}
}

func (n *names) add(key []byte, here place) (name, error) {
	dir, rest := n.split(key)
	size := (nameHead + binary.MaxVarintLen16 + len(rest) + 7) / 8 * 8
	last := len(n.chunks) - 1
	if last < 0 || len(n.chunks[last])+size > chunkSize {
		if last++; last == maxChunks {
			return 0, errTooMany
		}
		n.chunks = append(n.chunks, make([]byte, 0, chunkSize))
	}
	chunk := n.chunks[last]
	at := name(last<<chunkBits | len(chunk)/8)
	chunk = binary.LittleEndian.AppendUint64(chunk, uint64(here))
	chunk = binary.LittleEndian.AppendUint32(chunk, dir)
	chunk = binary.AppendUvarint(chunk, uint64(len(rest)))
	chunk = append(chunk, rest...)
	n.chunks[last] = chunk[:(len(chunk)+7)/8*8]
	return at, nil
}

// split finds the directory of a key.
func (n *names) split(key []byte) (dir uint32, rest []byte) {
	end := bytes.LastIndexByte(key, '/') + 1
	if end == 0 || len(key)-end > longName {
		end = len(key) // a key beside all directories would have them in it, were it in the empty one
	}
	dir, ok := n.known[string(key[:end])]
	switch {
	case ok:
	case len(n.known) < manyDirs && end <= longName:
		text := string(key[:end])
		n.dirs = append(n.dirs, text)
		dir = uint32(len(n.dirs) - 1)
		n.known[text] = dir
	case len(key) > longName:
		n.dirs = append(n.dirs, string(key))
		return uint32(len(n.dirs) - 1), nil
	default:
		n.whole = true
		return 0, key
	}
	return dir, key[end:]
}

// used is the directories that keys are in.
func (n *names) used() []string {
	if n.whole {
		return n.dirs
	}
	return n.dirs[1:]
}

// dir is the number of a key's directory.
func (n *names) dir(at name) uint32 { return binary.LittleEndian.Uint32(n.record(at)[8:]) }

func (n *names) record(at name) []byte {
	return n.chunks[at>>chunkBits][at&(1<<chunkBits-1)*8:]
}

// of is the key in two parts.
func (n *names) of(at name) (dir string, rest []byte) {
	r := n.record(at)
	dir = n.dirs[binary.LittleEndian.Uint32(r[8:])]
	length, size := uint64(r[nameHead]), 1
	if length >= 0x80 {
		length, size = binary.Uvarint(r[nameHead:])
	}
	from := nameHead + size
	return dir, r[from : from+int(length)]
}

func (n *names) append(to []byte, at name) []byte {
	dir, rest := n.of(at)
	return append(append(to, dir...), rest...)
}

func (n *names) equal(at name, key []byte) bool {
	dir, rest := n.of(at)
	return len(dir)+len(rest) == len(key) && string(key[:len(dir)]) == dir && bytes.Equal(key[len(dir):], rest)
}

func (n *names) place(at name) place { return place(binary.LittleEndian.Uint64(n.record(at))) }

func (n *names) setGone(at name) {
	binary.LittleEndian.PutUint64(n.record(at), uint64(n.place(at)|gone))
}

// each hands on every key that is not gone.
func (n *names) each(f func(name)) {
	for i, chunk := range n.chunks {
		for from := 0; from < len(chunk); {
			at := name(i<<chunkBits | from/8)
			_, rest := n.of(at)
			size := 1
			if len(rest) >= 0x80 {
				size = 2
			}
			if n.place(at)&gone == 0 {
				f(at)
			}
			from = (from + nameHead + size + len(rest) + 7) / 8 * 8
		}
	}
}
