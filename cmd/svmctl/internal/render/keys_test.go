package render_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/keys"
)

// rotated is what keys says in the middle of a rotation.
func rotated() *keys.Report {
	hash := "sha256:5f16d4c1b2a36b6e0f8a5f0f6a0c0f4f5f16d4c1b2a36b6e0f8a5f0f6a0c0f4f"
	outside := int64(1)
	at := time.Date(2026, 3, 14, 15, 9, 27, 0, time.UTC)
	return &keys.Report{
		APIVersion: audit.APIVersion, Kind: "KeyReport", Tool: audit.Tool{Version: "v1.0.0"},
		CanRemove: &keys.CanRemove{Key: "aescbc:key1", Answer: keys.No, Reason: "needed to read 2 configmaps", After: []string{}},
		Source:    audit.Source{Type: "etcd", Endpoints: []string{"https://127.0.0.1:2379"}, Integrity: "absent", ClusterID: "cdf818194e3a8c32", Revision: 4107},
		Scope:     audit.Scope{Prefixes: []string{"/registry/"}, Found: true, Outside: &outside, Whole: true},
		Further:   []keys.Further{{Resources: []string{"events"}, Source: audit.Source{Type: "etcd", Endpoints: []string{"https://127.0.0.1:2381"}, Integrity: "absent", ClusterID: "8e9e05c52164694d", Revision: 911}, Scope: audit.Scope{Prefixes: []string{"/registry/events/"}, Found: true, Whole: true}}},
		StartedAt: at, FinishedAt: at.Add(time.Second),
		Encryption: &audit.Encryption{Path: "/etc/kubernetes/enc/enc.yaml", Hash: hash, Open: "all"},
		APIServers: &apiservers.Agreement{Known: 3, Counted: true, Asked: 3, Agree: new(true)},
		Doubts:     []string{}, Warnings: []string{},
		Keys: []keys.Row{
			{
				Provider: atrest.AESCBC, Version: "v1", Key: "key2", Configured: true, Write: true, Writes: []string{"secrets", "configmaps"}, Reads: []string{"secrets", "configmaps"},
				Objects: map[string]int64{"secrets": 112, "configmaps": 41}, Total: 153, Opened: 153, Removable: keys.No, Destroyable: keys.No,
				Reason: "needed to read 112 secrets, 41 configmaps, and it writes secrets, configmaps",
			},
			{
				Provider: atrest.AESCBC, Version: "v1", Key: "key1", Configured: true, Writes: []string{}, Reads: []string{"secrets", "configmaps"},
				Objects: map[string]int64{"configmaps": 2}, Total: 2, Opened: 2, Removable: keys.No, Destroyable: keys.No, Reason: "needed to read 2 configmaps",
			},
			{
				Provider: atrest.Identity, Configured: true, Writes: []string{}, Reads: []string{"secrets", "configmaps"}, Objects: map[string]int64{}, Removable: keys.Yes, Destroyable: keys.Unknown,
				Reason: "nothing is under it, and every apiserver writes with another key",
			},
			{
				Provider: atrest.KMS, Version: "v2", Key: "vault", KeyID: "kek-2", KeyIDHash: "sha256:5c27f23de4c2cb9d7f3c6a0a1f24ff3d3ad0a9c7cf0f0c9e5f1b1a8b1d8f9f10", Configured: true, Write: true,
				Writes: []string{"*.apps"}, Reads: []string{"*.apps"}, Objects: map[string]int64{"deployments.apps": 17}, Total: 17, Opened: 17, Removable: keys.No, Destroyable: keys.No,
				Reason: "needed to read 17 deployments.apps, and it writes *.apps",
			},
		},
		Snapshots: []keys.Kept{},
	}
}

// backedUp has files beside the etcd.
func backedUp() *keys.Report {
	r := rotated()
	at := time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)
	r.Keys[1].Snapshots, r.Keys[1].History, r.Scope.History = 1, 17, true
	r.Snapshots = []keys.Kept{
		{Path: "/var/backups/etcd/monday.db", SHA256: "4a1c94a4b1a7e2e5b9d1a8a5a7b2f4c3d5e6f708192a3b4c5d6e7f8091a2b3c4", Integrity: "valid", Revision: 3500, ModifiedAt: at, Keys: 301,
			Needs: []keys.Need{
				{Provider: atrest.AESCBC, Version: "v1", Key: "key1", Objects: map[string]int64{"secrets": 100, "configmaps": 41}, Total: 141, Opened: 141},
				{Provider: atrest.KMS, Version: "v2", Key: "vault", KeyID: "kek-1", Objects: map[string]int64{"deployments.apps": 17}, Total: 17, Opened: 17},
			}, Plaintext: map[string]int64{"secrets": 12}},
		{Path: "/var/backups/etcd/tuesday.db.gz", Integrity: "absent", ModifiedAt: at, Problem: "not a file of etcd's", Needs: []keys.Need{}, Plaintext: map[string]int64{}},
	}
	return r
}

