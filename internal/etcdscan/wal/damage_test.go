package wal

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// frameOffsets are where the records of a healthy segment begin, and its end.
func frameOffsets(segment []byte) []int {
	offsets := []int{0}
	for at := 0; at+frameSize <= len(segment); {
		var length uint64
		for i := range frameSize {
			length |= uint64(segment[at+i]) << (8 * i)
		}
		if length == 0 {
			break
		}
		size, padding := frameLength(length)
		at += frameSize + int(size+padding)
		offsets = append(offsets, at)
	}
	return offsets
}

// damaged is a log in which one file is another.
func damaged(files fstest.MapFS, name string, data []byte) fstest.MapFS {
	other := maps.Clone(files)
	other[name] = &fstest.MapFile{Data: data}
	return other
}

// checkDamaged states what holds for a log that once carried all: nothing is made up, and no put is missing without the
// state saying so, and saying where its bytes still are, except for as many as the damage itself may have hit.
func checkDamaged(t testing.TB, files fstest.MapFS, all, got []write, state State, hit int) {
	t.Helper()
	i := 0
	var missing []write
	for _, w := range all {
		if i < len(got) && got[i] == w {
			i++
		} else {
			missing = append(missing, w)
		}
	}
	if i < len(got) {
		t.Fatalf("put %d, of %s at index %d, was never written there", i, got[i].key, got[i].index)
	}
	if len(missing) > 0 && state.Complete() {
		t.Fatalf("%d puts are missing, and it is said to be complete: %+v", len(missing), state)
	}
	var rest []byte
	for _, r := range state.Rest {
		rest = append(rest, files[strings.TrimPrefix(r.Path, "wal/")].Data[r.Offset:]...)
	}
	gone := 0
	for _, w := range missing {
		if !bytes.Contains(rest, []byte(w.value)) {
			gone++
		}
	}
	if gone > hit {
		t.Fatalf("%d puts are neither read nor in the rest, want no more than %d: %+v", gone, hit, state)
	}
	if strings.Contains(fmt.Sprintf("%+v", state), canary) {
		t.Fatal("a value got out")
	}
}

// TestEveryByte changes each byte of a log that etcd wrote, in one of three ways.
func TestEveryByte(t *testing.T) {
	files, names := loadReal(t)
	all, state := compare(t, files)
	if !state.Complete() || len(all) != len(fixtureWrites()) {
		t.Fatalf("%+v", state)
	}
	for i, name := range names {
		healthy := files[name].Data
		data := slices.Clone(healthy)
		records := frameOffsets(healthy)
		for at := range records[len(records)-1] + frameSize {
			if at == len(healthy) {
				break
			}
			data[at] ^= []byte{0x01, 0x80, healthy[at]}[at%3]
			log := damaged(files, name, data)
			got, state := readFS(t, log)
			// A checksum that a segment begins with may break the chain before it, and the one behind it always breaks.
			if len(state.Damage) > 3 || i == len(names)-1 && len(state.Damage) > 2 {
				t.Fatalf("byte %d of %s: %+v", at, name, state)
			}
			checkDamaged(t, log, all, got, state, 1)
			data[at] = healthy[at]
		}
	}
}

// TestCutShort cuts each segment in each record, and between all of them. The last one may have been copied before the
// next record was written: then there is nothing to see.
func TestCutShort(t *testing.T) {
	files, names := loadReal(t)
	all, _ := compare(t, files)
	for i, name := range names {
		records := frameOffsets(files[name].Data)
		for length := range records[len(records)-1] {
			if length%7 > 0 && !slices.Contains(records, length) {
				continue
			}
			log := damaged(files, name, files[name].Data[:length])
			got, state := readFS(t, log)
			atRecord := length > 0 && slices.Contains(records, length)
			last := i == len(names)-1
			if last && atRecord != state.Complete() || last == (state.Torn == nil) && !atRecord || !last && len(state.Damage) == 0 {
				t.Fatalf("%s cut at %d: %+v", name, length, state)
			}
			if !state.Complete() {
				checkDamaged(t, log, all, got, state, len(all)) // what was cut off is nowhere
			}
			if want := len(names); state.Segments != want {
				t.Fatalf("%d segments, want %d", state.Segments, want)
			}
		}
	}
}

