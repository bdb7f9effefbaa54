package evidence

import (
	"strings"
	"testing"
)

func TestLimitationsOfScan(t *testing.T) {
	live := &Scan{AsOf: AsOf{Revision: 7, Later: &Later{HeadRevision: 9}}}
	for _, c := range []struct {
		name      string
		scan      *Scan
		opened    bool
		providers []string
		ids       string
		says      []string
		silent    []string
	}{
		{
			name: "plaintext alone", scan: live, providers: []string{"identity"}, ids: "L1 L5 L6 L7 L8",
			says: []string{"asOf.later"}, silent: []string{"aescbc protects"},
		},
		{
			name: "believed", scan: live, providers: []string{"aescbc v1", "kms v2"}, ids: "L1 L2 L3 L4 L5 L6 L7 L8",
			says:   []string{"aescbc: a value bears", "aescbc protects no integrity", "KMS v2: the key ID", "KMS v2: values are"},
			silent: []string{"secretbox:", "XSalsa20", "KMS v1", "200,000"},
		},
		{
			name: "opened with a key from the file", scan: live, opened: true, providers: []string{"aesgcm v1", "secretbox v1"}, ids: "L1 L4 L5 L6 L7 L8",
			says: []string{"200,000", "XSalsa20"}, silent: []string{"bears the name"},
		},
		{
			name: "opened by a plugin", scan: live, opened: true, providers: []string{"kms v1", "aescbc v1"}, ids: "L1 L3 L4 L5 L6 L7 L8",
			says: []string{"KMS v1: a value bears", "before Kubernetes 1.25"}, silent: []string{"aescbc: a value bears"},
		},
		{
			name: "of a provider that is not known", scan: live, providers: []string{"unknown"}, ids: "L1 L2 L5 L6 L7 L8",
		},
		{
			name: "later writes not counted", scan: &Scan{}, ids: "L1 L5 L6 L7 L8",
			says: []string{"was not counted"}, silent: []string{"asOf.later"},
		},
		{
			name: "a snapshot", scan: &Scan{AsOf: AsOf{Snapshot: "backup.db"}}, ids: "L1 L5 L6 L7 L8",
			says: []string{"newest revision in a file"}, silent: []string{"asOf.later"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			providers := make(map[string]bool)
			for _, p := range c.providers {
				providers[p] = true
			}
			var ids []string
			var texts strings.Builder
			for _, l := range limitations(c.scan, c.opened, nil, providers) {
				ids = append(ids, l.ID)
				texts.WriteString(l.Text + "\n")
			}
			if got := strings.Join(ids, " "); got != c.ids {
				t.Errorf("%s hold, want %s", got, c.ids)
			}
			for _, s := range c.says {
				if !strings.Contains(texts.String(), s) {
					t.Errorf("nothing says %q:\n%s", s, &texts)
				}
			}
			for _, s := range c.silent {
				if strings.Contains(texts.String(), s) {
					t.Errorf("%q is said:\n%s", s, &texts)
				}
			}
		})
	}
}

// TestLimitationTextsStay: what holds for one scan says nothing about the next.
func TestLimitationTextsStay(t *testing.T) {
	all := make(map[string]bool)
	for _, l := range providerLimits {
		all[l.provider] = true
	}
	first := limitations(&Scan{}, false, []string{WALPlace}, all)
	second := limitations(&Scan{}, false, []string{WALPlace}, all)
	for i := range first {
		if first[i] != second[i] {
			t.Errorf("%s changed from %q to %q", first[i].ID, first[i].Text, second[i].Text)
		}
	}
	seen := make(map[string]bool)
	for _, l := range limitationTexts {
		if l.ID == "" || l.Text == "" || seen[l.ID] {
			t.Errorf("%+v is empty or there twice", l)
		}
		seen[l.ID] = true
	}
}
