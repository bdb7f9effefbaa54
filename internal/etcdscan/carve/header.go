package carve

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Bounds of what is taken for a header.
const (
	maxKey   = 4 << 10
	maxValue = 64 << 20 // etcd warns of a request limit beyond 10 MiB
)

// Tags of the fields in front of a value, each written in the order of the numbers, and never left out in a value that Kubernetes
// wrote.
// https://github.com/etcd-io/etcd/blob/v3.7.3/api/mvccpb/kv.proto
// https://github.com/etcd-io/etcd/blob/v3.7.3/api/etcdserverpb/rpc.proto
const (
	tagKey            = 0x0a // of KeyValue and PutRequest
	tagCreateRevision = 0x10
	tagModRevision    = 0x18
	tagVersion        = 0x20
	tagValue          = 0x2a // of KeyValue
	tagPutValue       = 0x12 // of PutRequest
)

type headerKind int

const (
	none   headerKind = iota
	byEtcd            // of a KeyValue or a PutRequest
	inMap             // of an entry of a map inside of an object
)

// header is what lies in front of a value.
type header struct {
	kind        headerKind
	size        int
	key         []byte // nil if its beginning is missing
	modRevision int64  // 0 in a PutRequest
	length      int    // of the value
	element     bool   // the key of bbolt is in front of it all
}

// headerBefore reads the header that ends where b ends. It goes backwards: a varint begins behind the next byte without the high
// bit, so there is one way to read it. What is looked at are the tags and then, back to the nearest control character, the key:
// the tags being control characters themselves, headers one behind another cannot make the search read a byte more than a few
// times.
func headerBefore(b []byte) header {
	length, at := fieldBefore(b, len(b))
	if at < 0 || length == 0 || length > maxValue {
		return header{}
	}
	h := header{kind: byEtcd, length: int(length)}
	switch b[at] {
	case tagValue:
		var revisions [3]int64 // version, mod_revision, create_revision
		for i, tag := range [...]byte{tagVersion, tagModRevision, tagCreateRevision} {
			var n uint64
			if n, at = fieldBefore(b, at); at < 0 || b[at] != tag || n == 0 || n > math.MaxInt64 {
				return header{}
			}
			revisions[i] = int64(n)
		}
		if h.modRevision = revisions[1]; revisions[2] > h.modRevision {
			return header{}
		}
		if key, start := keyBefore(b, at); key != nil {
			h.key, at = key, start
			h.element = elementBefore(b[:at], h.modRevision)
		}
	case tagPutValue:
		// An entry of a map<string, bytes> or map<string, string> in an object is written in the same way: the data of a secret,
		// an annotation. Its key holds no '/' in front, and those of Kubernetes in etcd always do:
		// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/storage/etcd3/store.go
		if h.key, at = keyBefore(b, at); h.key == nil {
			return header{}
		}
		if h.key[0] != '/' {
			return header{kind: inMap}
		}
	default:
		return header{}
	}
	h.size = len(b) - at
	return h
}

// elementBefore tells whether b ends with the key of bbolt for a revision: its two numbers in eight bytes each, and a '_' between
// them.
// https://github.com/etcd-io/etcd/blob/v3.7.3/server/storage/mvcc/revision.go
func elementBefore(b []byte, revision int64) bool {
	const size = 8 + 1 + 8
	if len(b) < size {
		return false
	}
	b = b[len(b)-size:]
	return b[8] == '_' && binary.BigEndian.Uint64(b) == uint64(revision)
}

// fieldBefore reads the varint that ends at end; tag is the offset of the byte in front of it, negative if there is none.
func fieldBefore(b []byte, end int) (n uint64, tag int) {
	if end < 2 || b[end-1] >= 0x80 {
		return 0, -1
	}
	start := end - 1
	for start > 0 && end-start <= 10 && b[start-1] >= 0x80 {
		start--
	}
	n, size := protowire.ConsumeVarint(b[start:end])
	if size < 0 || size != protowire.SizeVarint(n) {
		return 0, -1
	}
	return n, start - 1
}

// keyBefore reads the field of the key that ends at end and begins at start, nil if there is none.
func keyBefore(b []byte, end int) (key []byte, start int) {
	at := end
	for at > 0 && end-at < maxKey+2 && b[at-1] >= ' ' {
		at--
	}
	// The control character in front is the tag, or the last byte of the length.
	for start = at - 1; start >= max(at-3, 0); start-- {
		if b[start] != tagKey {
			continue
		}
		n, size := protowire.ConsumeVarint(b[start+1 : end])
		if size > 0 && size == protowire.SizeVarint(n) && n > 0 && n <= maxKey && start+1+size+int(n) == end {
			return b[start+1+size : end], start
		}
	}
	return nil, end
}
