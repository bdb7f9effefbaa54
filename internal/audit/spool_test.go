package audit_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/verify"
)

// heldBytes is what lives on the heap.
func heldBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// deletedFiles are the spools that this process has open, where the system can tell.
func deletedFiles(t *testing.T) [][]byte {
	t.Helper()
	links, _ := filepath.Glob("/proc/self/fd/*")
	var contents [][]byte
	for _, link := range links {
		if target, _ := os.Readlink(link); strings.Contains(target, "/svmctl-") && strings.HasSuffix(target, " (deleted)") {
			content, err := os.ReadFile(link)
			if err != nil {
				t.Fatal(err)
			}
			contents = append(contents, content)
		}
	}
	if len(contents) == 0 && runtime.GOOS == "linux" {
		t.Error("there is no spool: the report was to be larger than what is kept in memory")
	}
	return contents
}

// A report on many offending objects holds their names in a file that has no name, not in memory.
func TestManyFindingsDoNotFillTheMemory(t *testing.T) {
	const n = 50_000
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	long := strings.Repeat("x", 200)
	name := func(i int) string { return fmt.Sprintf("/registry/secrets/ns/%06d-%s", i, long) }
	server := etcdtest.Start(t, manyOps)
	fill(t, server, n, func(i int) (string, string) { return name(i), "\x00garbage-CANARY" })
	req := request(t, open(t, server), "secrets=aescbc:key2")
	before := heldBytes()
	report := run(t, req)
	// The names alone are 11 MB. etcd runs in this process too, and holds a little more or less at any time.
	if held := heldBytes() - before; held > 8<<20 {
		t.Errorf("the report holds %d bytes", held)
	}
	if report.Verdict != verify.Indeterminate || report.FindingCount != n || len(report.Groups) != 1 {
		t.Errorf("%v, %d findings, %d groups", report.Verdict, report.FindingCount, len(report.Groups))
	}
	i := 0
	for f, err := range report.Findings() {
		if err != nil {
			t.Fatal(err)
		}
		if f.Key != name(i) || f.Code != verify.Undecodable || f.ModRevision == 0 {
			t.Fatalf("finding %d is %+v", i, f)
		}
		i++
	}
	if i != n {
		t.Errorf("%d findings, want %d", i, n)
	}
	for _, content := range deletedFiles(t) {
		if bytes.Contains(content, []byte("CANARY")) {
			t.Error("the spool holds bytes of a value")
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		if strings.HasPrefix(entry.Name(), "svmctl") {
			t.Errorf("%s is left in the directory of temporary files", entry.Name())
		}
	}
}
