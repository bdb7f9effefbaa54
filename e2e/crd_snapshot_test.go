package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestSnapshotFirst: the snapshot holds what the migration drops, it is there before anything is written, and it takes
// the place of no other file.
func TestSnapshotFirst(t *testing.T) {
	p := startPlane(t, "", "--without-controller-manager")
	p.oddDefine(t, oddManifest(t, "widgets-wide"))
	p.oddCreate(t, "widgets", oddObject("v1", "Widget", "one", map[string]any{"size": "small", "extra": canaryInData}))
	// Something deleted it, and its finalizer keeps it.
	p.oddCreate(t, "widgets", oddObject("v1", "Widget", "going", map[string]any{"size": "small"}))
	p.kubectl(t, "", "patch", widgetCRD, "going", "--type=merge", "-p", `{"metadata":{"finalizers":["example.com/wait"]}}`)
	if err := p.oddAPI(t, "widgets", "v1").Delete(t.Context(), "going", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	p.oddDefine(t, oddManifest(t, "widgets-narrow"))
	p.oddAwaitStored(t, "widgets", "Widget", "v1", "v2", map[string]any{"size": "small"})
	before := p.raw(t, widgetDir)

	// Not in the directory that is searched for stored values: this file holds them all.
	dir := t.TempDir()
	taken, fresh := filepath.Join(dir, "taken.db"), filepath.Join(dir, "fresh.db")
	if err := os.WriteFile(taken, []byte("somebody's"), 0o644); err != nil {
		t.Fatal(err)
	}
	migrate := []string{"migrate", widgetCRD, "--yes", "--allow-pruning", "-o", "json", "--snapshot-first"}
	refused := p.svmctl(t, append(migrate, taken)...)
	refused.wantCode(t, 1)
	refused.wantError(t, taken, "exist")
	p.oddWantUnwritten(t, widgetDir, before)
	if held, err := os.ReadFile(taken); err != nil || string(held) != "somebody's" {
		t.Errorf("the file that was there holds %d bytes: %v", len(held), err)
	}
	nowhere := p.svmctl(t, append(migrate, filepath.Join(dir, "none", "x.db"))...)
	nowhere.wantCode(t, 1)
	p.oddWantUnwritten(t, widgetDir, before)
	// Without consent to the loss nothing begins, and no copy of all secrets is left lying about either.
	p.svmctl(t, "migrate", widgetCRD, "--yes", "--snapshot-first", fresh).wantCode(t, 3)
	p.svmctl(t, "migrate", widgetCRD, "--dry-run", "--snapshot-first", fresh).wantCode(t, 0)
	if _, err := os.Stat(fresh); !os.IsNotExist(err) {
		t.Errorf("a run that wrote nothing left a snapshot: %v", err)
	}

	res := p.svmctl(t, append(migrate, fresh)...)
	res.wantCode(t, 0)
	report := res.oddMigration(t)
	data, err := os.ReadFile(fresh)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(fresh); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v: %v", info.Mode(), err)
	}
	whole := sha256.Sum256(data)
	if report.Snapshot == nil || report.Snapshot.Path != fresh || report.Snapshot.SHA256 != hex.EncodeToString(whole[:]) {
		t.Errorf("the report says %+v of %s with sha256 %x", report.Snapshot, fresh, whole)
	}
	pages, trailer := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if sum := sha256.Sum256(pages); !bytes.Equal(sum[:], trailer) {
		t.Error("the file does not end in the digest of its pages")
	}
	for _, kv := range before {
		if !bytes.Contains(pages, kv.Value) {
			t.Errorf("the snapshot does not hold %s as it was", kv.Key)
		}
	}
	for _, kv := range p.raw(t, widgetDir) {
		if bytes.Contains(pages, kv.Value) {
			t.Errorf("the snapshot holds %s as it was written after it", kv.Key)
		}
	}

	if planned := report.Plan.Resources[0]; planned.Terminating != 1 || planned.Stale != 2 || report.Outcomes.Rewritten != 2 {
		t.Errorf("the plan is %+v, outcomes %+v, want one terminating of 2, both rewritten", planned, report.Outcomes)
	}
	for _, kv := range p.raw(t, widgetDir) {
		object := oddDecode(t, kv)
		_, terminating := object["metadata"].(map[string]any)["deletionTimestamp"]
		if going := bytes.HasSuffix(kv.Key, []byte("/going")); object["apiVersion"] != "odd.example.com/v2" || terminating != going {
			t.Errorf("%s is at %v, terminating %v", kv.Key, object["apiVersion"], terminating)
		}
	}
}
