package keys

import (
	"slices"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
)

// TestKeptFiles has a key that nothing live needs: removable it is, and destroyable only as far as the files go.
func TestKeptFiles(t *testing.T) {
	for _, c := range []struct {
		name      string
		kept      []Kept
		snapshots int
		want      Answer
		after     string
		plaintext int64
	}{
		{name: "none needs it", kept: []Kept{{Path: "a.db", entries: []etcdscan.Entry{under("secrets", 5, key2)}}}, want: Unknown, after: "snapshots and backups that lie elsewhere"},
		{name: "one needs it", kept: []Kept{{Path: "a.db", entries: []etcdscan.Entry{under("secrets", 5, key2), under("secrets", 1, key1)}}, {Path: "b.db"}}, snapshots: 1, want: No, after: "cannot be restored without it: a.db"},
		{name: "one needs it for a resource that no rule covers", kept: []Kept{{Path: "a.db", entries: []etcdscan.Entry{shut(under("pods", 1, key1), etcdscan.OtherResource)}}}, snapshots: 1, want: No},
		{name: "one cannot be read", kept: []Kept{{Path: "a.db.gz", Problem: "compressed"}}, want: Unknown, after: "nobody can say what they need: a.db.gz"},
		{name: "one was opened with another key of that name", kept: []Kept{{Path: "a.db", entries: []etcdscan.Entry{under("secrets", 1, twin)}}}, want: Unknown},
		{name: "one that is damaged needs it as well", kept: []Kept{{Path: "a.db", Problem: "page 7", entries: []etcdscan.Entry{under("secrets", 1, key1)}}}, snapshots: 1, want: No},
		{name: "one was not opened, under a name that begins with it", kept: []Kept{{Path: "a.db", entries: []etcdscan.Entry{shut(under("secrets", 1, long), "")}}}, want: Unknown},
		{name: "one holds plaintext, which only identity reads", kept: []Kept{{Path: "a.db", entries: []etcdscan.Entry{under("secrets", 3, encryption.Identity), under("pods", 4, encryption.Identity)}}}, want: Unknown, plaintext: 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &look{report: &Report{Snapshots: c.kept}, entries: []etcdscan.Entry{under("secrets", 5, key2)}}
			l.Config, l.OverridesTold, l.CanRemove = file(key2, key1), true, &Wanted{}
			l.CanRemove.Provider, l.CanRemove.Key = "aescbc", "key1"
			for _, kept := range c.kept {
				l.Kept = append(l.Kept, kept.Path)
			}
			for i := range l.report.Snapshots {
				l.report.Snapshots[i].Plaintext = make(map[string]int64)
			}
			l.opened()
			l.makeRows()
			if err := l.judge(); err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(l.rows, func(r *Row) bool { return r.Key == "key1" && r.Twin == 0 })
			if r := l.rows[i]; r.Removable != Yes || r.Destroyable != c.want || r.Snapshots != c.snapshots {
				t.Errorf("%+v", r)
			}
			if a := l.report.CanRemove; a.Answer != Yes || !strings.Contains(strings.Join(a.After, "\n"), c.after) {
				t.Errorf("%+v, want %q", a, c.after)
			}
			if n := l.report.Snapshots[0].Plaintext["secrets"]; n != c.plaintext || l.report.Snapshots[0].Plaintext["pods"] != 0 {
				t.Errorf("plaintext %v", l.report.Snapshots[0].Plaintext)
			}
		})
	}
}

// Plaintext of a resource that the file covers needs the provider identity, in a backup as in etcd.
func TestKeptFilesNeedIdentity(t *testing.T) {
	l := &look{report: &Report{Snapshots: []Kept{{Path: "old.db", Plaintext: make(map[string]int64), entries: []etcdscan.Entry{under("secrets", 3, encryption.Identity), under("pods", 3, encryption.Identity)}}}}}
	l.Config, l.OverridesTold, l.CanRemove, l.Kept = file(key2, encryption.Identity), true, &Wanted{}, []string{"old.db"}
	l.entries = []etcdscan.Entry{under("secrets", 5, key2)}
	l.CanRemove.Provider = "identity"
	l.makeRows()
	if err := l.judge(); err != nil {
		t.Fatal(err)
	}
	if a := l.report.CanRemove; a.Answer != Yes || !strings.Contains(strings.Join(a.After, "\n"), "cannot be restored without it: old.db") {
		t.Errorf("%+v", a)
	}
	if needs := l.report.Snapshots[0].Needs; len(needs) != 1 || needs[0].Total != 3 {
		t.Errorf("%+v", needs)
	}
}

// Without a file, and with nothing that is encrypted, secrets in plaintext are told all the same.
func TestKeptPlaintextSecretsAreTold(t *testing.T) {
	l := &look{report: &Report{Snapshots: []Kept{{Path: "old.db", Plaintext: make(map[string]int64), entries: []etcdscan.Entry{under("secrets", 3, encryption.Identity), under("pods", 3, encryption.Identity)}}}}}
	l.makeRows()
	if kept := l.report.Snapshots[0]; kept.Plaintext["secrets"] != 3 || len(kept.Plaintext) != 1 || len(kept.Needs) != 0 {
		t.Errorf("%+v", kept)
	}
}

// A name without a file to settle it: each key that it may be is needed.
func TestKeptFileWithOpenName(t *testing.T) {
	n := Need{Provider: atrest.AESCBC, Version: "v1", Key: "a", Total: 1, maybe: []string{"a", "a:b"}}
	for key, want := range map[string]bool{"a": true, "a:b": true, "b": false} {
		if got := new(look).mayBe(n, &Row{Provider: atrest.AESCBC, Version: "v1", Key: key}); got != want {
			t.Errorf("%s: %v", key, got)
		}
	}
	n = Need{Provider: atrest.AESCBC, Version: "v1", Key: "a:b", Total: 1}
	if !new(look).mayBe(n, &Row{Provider: atrest.AESCBC, Version: "v1", Key: "a"}) {
		t.Error("a value that was not opened may be under the shorter name")
	}
	if n.Opened = 1; new(look).mayBe(n, &Row{Provider: atrest.AESCBC, Version: "v1", Key: "a"}) {
		t.Error("one that was opened is not")
	}
}