func renderKeys(t *testing.T, r *keys.Report, opts render.Options) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := render.Keys(&out, r, opts); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestKeysGolden(t *testing.T) {
	for name, opts := range map[string]render.Options{
		"keys.table": options(render.Table), "keys.wide": options(render.Wide), "keys.json": options(render.JSON), "keys.yaml": options(render.YAML), "keys.csv": options(render.CSV),
	} {
		compareGolden(t, name, renderKeys(t, rotated(), opts))
	}
	yes := rotated()
	yes.CanRemove = &keys.CanRemove{Key: "identity", Answer: keys.Yes, Reason: yes.Keys[2].Reason, After: []string{"older revisions in etcd: etcdctl compact", "snapshots and backups that lie elsewhere"}}
	yes.Warnings = []string{"secrets have 3 live keys at once"}
	compareGolden(t, "keys.snapshots.table", renderKeys(t, backedUp(), options(render.Table)))
	compareGolden(t, "keys.yes.table", renderKeys(t, yes, options(render.Table)))
	unknown := rotated()
	unknown.Encryption, unknown.APIServers, unknown.CanRemove, unknown.Further = nil, nil, nil, []keys.Further{}
	unknown.Doubts = []string{"there is no EncryptionConfiguration at hand, so that which key writes is not known"}
	unknown.Keys = unknown.Keys[1:2]
	unknown.Keys[0].Configured, unknown.Keys[0].Reads = false, []string{}
	compareGolden(t, "keys.unconfigured.table", renderKeys(t, unknown, options(render.Table)))
}

var keyFields = []string{
	"apiVersion", "kind", "tool.version",
	"canRemove", "canRemove.key", "canRemove.answer", "canRemove.reason", "canRemove.after[]",
	"source.type", "source.endpoints[]", "source.path", "source.sha256", "source.integrity", "source.clusterID", "source.kine", "source.revision",
	"scope.prefixes[]", "scope.history", "scope.found", "scope.outside", "scope.whole",
	"further[].resources[]",
	"further[].source.type", "further[].source.endpoints[]", "further[].source.path", "further[].source.sha256", "further[].source.integrity", "further[].source.clusterID", "further[].source.kine", "further[].source.revision",
	"further[].scope.prefixes[]", "further[].scope.history", "further[].scope.found", "further[].scope.outside", "further[].scope.whole",
	"startedAt", "finishedAt",
	"encryptionConfig", "encryptionConfig.path", "encryptionConfig.hash", "encryptionConfig.open",
	"apiservers", "apiservers.known", "apiservers.counted", "apiservers.asked", "apiservers.agree",
	"doubts[]", "warnings[]",
	"snapshots[].path", "snapshots[].sha256", "snapshots[].integrity", "snapshots[].revision", "snapshots[].modifiedAt", "snapshots[].keys", "snapshots[].problem", "snapshots[].plaintext.secrets",
	"snapshots[].needs[].provider", "snapshots[].needs[].version", "snapshots[].needs[].key", "snapshots[].needs[].keyID", "snapshots[].needs[].twin",
	"snapshots[].needs[].objects.secrets", "snapshots[].needs[].objects.configmaps", "snapshots[].needs[].objects.deployments.apps", "snapshots[].needs[].total", "snapshots[].needs[].opened",
	"keys[].provider", "keys[].version", "keys[].key", "keys[].keyID", "keys[].keyIDHash", "keys[].twin", "keys[].configured", "keys[].write", "keys[].writes[]", "keys[].reads[]",
	"keys[].objects.secrets", "keys[].objects.configmaps", "keys[].objects.deployments.apps", "keys[].total", "keys[].opened", "keys[].history", "keys[].snapshots", "keys[].removable", "keys[].destroyable", "keys[].reason",
}

func TestKeyFields(t *testing.T) {
	got := make(map[string]bool)
	full := backedUp()
	full.CanRemove.After, full.Doubts, full.Warnings = []string{"a"}, []string{"a"}, []string{"a"}
	fields(got, "", parseJSON(t, renderKeys(t, full, options(render.JSON))))
	empty := rotated()
	empty.CanRemove, empty.Encryption, empty.APIServers = nil, nil, nil
	fields(got, "", parseJSON(t, renderKeys(t, empty, options(render.JSON))))
	expectFields(t, got, keyFields)
}
