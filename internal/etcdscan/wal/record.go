package wal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
)

// Types of records.
// https://github.com/etcd-io/etcd/blob/v3.7.3/server/storage/wal/wal.go
const (
	metadataType = iota + 1
	entryType
	stateType
	checksumType
	snapshotType
)

const (
	frameSize  = 8
	sectorSize = 512
	// maxRecord is far above what a request may hold: 1.5 MiB, unless etcd was told otherwise.
	maxRecord = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// records reads the records of one segment after the other. The checksum of each covers the data of all before it.
// https://github.com/etcd-io/etcd/blob/v3.7.3/server/storage/wal/decoder.go
type records struct {
	in      *bufio.Reader
	size    int64 // of the segment
	offset  int64 // of the next record
	sum     uint32
	chained bool // sum is that of all records so far
	buf     []byte
}

func (r *records) reset(in io.Reader, size int64) {
	r.in.Reset(in)
	r.size, r.offset = size, 0
}

// next is the next record, whose data is valid until the one after it is read. It is io.EOF where the segment ends, or
// its preallocated space begins. A Cause is about the record at offset, which then stays there, except that Unchained
// comes along with a record that was read.
func (r *records) next() (record, error) {
	left := r.size - r.offset
	if left == 0 {
		return record{}, io.EOF
	}
	frame, err := r.in.Peek(frameSize)
	if err != nil {
		return record{}, cutShort(err)
	}
	length := binary.LittleEndian.Uint64(frame)
	if length == 0 {
		return record{}, io.EOF
	}
	size, padding := frameLength(length)
	switch {
	case size+padding > left-frameSize:
		return record{}, CutShort
	case size > maxRecord || (size+padding)%frameSize != 0:
		return record{}, BadLength
	}
	if _, err := r.in.Discard(frameSize); err != nil {
		return record{}, cutShort(err)
	}
	r.buf = slices.Grow(r.buf[:0], int(size+padding))[:size+padding]
	if _, err := io.ReadFull(r.in, r.buf); err != nil {
		return record{}, cutShort(err)
	}
	rec, err := r.check(r.buf[:size])
	if err != nil && err != Unchained {
		return record{}, err
	}
	r.offset += frameSize + size + padding
	return rec, err
}

// check decodes the record in buf and holds it against the checksum.
func (r *records) check(message []byte) (record, error) {
	rec, ok := parseRecord(message)
	if !ok {
		return record{}, r.tornOr(BadRecord)
	}
	if rec.kind == checksumType {
		return rec, r.link(rec)
	}
	sum := crc32.Update(r.sum, castagnoli, rec.data)
	switch {
	case r.offset == 0: // nothing to begin the checksum with
		return record{}, BadRecord
	case sum != rec.sum:
		return record{}, r.tornOr(BadChecksum)
	case rec.kind < metadataType || rec.kind > snapshotType:
		return record{}, BadRecord
	case rec.kind != entryType && carriesRequest(rec.data):
		// The type is not part of the checksum: an entry that damage made something else would never be missed.
		return record{}, BadRecord
	}
	r.sum = sum
	return rec, nil
}

// link takes up the checksum that a segment begins with: it is that of all records before.
func (r *records) link(rec record) error {
	switch {
	case len(rec.data) > 0:
		return BadRecord
	case r.offset > 0 && rec.sum != r.sum:
		return BadChecksum
	case r.chained && rec.sum == r.sum:
		return nil
	}
	r.sum, r.chained = rec.sum, true
	return Unchained
}

// frameLength splits the length field: the padding brings records to a multiple of 8 bytes, so that a length is never
// written in part.
func frameLength(field uint64) (size, padding int64) {
	size = int64(field &^ (0xff << 56))
	if field>>63 == 1 {
		padding = int64(field >> 56 & 7)
	}
	return size, padding
}

// tornOr tells, as etcd does, a write that was cut short from other damage: a sector that never reached the disk is
// still all zeros.
func (r *records) tornOr(otherwise Cause) Cause {
	data, offset := r.buf, r.offset+frameSize
	for len(data) > 0 {
		n := min(sectorSize-int(offset%sectorSize), len(data))
		if allZero(data[:n]) {
			return CutShort
		}
		data, offset = data[n:], offset+int64(n)
	}
	return otherwise
}

// allZero compares b with itself, one byte on: the segments end in megabytes of zeros.
func allZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}

// cutShort is for a file that ends before its size, because it is still being written.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return CutShort
	}
	return err
}
