package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// saveSnapshot takes a snapshot as etcdctl does, into a directory that svmctl does not write to.
func (p *plane) saveSnapshot(t *testing.T) string {
	t.Helper()
	body, err := p.etcd.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	path := filepath.Join(t.TempDir(), "snapshot.db")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(file, body); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// documentOf is a JSON report without what differs between an etcd and a file of it.
func documentOf(t *testing.T, r result) map[string]any {
	t.Helper()
	var document map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &document); err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	for _, field := range []string{"source", "startedAt", "finishedAt"} {
		delete(document, field)
	}
	return document
}

// fileState is what must not change of a file.
type fileState struct {
	sum      [sha256.Size]byte
	modified string
}

func stateOf(t *testing.T, path string) fileState {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fileState{sha256.Sum256(data), info.ModTime().String()}
}

// TestSnapshotEqualsLive has one object of every resource under mixed providers: a file of that etcd gives the very same report.
func TestSnapshotEqualsLive(t *testing.T) {
	p := startPlane(t, encryptionRules(
		encryptionRule([]string{"secrets"}, "aesgcm:key2"),
		encryptionRule([]string{"configmaps", "'*.apps'"}, "secretbox:key3"),
		encryptionRule([]string{"namespaces", "services", "'*.apiextensions.k8s.io'"}, "identity"),
		encryptionRule([]string{"'*.*'"}, "aescbc:key1"),
	), "--without-controller-manager", "--apiserver-arg=--runtime-config=api/all=true", "--apiserver-arg=--feature-gates=AllAlpha=true,AllBeta=true")
	p.create(t, loadStorage(t))
	for i := range 5 { // some history
		p.createSecrets(t, "storage", []string{"a", "b", "c", "d", "e"}[i], 3)
	}
	path := p.saveSnapshot(t)
	before := stateOf(t, path)
	var snapshot auditReport
	first := p.svmctl(t, "audit", "--snapshot", path, "-o", "json")
	first.wantCode(t, 0)
	snapshot = first.audit(t)
	if snapshot.Source.Type != "snapshot" || snapshot.Source.Path != path || snapshot.Source.Integrity != "valid" {
		t.Errorf("source %+v", snapshot.Source)
	}

	for name, flags := range map[string][]string{
		"nothing expected": {"--history"},
		"found wanting":    {"--expect", "*=encrypted", "--expect-version", "*=svmctl.invalid/v1"},
		"opened":           {"--encryption-provider-config", p.config},
		"opened in part":   {"--encryption-provider-config", p.config, "--open", "sample", "--expect", "*=aescbc:key9"},
	} {
		t.Run(name, func(t *testing.T) {
			flags = append(flags, "-o", "json")
			live := p.svmctl(t, append([]string{"audit", "--revision", itoa(snapshot.Source.Revision)}, flags...)...)
			file := p.svmctl(t, append([]string{"audit", "--snapshot", path}, flags...)...)
			file.wantCode(t, live.code)
			if want, got := documentOf(t, live), documentOf(t, file); !reflect.DeepEqual(want, got) {
				t.Errorf("etcd gives\n%s\nand the file\n%s", clip(live.stdout), clip(file.stdout))
			}
		})
	}
	t.Run("streamed", func(t *testing.T) {
		streamed := p.svmctl(t, "audit", "--stream-snapshot", "--encryption-provider-config", p.config, "-o", "json")
		streamed.wantCode(t, 0)
		report := streamed.audit(t)
		if report.Source.Type != "etcd" || report.Source.Integrity != "valid" || report.Source.ClusterID == "" || report.Source.Revision < snapshot.Source.Revision {
			t.Errorf("source %+v", report.Source)
		}
		if left, err := filepath.Glob(filepath.Join(p.home, "svmctl-*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	t.Run("definitions", func(t *testing.T) {
		rows := func(r result) []any {
			list, _ := documentOf(t, r)["crds"].([]any)
			for _, row := range list {
				delete(row.(map[string]any), "fromRevision")
			}
			return list
		}
		live := p.svmctl(t, "crds", "--encryption-provider-config", p.config, "-o", "json")
		live.wantCode(t, 0)
		file := p.svmctl(t, "crds", "--snapshot", path, "--encryption-provider-config", p.config, "-o", "json")
		file.wantCode(t, 0)
		if want, got := rows(live), rows(file); len(got) == 0 || !reflect.DeepEqual(want, got) {
			t.Errorf("etcd and its apiserver give\n%s\nand the file\n%s", clip(live.stdout), clip(file.stdout))
		}
	})
	t.Run("keys", func(t *testing.T) {
		matrix := p.svmctl(t, "keys", "--snapshots", path, "--encryption-provider-config", p.config, "-o", "json")
		matrix.wantCode(t, 0)
		var report struct {
			Snapshots []struct {
				Problem string
				Keys    int64
				Needs   []struct{ Provider, Key string }
			}
		}
		if err := json.Unmarshal([]byte(matrix.stdout), &report); err != nil {
			t.Fatal(err)
		}
		var needs []string
		for _, kept := range report.Snapshots {
			for _, n := range kept.Needs {
				needs = append(needs, n.Provider+":"+n.Key)
			}
			if kept.Problem != "" || kept.Keys < snapshot.Totals.Keys || kept.Keys > snapshot.Totals.Keys+1 { // there may be a key of the apiservers beside the root
				t.Errorf("%+v", kept)
			}
		}
		if text := strings.Join(needs, " "); len(needs) != 4 || !strings.Contains(text, "identity:") || !strings.Contains(text, "aescbc:key1") || !strings.Contains(text, "aesgcm:key2") || !strings.Contains(text, "secretbox:key3") {
			t.Errorf("it needs %v", needs)
		}
		p.svmctl(t, "keys", "--snapshot", path).wantCode(t, 0)
		p.svmctl(t, "residue", path).wantCode(t, 0)
	})
	if stateOf(t, path) != before {
		t.Error("the file is another one now")
	}
}
