package snapshot_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/svmctl/svmctl/internal/etcdscan/snapshot"
)

// A backup that is not listed is one of which nobody asks whether it needs a key.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	want := []string{
		"etcd", // the data directory, and what lies in it besides
		"etcd/backup/old.db",
		"etcd/snapshot-before-rotation.db",
		"monday/deep/a.db",
		"monday/b.db.gz",
		"member-alone",
	}
	for _, file := range append([]string{"etcd/member/snap/db", "etcd/member/snap/0.snap", "etcd/member/wal/0.wal", "member-alone/snap/db", "member-alone/wal/0.wal"}, want...) {
		if filepath.Ext(file) == "" && filepath.Base(file) != "db" {
			continue // a directory
		}
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range want {
		want[i] = filepath.Join(dir, want[i])
	}
	slices.Sort(want)
	got, err := snapshot.Files([]string{dir})
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n%q\nwant\n%q", err, got, want)
	}
	if got, err := snapshot.Files([]string{filepath.Join(dir, "etcd", "member")}); err != nil || len(got) == 0 {
		t.Errorf("a member of a data directory: %q, %v", got, err)
	}
	if _, err := snapshot.Files([]string{t.TempDir()}); err == nil {
		t.Error("an empty directory holds nothing")
	}
}
