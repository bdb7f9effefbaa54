package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	etcdwal "go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// write is a Put that may be kept.
type write struct {
	index      uint64
	key, value string
}

// read goes through a log. Damage is no error.
func read(t testing.TB, l *Log) ([]write, State) {
	t.Helper()
	var writes []write
	for put, err := range l.Puts(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		writes = append(writes, write{put.Index, string(put.Key), string(put.Value)})
	}
	if !l.State().Ended {
		t.Fatal("it ended, and the state says that it did not")
	}
	return writes, l.State()
}

func readFS(t testing.TB, fsys fs.FS) ([]write, State) {
	t.Helper()
	l, err := open("wal", fsys)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, l)
}

// reference reads a log by etcd's own decoders. It stops at the first damage, with etcd's error, and is nil where etcd
// sees the end of the log. Known is false if there is an entry whose puts etcd's types do not tell: it is none of
// theirs, or has fields twice, which they merge.
func reference(t testing.TB, fsys fs.FS) (writes []write, known bool, err error) {
	t.Helper()
	names, err := fs.Glob(fsys, "*.wal")
	if err != nil {
		t.Fatal(err)
	}
	var files []fileutil.FileReader
	for _, name := range names {
		f, err := fsys.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, referenceFile{f})
	}
	decoder := etcdwal.NewDecoder(files...)
	known = true
	for {
		var rec walpb.Record
		if err := decoder.Decode(&rec); err == io.EOF {
			return writes, known, nil
		} else if err != nil {
			return writes, known, err
		}
		switch rec.GetType() {
		case etcdwal.CrcType:
			if sum := decoder.LastCRC(); sum != 0 && rec.Validate(sum) != nil {
				return writes, known, etcdwal.ErrCRCMismatch
			}
			decoder.UpdateCRC(rec.GetCrc())
		case etcdwal.EntryType:
			more, ok, err := referenceEntry(rec.Data)
			if err != nil {
				return writes, known, err
			}
			writes, known = append(writes, more...), known && ok
		}
	}
}

type referenceFile struct{ fs.File }

func (f referenceFile) FileInfo() (fs.FileInfo, error) { return f.Stat() }

func referenceEntry(data []byte) (writes []write, known bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	e := etcdwal.MustUnmarshalEntry(data)
	if e.GetType() != 0 {
		return nil, true, nil
	}
	var request pb.InternalRaftRequest
	if proto.Unmarshal(e.GetData(), &request) != nil {
		return nil, false, nil
	}
	again, err := proto.Marshal(&request)
	if err != nil {
		return nil, false, err
	}
	writes = flatten(e.GetIndex(), &request)
	return writes, len(again) == len(e.GetData()) && len(request.ProtoReflect().GetUnknown()) == 0, nil
}

func flatten(index uint64, request *pb.InternalRaftRequest) []write {
	var writes []write
	if put := request.Put; put != nil {
		writes = append(writes, write{index, string(put.Key), string(put.Value)})
	}
	return append(writes, flattenTxn(index, request.Txn)...)
}

func flattenTxn(index uint64, txn *pb.TxnRequest) []write {
	var writes []write
	for _, op := range slices.Concat(txn.GetSuccess(), txn.GetFailure()) {
		if put := op.GetRequestPut(); put != nil {
			writes = append(writes, write{index, string(put.Key), string(put.Value)})
		}
		if inner := op.GetRequestTxn(); inner != nil {
			writes = append(writes, flattenTxn(index, inner)...)
		}
	}
	return writes
}

// compare states what holds for every log, whatever is in it.
func compare(t testing.TB, fsys fs.FS) ([]write, State) {
	t.Helper()
	writes, state := readFS(t, fsys)
	want, known, err := reference(t, fsys)
	torn := state.Torn != nil && len(state.Damage) == 0 && state.Torn.Offset > 0
	switch {
	case state.Complete() && err != nil:
		t.Fatalf("it is said to be complete, and etcd says %v", err)
	case state.Complete() && known && !slices.Equal(writes, want):
		t.Fatalf("read %d puts, etcd reads %d", len(writes), len(want))
	case torn && state.Torn.Cause == Leftover && err != nil, torn && state.Torn.Cause == CutShort && !errors.Is(err, io.ErrUnexpectedEOF):
		t.Fatalf("said to be torn (%+v), and etcd says %v", *state.Torn, err)
	}
	return writes, state
}

// segmentWriter builds a segment record by record.
type segmentWriter struct {
	out []byte
	sum uint32
}

// newSegment begins as etcd does, with the checksum of the segments before.
func newSegment(sum uint32) *segmentWriter {
	w := &segmentWriter{sum: sum}
	return w.record(checksumType, nil).record(metadataType, []byte{0x08, 1, 0x10, 1})
}

func (w *segmentWriter) record(kind uint64, data []byte) *segmentWriter {
	w.sum = crc32.Update(w.sum, castagnoli, data)
	message := protowire.AppendVarint(protowire.AppendTag(nil, recordType, protowire.VarintType), kind)
	message = protowire.AppendVarint(protowire.AppendTag(message, recordSum, protowire.VarintType), uint64(w.sum))
	if data != nil {
		message = protowire.AppendBytes(protowire.AppendTag(message, recordData, protowire.BytesType), data)
	}
	return w.frame(message)
}

func (w *segmentWriter) frame(message []byte) *segmentWriter {
	padding := -len(message) & 7
	length := uint64(len(message))
	if padding > 0 {
		length |= uint64(0x80|padding) << 56
	}
	for i := range frameSize {
		w.out = append(w.out, byte(length>>(8*i)))
	}
	w.out = append(append(w.out, message...), make([]byte, padding)...)
	return w
}

func (w *segmentWriter) entry(kind, index uint64, request []byte) *segmentWriter {
	return w.record(entryType, entryMessage(kind, index, request))
}

func entryMessage(kind, index uint64, request []byte) []byte {
	message := protowire.AppendVarint(protowire.AppendTag(nil, entryKind, protowire.VarintType), kind)
	message = protowire.AppendVarint(protowire.AppendTag(message, 2, protowire.VarintType), 1)
	message = protowire.AppendVarint(protowire.AppendTag(message, entryIndex, protowire.VarintType), index)
	return protowire.AppendBytes(protowire.AppendTag(message, entryData, protowire.BytesType), request)
}
