package storedversions

import (
	"errors"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/crd"
)

// TestJudge has for each state the definition that is nearest to Clean and is not.
func TestJudge(t *testing.T) {
	type held = map[string]int64
	for _, c := range []struct {
		name        string
		versions    string // the first is the storage version
		stored      string
		held        held
		unknown     int64
		terminating bool
		shortfall   error
		want        State
		says        string
	}{
		{name: "clean", versions: "v2 v1", stored: "v2", held: held{"v2": 3}, want: Clean},
		{name: "clean and empty", versions: "v2", stored: "v2", want: Clean},
		{name: "prunable", versions: "v2 v1", stored: "v1 v2", held: held{"v2": 3}, want: Prunable, says: "lists v1"},
		{name: "prunable and empty", versions: "v2 v1", stored: "v1 v2", want: Prunable, says: "lists v1"},
		{name: "one old object", versions: "v2 v1", stored: "v1 v2", held: held{"v2": 3, "v1": 1}, want: NeedsMigration, says: "1 object is stored at v1"},
		{name: "an old object that storedVersions does not name", versions: "v2 v1", stored: "v2", held: held{"v2": 3, "v1": 2}, want: NeedsMigration, says: "storedVersions does not name v1"},
		{name: "one that cannot be seen", versions: "v2 v1", stored: "v2", held: held{"v2": 3}, unknown: 1, want: Blocked, says: "1 object"},
		{name: "one that cannot be seen, and nothing else", versions: "v2 v1", stored: "v1 v2", unknown: 2, want: Blocked, says: "2 objects"},
		{name: "one that cannot be seen, beside old ones", versions: "v2 v1", stored: "v1 v2", held: held{"v1": 4}, unknown: 1, want: Blocked, says: "cannot be seen"},
		{name: "read in part", versions: "v2 v1", stored: "v1 v2", held: held{"v2": 1}, shortfall: errors.New("cut short"), want: Blocked, says: "cut short"},
		{name: "nothing was read", versions: "v2 v1", stored: "v2", shortfall: errors.New("cut short"), want: Blocked, says: "cut short"},
		{name: "a version that is gone from spec", versions: "v2", stored: "v2", held: held{"v1": 1, "v2": 1}, want: Blocked, says: "no apiserver can read"},
		{name: "an object without a version", versions: "v2", stored: "v2", held: held{"": 1}, want: Blocked, says: "no apiserver can read"},
		{name: "a deletion", versions: "v2", stored: "v2", terminating: true, want: Blocked, says: "being deleted"},
		{name: "no storage version", stored: "v2", want: Blocked, says: "no storage version"},
		{name: "storedVersions without the storage version", versions: "v2 v1", stored: "v1", held: held{"v2": 1}, want: Blocked, says: "does not name the storage version v2"},
		{name: "storedVersions without any", versions: "v2", want: Blocked, says: "does not name the storage version v2"},
		{name: "storedVersions names what spec lacks", versions: "v2", stored: "v1 v2", want: Prunable, says: "lists v1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &crd.Definition{StoredVersions: strings.Fields(c.stored), Terminating: c.terminating}
			for i, v := range strings.Fields(c.versions) {
				d.Versions = append(d.Versions, crd.Version{Name: v, Served: true, Storage: i == 0})
			}
			state, reason := judge(d, &holding{stored: c.held, unknown: c.unknown}, c.shortfall)
			if state != c.want || !strings.Contains(reason, c.says) || (state == Clean) != (reason == "") {
				t.Errorf("%s: %s; want %s that says %q", state, reason, c.want, c.says)
			}
		})
	}
}
