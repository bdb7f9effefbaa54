package snapshot

import (
	"bytes"
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// revision is the key under which etcd keeps one write of a key.
type revision struct {
	main, sub int64
	tombstone bool
}

const (
	revisionBytes  = 8 + 1 + 8
	tombstoneBytes = revisionBytes + 1
)

func parseRevision(key []byte) (revision, bool) {
	if len(key) != revisionBytes && len(key) != tombstoneBytes || key[8] != '_' {
		return revision{}, false
	}
	r := revision{main: int64(binary.BigEndian.Uint64(key)), sub: int64(binary.BigEndian.Uint64(key[9:])), tombstone: len(key) == tombstoneBytes}
	return r, r.main > 0 && r.sub >= 0 && (!r.tombstone || key[revisionBytes] == 't')
}

func be64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// write is one write as etcd keeps it, a mvccpb.KeyValue. Its slices are part of the file.
type write struct {
	key, value                   []byte
	created, mod, version, lease int64
}

// Fields of mvccpb.KeyValue.
const (
	fieldKey = iota + 1
	fieldCreateRevision
	fieldModRevision
	fieldVersion
	fieldValue
	fieldLease
)

func parseWrite(b []byte) (w write, ok bool) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return write{}, false
		}
		b = b[n:]
		switch {
		case kind == protowire.VarintType && field > fieldKey && field <= fieldLease && field != fieldValue:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return write{}, false
			}
			b = b[n:]
			switch field {
			case fieldCreateRevision:
				w.created = int64(v)
			case fieldModRevision:
				w.mod = int64(v)
			case fieldVersion:
				w.version = int64(v)
			case fieldLease:
				w.lease = int64(v)
			}
		case kind == protowire.BytesType && (field == fieldKey || field == fieldValue):
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return write{}, false
			}
			b = b[n:]
			if field == fieldKey {
				w.key = v
			} else {
				w.value = v
			}
		default:
			n := protowire.ConsumeFieldValue(field, kind, b)
			if n < 0 {
				return write{}, false
			}
			b = b[n:]
		}
	}
	return w, len(w.key) > 0
}

// keyOf is the key of a write. Etcd writes it first.
func keyOf(b []byte) ([]byte, bool) {
	if len(b) > 2 && b[0] == fieldKey<<3|2 && b[1] < 0x80 && int(b[1]) <= len(b)-2 && b[1] > 0 {
		return b[2 : 2+int(b[1])], true
	}
	w, ok := parseWrite(b)
	return w.key, ok
}

const wrongRevision = "a write is not of the revision that it lies under"

// eachRevision walks a leaf of the key bucket, the newest revision first, and gives up at the first that is none. Last is the
// key that came before, and is moved on: they have to descend.
func (p page) eachRevision(last *[]byte, f func(i int, r revision, value []byte) error) error {
	for i := p.count - 1; i >= 0; i-- {
		flags, key, value, err := p.leaf(i)
		if err != nil {
			return err
		}
		r, ok := parseRevision(key)
		switch {
		case flags != 0 || !ok:
			return damaged(p.id, "an element has a key that is no revision")
		case *last != nil && bytes.Compare(key, *last) >= 0:
			return damaged(p.id, "a revision is out of order")
		}
		*last = key
		if err := f(i, r, value); err != nil {
			return err
		}
	}
	return nil
}
