package render_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/residue"
)

// left is a member's data directory after a rotation, and an old snapshot.
func left() *residue.Report {
	const db, log, old = "/backup/member/snap/db", "/backup/member/wal", "/backup/old.db"
	at := time.Date(2026, 3, 14, 15, 9, 27, 0, time.UTC)
	count := func(place residue.Place, path, resource string, provider atrest.Provider, key string, values int64, leftBehind bool) residue.Count {
		version, left := "v1", int64(0)
		if leftBehind {
			left = values
		}
		if provider == atrest.Identity {
			version = ""
		}
		return residue.Count{Place: place, Path: path, Resource: resource, Provider: provider, Version: version, Key: key, Values: values, LeftBehind: left}
	}
	r := &residue.Report{
		APIVersion: audit.APIVersion, Kind: "ResidueReport", Tool: audit.Tool{Version: "v1.0.0"}, StartedAt: at, FinishedAt: at.Add(time.Second),
		Files: []residue.File{
			{Path: db, Kind: residue.Database, Bytes: 1 << 20, SHA256: "4a1c94a4b1a7e2e5b9d1a8a5a7b2f4c3d5e6f708192a3b4c5d6e7f8091a2b3c4", Integrity: "absent", Revision: 4107, Compacted: 4000, FreeBytes: 300 << 10},
			{Path: old, Kind: residue.Snapshot, Bytes: 1<<20 + 32, SHA256: "5b2c94a4b1a7e2e5b9d1a8a5a7b2f4c3d5e6f708192a3b4c5d6e7f8091a2b3c4", Integrity: "wrong", Revision: 3000, Problem: "page 7 is damaged: it says that it is page 9"},
			{Path: log, Kind: residue.Log, Bytes: 2 << 20},
		},
		Counts: []residue.Count{
			count(residue.Live, db, "configmaps", atrest.Identity, "", 41, false),
			count(residue.Live, db, "secrets", atrest.AESCBC, "key2", 200, false),
			count(residue.History, db, "secrets", atrest.AESCBC, "key1", 180, true),
			count(residue.FreePages, db, "secrets", atrest.Identity, "", 12, true),
			count(residue.WAL, log, "secrets", atrest.Identity, "", 200, true),
			count(residue.WAL, log, "secrets", atrest.AESCBC, "key2", 200, false),
		},
		Steps: []residue.Step{
			{Place: residue.History, Path: db, Values: 180, Do: "compact: etcdctl compact 4107", Why: "what is compacted lies in free pages then"},
			{Place: residue.WAL, Path: log, Values: 200, Do: "let the log be rotated", Why: "neither compaction nor defragmentation reaches the log"},
		},
	}
	r.Counts[3].Cut = 2
	r.Counts = append(r.Counts, residue.Count{Place: residue.FreePages, Path: db, Provider: atrest.Identity, Values: 3, Untold: 3})
	r.Warnings = []string{"3 plaintext values in /backup have lost their keys: whether they were to be encrypted nobody can say"}
	return r
}

func renderResidue(t *testing.T, r *residue.Report, opts render.Options) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := render.Residue(&out, r, opts); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestResidueGolden(t *testing.T) {
	for _, format := range []render.Format{render.Table, render.Wide, render.JSON, render.YAML, render.CSV} {
		compareGolden(t, "residue."+string(format), renderResidue(t, left(), options(format)))
	}
	clean := left()
	clean.Steps, clean.Counts, clean.Files, clean.Warnings = []residue.Step{}, clean.Counts[:2], clean.Files[:1], []string{}
	compareGolden(t, "residue.clean.table", renderResidue(t, clean, options(render.Table)))
}

// The duplication is the point: these names are a promise.
var residueFields = []string{
	"apiVersion", "kind", "tool.version", "startedAt", "finishedAt",
	"encryptionConfig", "encryptionConfig.path", "encryptionConfig.hash", "encryptionConfig.open",
	"files[].path", "files[].kind", "files[].bytes", "files[].sha256", "files[].integrity", "files[].revision", "files[].compacted", "files[].freeBytes", "files[].problem",
	"counts[].place", "counts[].path", "counts[].resource", "counts[].provider", "counts[].version", "counts[].key", "counts[].keyID", "counts[].values", "counts[].cut", "counts[].leftBehind", "counts[].untold", "warnings[]",
	"steps[].place", "steps[].path", "steps[].values", "steps[].do", "steps[].why",
}

func TestResidueFields(t *testing.T) {
	got := make(map[string]bool)
	r := left()
	fields(got, "", parseJSON(t, renderResidue(t, r, options(render.JSON))))
	r.Encryption = new(audit.Encryption)
	fields(got, "", parseJSON(t, renderResidue(t, r, options(render.JSON))))
	expectFields(t, got, residueFields)
}
