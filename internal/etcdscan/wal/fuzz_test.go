package wal

import (
	"encoding/binary"
	"slices"
	"testing"
	"testing/fstest"
)

// mended is a segment of the same records with the checksums that they ought to have: nothing behind a checksum would
// ever be reached otherwise.
func mended(segment []byte) []byte {
	w := new(segmentWriter)
	for len(segment) >= frameSize {
		size, padding := frameLength(binary.LittleEndian.Uint64(segment))
		if segment = segment[frameSize:]; size == 0 || size+padding > int64(len(segment)) {
			break
		}
		rec, ok := parseRecord(segment[:size])
		segment = segment[size+padding:]
		switch {
		case !ok:
			w.frame(segment[:0])
		case rec.kind == checksumType && len(w.out) == 0:
			w.sum = rec.sum
			w.record(checksumType, nil)
		default:
			w.record(rec.kind, rec.data)
		}
	}
	return append(w.out, segment...)
}

// checkRecords reads a segment as it is and mended, alone, and with another behind it, in which everything is found.
func checkRecords(t *testing.T, segment []byte) {
	good := newSegment(0).entry(normalEntry, 9, marshal(t, requests()["a put"])).out
	for _, data := range [][]byte{segment, mended(segment)} {
		alone, _ := compare(t, fstest.MapFS{segmentA: {Data: data}})
		both, state := compare(t, fstest.MapFS{segmentA: {Data: data}, segmentB: {Data: good}})
		if len(both) != len(alone)+1 || state.Segments != 2 || state.Torn != nil {
			t.Fatalf("%d puts alone, %d with another segment: %+v", len(alone), len(both), state)
		}
		for _, b := range state.Damage {
			if b.Offset < 0 || b.Offset > int64(len(data)) || b.Cause == "" {
				t.Fatalf("%+v", b)
			}
		}
	}
}

func FuzzRecords(f *testing.F) {
	for _, name := range fixtures {
		for _, file := range loadFixture(f, name) {
			// A few records are enough, and what is small is soon varied.
			offsets := frameOffsets(file.Data)
			f.Add(file.Data[:offsets[min(7, len(offsets)-1)]])
			f.Add(append(slices.Clone(file.Data[:offsets[4]]), make([]byte, 64)...))
		}
	}
	for _, request := range requests() {
		f.Add(newSegment(0).entry(normalEntry, 1, marshal(f, request)).record(stateType, []byte{24, 1}).out)
	}
	f.Fuzz(checkRecords)
}
