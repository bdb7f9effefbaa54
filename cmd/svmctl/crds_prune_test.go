package main

import (
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/storedversions"
)

func printed(err error) (code int, text string) {
	var out strings.Builder
	code = report(&out, err)
	return code, out.String()
}

// A refusal tells where the objects are that keep it, and that it is not the only one.
func TestPruneRefusalSaysWhatIsNext(t *testing.T) {
	clean := storedversions.Row{Name: "a.example.com", State: storedversions.Clean}
	blocked := storedversions.Row{Name: "b.example.com", State: storedversions.Blocked, Reason: "cannot be seen", Refused: true}
	stale := storedversions.Row{Name: "c.example.com", State: storedversions.NeedsMigration, Reason: "1 object is stored at v1", Refused: true}
	there := blocked
	there.Dir = "/registry/example.com/b"
	for _, tc := range []struct {
		rows []storedversions.Row
		want string
	}{
		{[]storedversions.Row{clean, blocked}, "error: b.example.com is not pruned: cannot be seen\nsvmctl: hint: svmctl audit --expect-storage-versions names each object\n"},
		{[]storedversions.Row{there, clean}, "cannot be seen\nsvmctl: hint: svmctl audit --expect-storage-versions --prefix /registry/example.com/b names each object\n"},
		{[]storedversions.Row{clean, stale, blocked, there}, "error: c.example.com is not pruned: 1 object is stored at v1 … and 2 more\nsvmctl: hint: svmctl migrate c.example.com\n"},
	} {
		if code, text := printed(pruneRefusal(&storedversions.Report{CRDs: tc.rows})); code != exitIncomplete || !strings.HasSuffix(text, tc.want) {
			t.Errorf("%d, %q, want it to end in %q", code, text, tc.want)
		}
	}
}

// After an interruption nothing is said of storedVersions that is not so.
func TestPruneInterrupted(t *testing.T) {
	row := storedversions.Row{Name: "a.example.com", State: storedversions.Blocked, Refused: true, StoredVersions: []string{"v2", "v1"}, Dropped: []string{"v1"}, PutBack: []string{"v1"}}
	lost := row
	lost.StoredVersions, lost.PutBack = []string{"v2"}, nil
	for _, tc := range []struct {
		report *storedversions.Report
		hint   bool
	}{
		{nil, true},
		{&storedversions.Report{CRDs: []storedversions.Row{row}}, true},
		{&storedversions.Report{CRDs: []storedversions.Row{row, lost}}, false},
	} {
		code, text := printed(interrupted(pruneInterrupted(tc.report)))
		if code != exitInterrupted || !strings.Contains(text, "error: interrupted\n") || strings.Contains(text, "hint: the same command goes on") != tc.hint {
			t.Errorf("%d, %q", code, text)
		}
	}
}
