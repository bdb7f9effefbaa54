package residue

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
)

// sum turns what was counted into the rows of the report, and says what clears what.
func (l *look) sum() {
	for _, t := range l.tables {
		for _, e := range t.entries() {
			l.count(t, e)
		}
	}
	l.judge()
	l.steps()
}

// count adds an entry to the rows. Where the end of a key's name cannot be told the shortest stands for it, which holds no ciphertext.
func (l *look) count(t *table, e etcdscan.Entry) {
	at := e.AtRest
	if e.Ambiguous {
		at = e.Candidates()[0].AtRest
	}
	c := Count{Place: t.place, Path: t.path, of: t.of, Resource: resourceOf(e), Provider: at.Provider, Version: at.Version, Key: at.Key, KeyID: at.KeyID}
	i := slices.IndexFunc(l.report.Counts, func(known Count) bool {
		known.Values, known.Cut = 0, 0
		return known == c
	})
	if i < 0 {
		i = len(l.report.Counts)
		l.report.Counts = append(l.report.Counts, c)
	}
	l.report.Counts[i].Values += e.Objects
	l.report.Counts[i].Cut += t.cut[e.Group]
}

func resourceOf(e etcdscan.Entry) string {
	switch {
	case e.Resource != "":
		return verify.Resource{Group: e.Group.Group, Name: e.Resource}.String()
	case e.Note != "":
		return "(" + e.Note + ")"
	}
	return ""
}

// judge tells what nothing live is like any more.
func (l *look) judge() {
	rows := l.report.Counts
	for i := range rows {
		rows[i].LeftBehind = rows[i].Place != Live && l.leftBehind(rows[i])
	}
	rank := map[Place]int{Live: 0, History: 1, FreePages: 2, WAL: 3}
	slices.SortStableFunc(rows, func(a, b Count) int {
		return cmp.Or(strings.Compare(a.Resource, b.Resource), cmp.Compare(rank[a.Place], rank[b.Place]), strings.Compare(a.Path, b.Path),
			strings.Compare(string(a.Provider), string(b.Provider)), strings.Compare(a.Key, b.Key), strings.Compare(a.KeyID, b.KeyID))
	})
}

// leftBehind tells whether nothing live is like it. Without a database nobody knows what is live.
func (l *look) leftBehind(c Count) bool {
	known, alike, others := false, false, false
	for _, f := range l.report.Files {
		known = known || f.of == c.of && (f.Kind == Database || f.Kind == Snapshot)
	}
	for _, live := range l.report.Counts {
		if live.Place != Live || live.of != c.of || live.Resource != c.Resource && c.Resource != "" {
			continue
		}
		others = true
		alike = alike || live.Provider == c.Provider && live.Version == c.Version && live.Key == c.Key && live.KeyID == c.KeyID
	}
	switch {
	case !known || alike:
		return false
	case c.Provider == atrest.Identity && !others:
		// All objects of the resource are gone. Most are no secret, and were never to be encrypted.
		r, err := verify.ParseResource(c.Resource)
		return err == nil && (r.Sensitive() || l.Config != nil && l.Config.Writes(r.Group, r.Name).Provider != atrest.Identity)
	}
	return true
}

// steps says what clears each place of what is left behind.
func (l *look) steps() {
	for _, f := range l.report.Files {
		for _, place := range []Place{History, FreePages, WAL} {
			var n int64
			for _, c := range l.report.Counts {
				if c.Path == f.Path && c.Place == place && c.LeftBehind {
					n += c.Values
				}
			}
			if n > 0 {
				l.report.Steps = append(l.report.Steps, step(f, place, n))
			}
		}
	}
}

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
