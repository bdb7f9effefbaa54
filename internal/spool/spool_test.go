package spool

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

type item struct {
	Key      string
	Revision int64
}

func TestSpoolKeepsOrderInMemoryAndBeyond(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	for _, n := range []int64{0, 1, 1000, 200_000} {
		var s Spool[item]
		name := strings.Repeat("x", 40)
		for i := range n {
			if err := s.Add(item{name, i}); err != nil {
				t.Fatal(err)
			}
		}
		if s.Len() != n {
			t.Fatalf("Len = %d, want %d", s.Len(), n)
		}
		for round := range 2 {
			var next int64
			for v, err := range s.All() {
				if err != nil {
					t.Fatal(err)
				}
				if v.Revision != next || v.Key != name {
					t.Fatalf("round %d: item %d is %+v", round, next, v)
				}
				next++
			}
			if next != n {
				t.Fatalf("round %d: read %d of %d", round, next, n)
			}
		}
		if spilled := s.file != nil; spilled != (n == 200_000) {
			t.Errorf("%d items: spilled = %v", n, spilled)
		}
		left, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(left) > 0 {
			t.Errorf("files with a name while spooling: %v %v", left, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSpoolReportsTruncation(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var s Spool[item]
	defer s.Close()
	for i := range int64(200_000) {
		if err := s.Add(item{strings.Repeat("x", 40), i}); err != nil {
			t.Fatal(err)
		}
	}
	for range s.All() {
		break
	}
	if err := os.Truncate("/proc/self/fd/"+fdName(s.file), 1<<20); err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range s.All() {
		last = err
	}
	if last == nil {
		t.Error("a truncated spool was read to its end without an error")
	}
}

func fdName(f *os.File) string { return strconv.FormatUint(uint64(f.Fd()), 10) }
