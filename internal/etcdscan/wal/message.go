package wal

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of Record, of Entry and HardState, and of the requests that entries carry.
// https://github.com/etcd-io/etcd/blob/v3.7.3/server/storage/wal/walpb/record.proto
// https://github.com/etcd-io/raft/blob/v3.7.0/raftpb/raft.proto
// https://github.com/etcd-io/etcd/blob/v3.7.3/api/etcdserverpb/raft_internal.proto
// https://github.com/etcd-io/etcd/blob/v3.7.3/api/etcdserverpb/rpc.proto
const (
	recordType protowire.Number = 1
	recordSum  protowire.Number = 2
	recordData protowire.Number = 3

	entryKind  protowire.Number = 1
	entryIndex protowire.Number = 3
	entryData  protowire.Number = 4

	stateCommit protowire.Number = 3

	requestV2  protowire.Number = 2
	requestPut protowire.Number = 4
	requestTxn protowire.Number = 6

	txnSuccess protowire.Number = 2
	txnFailure protowire.Number = 3

	opPut protowire.Number = 2
	opTxn protowire.Number = 4

	putKey   protowire.Number = 1
	putValue protowire.Number = 2
)

// Kinds of raft entries. Those between the two change the membership as well.
const (
	normalEntry  = 0
	confChangeV2 = 2
)

// maxTxnNesting bounds the stack. The apiserver does not nest transactions at all.
const maxTxnNesting = 100

// record is one record of a segment.
type record struct {
	kind uint64
	sum  uint32
	data []byte
}

func parseRecord(message []byte) (rec record, ok bool) {
	err := eachField(message, func(f field) error {
		switch {
		case f.isVarint(recordType):
			rec.kind = f.varint
		case f.isVarint(recordSum):
			rec.sum = uint32(f.varint)
		case f.isBytes(recordData):
			rec.data = f.bytes
		}
		return nil
	})
	return rec, err == nil
}

// entry is one entry of the raft log.
type entry struct {
	kind, index uint64
	data        []byte
}

func parseEntry(message []byte) (e entry, ok bool) {
	err := eachField(message, func(f field) error {
		switch {
		case f.isVarint(entryKind):
			e.kind = f.varint
		case f.isVarint(entryIndex):
			e.index = f.varint
		case f.isBytes(entryData):
			e.data = f.bytes
		}
		return nil
	})
	return e, err == nil && e.kind <= confChangeV2
}

// carriesRequest tells an entry from all else that a record may hold, none of which has bytes in that field.
func carriesRequest(message []byte) bool {
	e, ok := parseEntry(message)
	return ok && len(e.data) > 0
}

func parseCommit(message []byte) (commit uint64, ok bool) {
	err := eachField(message, func(f field) error {
		if f.isVarint(stateCommit) {
			commit = f.varint
		}
		return nil
	})
	return commit, err == nil
}

// errV2 is a request to the v2 store.
var errV2 = errors.New("v2 request")

// eachPut visits the puts of a request in their order. Malformed requests are a BadEntry.
func eachPut(request []byte, visit func(key, value []byte) error) error {
	err := eachField(request, func(f field) error {
		switch {
		case f.isBytes(requestV2) && isV2Method(f.bytes):
			return errV2
		case f.isBytes(requestPut):
			return visitPut(f.bytes, visit)
		case f.isBytes(requestTxn):
			return visitTxn(f.bytes, 1, visit)
		}
		return nil
	})
	if err == errV2 {
		return nil
	}
	return err
}

// isV2Method recognises what etcd up to 3.5 also has as an entry: a request to the v2 store, in which it keeps its
// members and its version. The fields of such a request mean something else from here on.
// https://github.com/etcd-io/etcd/blob/v3.5.0/api/etcdserverpb/etcdserver.proto
func isV2Method(b []byte) bool {
	switch string(b) {
	case "GET", "QGET", "POST", "PUT", "DELETE", "SYNC":
		return true
	}
	return false
}

func visitTxn(txn []byte, nesting int, visit func(key, value []byte) error) error {
	if nesting > maxTxnNesting {
		return BadEntry
	}
	return eachField(txn, func(f field) error {
		if !f.isBytes(txnSuccess) && !f.isBytes(txnFailure) {
			return nil
		}
		return eachField(f.bytes, func(op field) error {
			switch {
			case op.isBytes(opPut):
				return visitPut(op.bytes, visit)
			case op.isBytes(opTxn):
				return visitTxn(op.bytes, nesting+1, visit)
			}
			return nil
		})
	})
}

func visitPut(put []byte, visit func(key, value []byte) error) error {
	var key, value []byte
	err := eachField(put, func(f field) error {
		switch {
		case f.isBytes(putKey):
			key = f.bytes
		case f.isBytes(putValue):
			value = f.bytes
		}
		return nil
	})
	if err != nil {
		return err
	}
	return visit(key, value)
}

// field is one field of a protobuf message.
type field struct {
	number protowire.Number
	wire   protowire.Type
	varint uint64
	bytes  []byte
}

func (f field) isBytes(n protowire.Number) bool {
	return f.number == n && f.wire == protowire.BytesType
}

func (f field) isVarint(n protowire.Number) bool {
	return f.number == n && f.wire == protowire.VarintType
}

// eachField visits the fields of a message up to the first error. Malformed messages are a BadEntry, and so are groups,
// which etcd has none of.
func eachField(message []byte, visit func(field) error) error {
	for len(message) > 0 {
		var f field
		var n int
		if f.number, f.wire, n = protowire.ConsumeTag(message); n < 0 || f.number > protowire.MaxValidNumber {
			return BadEntry
		}
		message = message[n:]
		switch f.wire {
		case protowire.VarintType:
			f.varint, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(message)
		case protowire.Fixed32Type, protowire.Fixed64Type:
			n = protowire.ConsumeFieldValue(f.number, f.wire, message)
		default:
			return BadEntry
		}
		if n < 0 {
			return BadEntry
		}
		message = message[n:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}