// TestRandomDamage does to a log what disks and hands do, and compares with etcd's own reader.
func TestRandomDamage(t *testing.T) {
	files, names := loadReal(t)
	all, _ := compare(t, files)
	random := rand.New(rand.NewPCG(1, 2))
	pick := func() (string, []byte) {
		name := names[random.IntN(len(names))]
		return name, slices.Clone(files[name].Data)
	}
	overwrite := func(data []byte, n int, next func() byte) {
		at := random.IntN(len(data) - n)
		for i := range n {
			data[at+i] = next()
		}
	}
	kinds := []struct {
		name string
		do   func() fstest.MapFS
	}{
		{"several bytes", func() fstest.MapFS {
			name, data := pick()
			for range 1 + random.IntN(5) {
				overwrite(data, 1, func() byte { return byte(random.Uint32()) })
			}
			return damaged(files, name, data)
		}},
		{"a frame", func() fstest.MapFS {
			name, data := pick()
			records := frameOffsets(data)
			at := records[random.IntN(len(records)-1)]
			data[at+random.IntN(2*frameSize)] = byte(random.Uint32())
			return damaged(files, name, data)
		}},
		{"zeros", func() fstest.MapFS {
			name, data := pick()
			overwrite(data, 1+random.IntN(sectorSize), func() byte { return 0 })
			return damaged(files, name, data)
		}},
		{"noise", func() fstest.MapFS {
			name, data := pick()
			overwrite(data, 1+random.IntN(sectorSize), func() byte { return byte(random.Uint32()) })
			return damaged(files, name, data)
		}},
		{"a hole", func() fstest.MapFS {
			name, data := pick()
			at := random.IntN(len(data) - 64)
			return damaged(files, name, slices.Delete(data, at, at+1+random.IntN(63)))
		}},
		{"a record less", func() fstest.MapFS {
			name, data := pick()
			records := frameOffsets(data)
			i := random.IntN(len(records) - 2) // without the last, nothing would be amiss
			return damaged(files, name, slices.Delete(data, records[i], records[i+1]))
		}},
		{"a record twice", func() fstest.MapFS {
			name, data := pick()
			records := frameOffsets(data)
			i := random.IntN(len(records) - 1)
			return damaged(files, name, slices.Insert(data, records[i], data[records[i]:records[i+1]]...))
		}},
		{"a segment over another", func() fstest.MapFS {
			name, _ := pick()
			_, data := pick()
			return damaged(files, name, data)
		}},
	}
	seen := 0
	for range 150 {
		for _, kind := range kinds {
			log := kind.do()
			got, state := compare(t, log)
			// A segment over another, or a record twice, has puts in another order: there only the claim is held against them.
			if kind.name == "a segment over another" || kind.name == "a record twice" {
				if state.Complete() && !slices.Equal(got, all) {
					t.Errorf("%s: %+v", kind.name, state)
				}
			} else {
				checkDamaged(t, log, all, got, state, 20)
			}
			if !state.Complete() {
				seen++
			}
		}
	}
	if seen < 800 {
		t.Errorf("of 1200 only %d were not complete", seen)
	}
}

// TestMissingSegments: a log may begin anywhere, and goes on where it can.
func TestMissingSegments(t *testing.T) {
	files, names := loadReal(t)
	all, _ := compare(t, files)
	for i, name := range names {
		log := maps.Clone(files)
		delete(log, name)
		got, state := readFS(t, log)
		var want []Break
		if i > 0 && i < len(names)-1 {
			want = []Break{{Segment: names[i+1], Cause: Unchained}}
		}
		if !slices.Equal(state.Damage, want) || state.Torn != nil || len(state.Rest) > 0 || len(got) >= len(all) {
			t.Errorf("without %s: %+v", name, state)
		}
	}
	renamed := maps.Clone(files)
	renamed["00000000000000ff-0000000000000015.wal"] = renamed[names[3]]
	delete(renamed, names[3])
	if got, state := readFS(t, renamed); !slices.Equal(got, all) || !slices.Equal(state.Damage, []Break{{Segment: "00000000000000ff-0000000000000015.wal", Cause: Unchained}}) {
		t.Errorf("with a gap in the numbers: %+v", state)
	}
}
