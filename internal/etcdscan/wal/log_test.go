package wal

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	segmentA = "0000000000000000-0000000000000000.wal"
	segmentB = "0000000000000001-0000000000000002.wal"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
		t.Errorf("no directory: %v", err)
	}
	for _, name := range []string{"0.tmp", "a.wal", "0000000000000000-0000000000000000.wal.broken"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(canary), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(dir); !errors.Is(err, ErrNoSegments) {
		t.Errorf("no segments: %v", err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "1.tmp"), make([]byte, 200_000), 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(elsewhere, newSegment(0).out, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, segmentA)); err != nil {
		t.Fatal(err)
	}
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, state := read(t, l)
	var want []Rest
	for _, name := range []string{"0.tmp", "0000000000000000-0000000000000000.wal.broken", "a.wal"} {
		want = append(want, Rest{Path: filepath.Join(dir, name)})
	}
	if !state.Complete() || state.Segments != 1 || !slices.Equal(state.Rest, want) {
		t.Errorf("%+v", state)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, segmentB), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), segmentB) {
		t.Errorf("a pipe for a segment: %v", err)
	}
}

// TestHostileLengths: what a length says is neither allocated nor waited for.
func TestHostileLengths(t *testing.T) {
	dir := t.TempDir()
	head := newSegment(0).out
	for _, c := range []struct {
		name   string
		length uint64
		want   Cause
	}{
		{"the largest", 1<<56 - 8, CutShort},
		{"all ones", 1<<64 - 1, CutShort},
		{"just behind the end", 1<<30 - uint64(len(head)), CutShort},
		{"just above the limit", maxRecord + 8, BadLength},
		{"not padded", 9, BadLength},
		{"padded without need", 1<<63 | 3<<56 | 8, BadLength},
		{"padding alone", 1<<63 | 1<<56, BadLength},
		{"nothing", 1 << 63, BadChecksum},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, segmentA)
			if err := os.WriteFile(path, binary.LittleEndian.AppendUint64(slices.Clip(head), c.length), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, 1<<30); err != nil {
				t.Fatal(err)
			}
			l, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, state := read(t, l)
			runtime.ReadMemStats(&after)
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 1<<20 {
				t.Errorf("%d bytes were allocated", allocated)
			}
			found := state.Damage
			if state.Torn != nil {
				found = append(found, *state.Torn)
			}
			want := Break{Segment: segmentA, Offset: int64(len(head)), Cause: c.want}
			if !slices.Equal(found, []Break{want}) || (state.Torn != nil) != (c.want == CutShort) {
				t.Errorf("%+v, want %+v", state, want)
			}
			if rest := []Rest{{Path: path, Offset: int64(len(head))}}; !slices.Equal(state.Rest, rest) {
				t.Errorf("rest %+v, want %+v", state.Rest, rest)
			}
		})
	}
}

// TestLargestRecord reads one of exactly the limit.
func TestLargestRecord(t *testing.T) {
	segment := func(size int) []byte {
		put := &pb.PutRequest{Key: []byte("k"), Value: make([]byte, size)}
		return newSegment(0).entry(normalEntry, 1, marshal(t, &pb.InternalRaftRequest{Put: put})).out
	}
	head := len(newSegment(0).out) + frameSize
	size := maxRecord - 128
	size += maxRecord - (len(segment(size)) - head)
	for _, c := range []struct {
		size, puts int
	}{{size, 1}, {size + 8, 0}} {
		log := fstest.MapFS{segmentA: {Data: segment(c.size)}}
		if writes, state := readFS(t, log); len(writes) != c.puts || state.Complete() != (c.puts == 1) {
			t.Errorf("%d bytes: %d puts, %+v", c.size, len(writes), state)
		}
	}
}

// TestDoubtfulRecords: records whose checksum is right, and which etcd does not write.
func TestDoubtfulRecords(t *testing.T) {
	put := marshal(t, requests()["a put"])
	good := newSegment(0).entry(normalEntry, 1, put)
	for _, c := range []struct {
		name string
		log  *segmentWriter
		want Cause
	}{
		{"a state that carries a request", newSegment(0).record(stateType, entryMessage(normalEntry, 9, put)), BadRecord},
		{"metadata that carries a request", newSegment(0).record(metadataType, entryMessage(normalEntry, 9, put)), BadRecord},
		{"a snapshot that carries a request", newSegment(0).record(snapshotType, entryMessage(normalEntry, 9, put)), BadRecord},
		{"a checksum that carries a request", newSegment(0).record(checksumType, entryMessage(normalEntry, 9, put)), BadRecord},
		{"an unknown type", newSegment(0).record(6, []byte{1}), BadRecord},
		{"no type", newSegment(0).record(0, nil), BadRecord},
		{"a malformed state", newSegment(0).record(stateType, []byte{0xff}), BadRecord},
		{"a malformed entry", newSegment(0).record(entryType, []byte{0xff}), BadEntry},
		{"an unknown kind of entry", newSegment(0).entry(3, 9, put), BadEntry},
		{"a group", newSegment(0).entry(normalEntry, 9, []byte{0x0b, 0x0c}), BadEntry},
		{"a checksum that is none", (&segmentWriter{out: newSegment(0).out, sum: 1}).record(checksumType, nil), BadChecksum},
		{"no record", newSegment(0).frame([]byte("12345678")), BadRecord},
		{"no checksum to begin with", new(segmentWriter).record(metadataType, nil), BadRecord},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := fstest.MapFS{segmentA: {Data: c.log.out}, segmentB: {Data: good.out}}
			writes, state := readFS(t, log)
			if len(state.Damage) != 2 || state.Damage[0].Cause != c.want || state.Damage[1].Cause != Unchained {
				t.Errorf("%+v, want %s", state, c.want)
			}
			if len(writes) != 1 || len(state.Rest) != 1 || state.Rest[0].Offset != state.Damage[0].Offset {
				t.Errorf("%d puts, %+v", len(writes), state)
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	files := loadFixture(t, "etcd-3.7")
	broken := errors.New("input/output error")
	l, err := open("/copy/wal", failingFS{files, broken})
	if err != nil {
		t.Fatal(err)
	}
	var got []error
	for _, err := range l.Puts(t.Context()) {
		if err != nil {
			got = append(got, err)
		}
	}
	if len(got) != 1 || !errors.Is(got[0], broken) || !strings.HasPrefix(got[0].Error(), "reading /copy/wal/"+segmentA+" at offset ") {
		t.Errorf("%v", got)
	}
	if l.State().Complete() || l.State().Ended {
		t.Errorf("%+v", l.State())
	}
	delete(files, segmentA)
	for _, err = range l.Puts(t.Context()) {
	}
	if !errors.Is(err, fs.ErrNotExist) || l.State().Ended {
		t.Errorf("a segment that went away: %v", err)
	}
}

// failingFS cannot read behind the first kilobyte of a file.
type failingFS struct {
	fstest.MapFS
	err error
}

func (f failingFS) Open(name string) (fs.File, error) {
	opened, err := f.MapFS.Open(name)
	if at, ok := opened.(file); ok && err == nil {
		return failingFile{at, f.err}, nil
	}
	return opened, err
}

type failingFile struct {
	file
	err error
}

func (f failingFile) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= 1024 {
		return 0, f.err
	}
	return f.file.ReadAt(p[:min(len(p), 1024-int(offset))], offset)
}
