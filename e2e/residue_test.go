package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const residueSecrets = 200

// memberFiles stops etcd, copies its data directory and starts it again.
func (p *plane) memberFiles(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "etcd")
	p.playground(t, "stop", "etcd")
	err := os.CopyFS(dir, os.DirFS(filepath.Join(p.dir, "etcd")))
	p.playground(t, "start", "etcd")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// plaintextIn counts the secrets whose plaintext stands in files, by their bytes alone.
func plaintextIn(t *testing.T, dir string, in func(path string) bool) int64 {
	t.Helper()
	var all []byte
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !in(path) {
			return err
		}
		data, err := os.ReadFile(path)
		all = append(all, data...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	for i := range residueSecrets {
		if bytes.Contains(all, fmt.Appendf(nil, "%s of early-%05d", canaryInData, i)) {
			n++
		}
	}
	return n
}

// residueOf counts the secrets in each place, as "place provider:key".
func (p *plane) residueOf(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	run := p.svmctl(t, "residue", dir, "-o", "json")
	run.wantCode(t, 0)
	var report struct {
		Files  []struct{ Path, Problem string }
		Counts []struct {
			Place, Resource, Provider, Key string
			Values, LeftBehind, Untold     int64
		}
	}
	if err := json.Unmarshal([]byte(run.stdout), &report); err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Files {
		if f.Problem != "" {
			t.Errorf("%s: %s", f.Path, f.Problem)
		}
	}
	counts := make(map[string]int64)
	for _, c := range report.Counts {
		if c.Resource == "secrets" {
			counts[c.Place+" "+c.Provider+":"+c.Key] += c.Values
			if left := c.Place != "live" && c.Provider == "identity"; left && c.LeftBehind != c.Values || !left && c.LeftBehind != 0 || c.Untold != 0 {
				t.Errorf("%+v", c)
			}
		}
	}
	return counts
}

// TestResidue has secrets that were written in plaintext and then encrypted, and clears one place after the other of them.
func TestResidue(t *testing.T) {
	rules := func(providers ...string) string {
		return encryptionRules(encryptionRule([]string{"secrets"}, providers...))
	}
	p := startPlane(t, rules("identity", "aescbc:key1"), "--without-controller-manager")
	p.namespace(t, "early")
	p.createSecrets(t, "early", "early", residueSecrets)
	p.rotate(t, rules("aescbc:key1", "identity"))
	migrate := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key1", "--yes")
	migrate.wantCode(t, 0)
	database := func(path string) bool { return filepath.Base(path) == "db" }
	segment := func(path string) bool { return filepath.Ext(path) == ".wal" }

	want := func(when string, got map[string]int64, history, free, log int64) {
		t.Helper()
		for place, n := range map[string]int64{"live identity:": 0, "live aescbc:key1": residueSecrets, "history identity:": history, "freePages identity:": free, "wal identity:": log} {
			if got[place] != n {
				t.Errorf("%s: %d of %q, want %d", when, got[place], place, n)
			}
		}
	}
	dir := p.memberFiles(t)
	got := p.residueOf(t, dir)
	if n := got["freePages identity:"]; n > residueSecrets {
		t.Errorf("%d values in free pages, of %d that there ever were", n, residueSecrets)
	}
	want("after the rotation", got, residueSecrets, got["freePages identity:"], residueSecrets)
	if db, log := plaintextIn(t, dir, database), plaintextIn(t, dir, segment); db != residueSecrets || log != residueSecrets {
		t.Errorf("a byte search finds %d in the database and %d in the log", db, log)
	}
	history := p.svmctl(t, "audit", "--prefix", "/registry/secrets", "--history")
	history.wantCode(t, 0)
	history.wantStdout(t, fmt.Sprintf("Older revisions that are still to be had: %d, ", residueSecrets))

	p.compact(t)
	dir = p.memberFiles(t)
	free := plaintextIn(t, dir, database)
	want("after compaction", p.residueOf(t, dir), 0, free, residueSecrets)
	if free == 0 {
		t.Error("a byte search finds none in free pages, so that nothing was compared")
	}

	if _, err := p.etcd.Defragment(t.Context(), p.variable("ETCDCTL_ENDPOINTS")); err != nil {
		t.Fatal(err)
	}
	dir = p.memberFiles(t)
	want("after defragmentation", p.residueOf(t, dir), 0, 0, residueSecrets)
	if n := plaintextIn(t, dir, segment); n != residueSecrets {
		t.Errorf("a byte search finds %d in the log", n)
	}
	if n := plaintextIn(t, dir, database); n != 0 {
		t.Errorf("a byte search finds %d after defragmentation", n)
	}
}

func (p *plane) compact(t *testing.T) {
	t.Helper()
	if _, err := p.etcd.Compact(t.Context(), p.revision(t), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}
