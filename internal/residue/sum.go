package residue

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
)

// take takes over what was found in a home.
func (r *Report) take(h *home) {
	for _, p := range h.parts {
		r.Files = append(r.Files, p.File)
	}
	var counts []Count
	for _, c := range h.counts {
		counts = append(counts, *c)
	}
	rank := map[Place]int{Live: 0, History: 1, FreePages: 2, WAL: 3}
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(strings.Compare(a.Resource, b.Resource), cmp.Compare(rank[a.Place], rank[b.Place]), strings.Compare(a.Path, b.Path),
			strings.Compare(string(a.Provider), string(b.Provider)), strings.Compare(a.Version, b.Version), strings.Compare(a.Key, b.Key), strings.Compare(a.KeyID, b.KeyID))
	})
	r.Counts = append(r.Counts, counts...)
	for _, p := range h.parts {
		for _, place := range []Place{History, FreePages, WAL} {
			var n int64
			for _, c := range counts {
				if c.Path == p.Path && c.Place == place {
					n += c.LeftBehind
				}
			}
			if n > 0 {
				r.Steps = append(r.Steps, step(p.File, place, n))
			}
		}
	}
	r.warn(h, counts)
}

// warn says what keeps the counts from being the whole answer.
func (r *Report) warn(h *home, counts []Count) {
	if !h.database {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s holds no database: nobody can say what is live, and so what is left behind", h.path))
	}
	untold, stale, forms := make(map[string]int64), make(map[string]int64), make(map[string]int)
	for _, c := range counts {
		if c.Untold > 0 {
			untold[c.Resource] += c.Untold
		}
		resource, err := verify.ParseResource(c.Resource)
		if c.Place != Live || err != nil {
			continue
		}
		if forms[c.Resource]++; h.config == nil {
			continue
		}
		form := atrest.Encryption{Provider: c.Provider, Version: c.Version, Key: c.Key, KeyID: c.KeyID}
		if w := h.config.Writes(resource.Group, resource.Name); w.Provider == atrest.Identity && c.Provider != atrest.Identity || w.Provider != atrest.Identity && !w.Claims(form) {
			stale[c.Resource] += c.Values
		}
	}
	for _, resource := range slices.Sorted(maps.Keys(untold)) {
		if h.database {
			r.Warnings = append(r.Warnings, fmt.Sprintf("of %d values of %s in %s nobody can say whether they are left behind: an EncryptionConfiguration may tell", untold[resource],
				cmp.Or(resource, "unknown resources, whose keys are lost,"), h.path))
		}
	}
	for _, resource := range slices.Sorted(maps.Keys(forms)) {
		switch {
		case stale[resource] > 0:
			r.Warnings = append(r.Warnings, fmt.Sprintf("%d live %s in %s are not as the EncryptionConfiguration writes them: their migration is not finished", stale[resource], resource, h.path))
		case h.config == nil && forms[resource] > 1:
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s are live in %d forms in %s: a migration is not finished, and what is live is not left behind", resource, forms[resource], h.path))
		}
	}
}

// step says what clears a place.
func step(f File, place Place, n int64) Step {
	s := Step{Place: place, Path: f.Path, Values: n}
	switch {
	case f.Kind == Snapshot:
		s.Do = "once etcd itself is clear of them, take a new snapshot and delete this one"
		s.Why = "a snapshot carries along what etcd's file holds, free pages included"
	case place == History:
		s.Do = fmt.Sprintf("compact: etcdctl compact %d", f.Revision)
		s.Why = "an apiserver compacts every five minutes as well; what is compacted lies in free pages then"
	case place == FreePages:
		s.Do = "defragment each member: etcdctl defrag"
		s.Why = "free pages keep their bytes until they are used again, and snapshots carry them along"
	case f.Kind == Log:
		s.Do = "let the log be rotated: etcd drops old segments after it has taken raft snapshots of its own (--snapshot-count, --max-wals); or replace the members one after the other, which begin a log of their own"
		s.Why = "neither compaction nor defragmentation reaches the log"
	default:
		s.Do = "drop it once etcd no longer needs it: etcd removes old ones by itself (--max-snapshots)"
		s.Why = "it lies beside the database, and neither compaction nor defragmentation reaches it"
	}
	return s
}
