// Package residue finds what rotation has left behind in etcd's files: old revisions, free pages, the write-ahead log. It counts
// values and names the keys they are under; it keeps no byte of a value, opens none, and changes no file.
package residue

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/carve"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/etcdscan/snapshot"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
	"github.com/svmctl/svmctl/internal/verify"
)

// Request is what to look through.
type Request struct {
	Paths      []string                  // files, and data directories of etcd
	Config     *encryption.Configuration // tells the names of its keys, and what is to be encrypted; nil: there is none
	Encryption *audit.Encryption
	Version    string
	Now        func() time.Time
}

// look is one run.
type look struct {
	Request
	report *Report
	names  atrest.Names
	known  []atrest.Encryption
	roots  etcdscan.Scope
	tables []*table

	resources map[verify.Resource]bool // of keys in the databases
}

// Run takes the look. An error means that no report could be made.
func Run(ctx context.Context, req Request) (*Report, error) {
	l := &look{Request: req, resources: make(map[verify.Resource]bool), report: &Report{
		APIVersion: audit.APIVersion, Kind: "ResidueReport", Tool: audit.Tool{Version: req.Version}, Encryption: req.Encryption,
		StartedAt: req.Now().UTC(), Files: []File{}, Counts: []Count{}, Steps: []Step{},
	}}
	if req.Config != nil {
		for _, k := range req.Config.Keys {
			l.known = append(l.known, k.AtRest())
		}
		l.names = atrest.NewNames(l.known)
	}
	var parts []part
	for _, path := range req.Paths {
		found, err := partsOf(path)
		if err != nil {
			return nil, err
		}
		parts = append(parts, found...)
	}
	// The databases first: the names of their keys tell where those of cut values end.
	for _, databases := range []bool{true, false} {
		for _, p := range parts {
			if (p.kind == Database) != databases {
				continue
			}
			if err := l.part(ctx, p); err != nil {
				return nil, err
			}
		}
	}
	l.sum()
	l.report.FinishedAt = req.Now().UTC()
	return l.report, nil
}

func (l *look) part(ctx context.Context, p part) error {
	switch p.kind {
	case Log:
		return l.log(ctx, p)
	case RaftSnapshot:
		return l.raftSnapshot(ctx, p)
	}
	return l.database(ctx, p)
}

// table counts the values of one place in one file.
type table struct {
	place Place
	path  string
	of    string
	tally etcdscan.Tally
	whole map[uint64]struct{} // values that were counted, of those that may lie there several times
	seed  maphash.Seed
	cut   map[etcdscan.Group]int64

	resolved bool
}

func (t *table) entries() []etcdscan.Entry {
	if !t.resolved {
		t.tally.Resolve()
		t.resolved = true
	}
	return t.tally.Entries()
}

func (l *look) table(p part, place Place, path string) *table {
	t := &table{place: place, path: path, of: p.of, whole: make(map[uint64]struct{}), seed: maphash.MakeSeed(), cut: make(map[etcdscan.Group]int64)}
	l.tables = append(l.tables, t)
	return t
}

// add counts a whole value.
func (l *look) add(t *table, k, value []byte) {
	v := l.names.Parse(value)
	r := l.record(k, value)
	r.AtRest, r.Ends = v.Encryption, v.Ends
	t.tally.Census.Add(v)
	t.tally.Add(&r)
}

// record names what a value is of: by its key, and where that is lost by its own header, as far as that can be read.
func (l *look) record(k, value []byte) etcdscan.Record {
	r := etcdscan.Record{Key: string(k), Opened: etcdscan.NotTried, Size: int64(len(value))}
	if r.Key != "" {
		r.Object = key.Parse(l.root(r.Key), r.Key)
		r.Note = r.Object.Note
	} else if header, err := stored.Parse(value); err == nil {
		group, _, grouped := strings.Cut(header.Type.APIVersion, "/")
		if !grouped {
			group = ""
		}
		// A kind could be anything that stands in a value: what the databases hold otherwise is known to be one.
		if guess := (verify.Resource{Group: group, Name: strings.ToLower(header.Type.Kind) + "s"}); l.resources[guess] {
			r.Object.Group, r.Object.Resource = guess.Group, guess.Name
		}
	}
	return r
}

// root is the storage root of a key: one of those that the database holds, or what the key itself suggests.
func (l *look) root(k string) string {
	if root, ok := key.Root(k); ok {
		return root
	}
	return l.roots.Root(k)
}

// addCarved counts a value that was found among bytes that belong to nothing, once.
func (l *look) addCarved(t *table, v carve.Value) {
	if id, ok := t.identity(v); ok {
		if _, known := t.whole[id]; known {
			return
		}
		t.whole[id] = struct{}{}
	}
	if !v.Cut {
		l.add(t, v.Key, v.Bytes)
		return
	}
	r := l.record(v.Key, v.Bytes)
	r.AtRest = l.names.ParseCut(v.Bytes)
	t.cut[t.tally.Add(&r).Group]++
}

// identity is what tells a copy of a value from another value: its key and revision, and where they are lost the value.
func (t *table) identity(v carve.Value) (uint64, bool) {
	var h maphash.Hash
	h.SetSeed(t.seed)
	switch {
	case len(v.Key) > 0 && v.ModRevision != 0:
		h.Write(v.Key)
		maphash.WriteComparable(&h, v.ModRevision)
	case !v.Cut:
		h.Write(v.Key)
		h.Write(v.Bytes)
	default:
		return 0, false
	}
	return h.Sum64(), true
}

// database counts the revisions in a database or a snapshot, and what lies in its free pages.
func (l *look) database(ctx context.Context, p part) error {
	file, err := snapshot.Open(p.path)
	if err != nil {
		return err
	}
	defer file.Close()
	out := File{Path: file.Path(), of: p.of, Kind: Database, Bytes: p.bytes, Compacted: file.Compacted()}
	if out.Revision, err = file.Revision(ctx); err != nil {
		return err
	}
	if scope, err := audit.ScopeOf(ctx, file, nil, 0); err == nil {
		l.roots = scope
	}
	live, history := l.table(p, Live, out.Path), l.table(p, History, out.Path)
	err = file.Writes(ctx, func(w snapshot.Write) error {
		t := history
		if w.Live {
			t = live
		}
		l.add(t, w.Key, w.Value)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading %s: %w", out.Path, err)
	}
	l.learn(live, history)
	free := l.table(p, FreePages, out.Path)
	err = file.Free(ctx, func(_ int64, b []byte) error {
		out.FreeBytes += int64(len(b))
		for v := range carve.Find(b) {
			l.addCarved(free, v)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading %s: %w", out.Path, err)
	}
	sum, integrity, err := file.Digest(ctx)
	if err != nil {
		return fmt.Errorf("reading %s: %w", out.Path, err)
	}
	if out.SHA256, out.Integrity = sum, string(integrity); integrity != snapshot.Absent {
		out.Kind = Snapshot
	}
	if err := file.Doubts(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		out.Problem = err.Error()
	}
	l.report.Files = append(l.report.Files, out)
	return nil
}

// learn takes over the names of the keys that whole values are under, as far as it is known where they end.
func (l *look) learn(tables ...*table) {
	for _, t := range tables {
		for _, e := range t.entries() {
			if e.Resource != "" {
				l.resources[verify.Resource{Group: e.Group.Group, Name: e.Resource}] = true
			}
			if !e.Ambiguous {
				l.known = append(l.known, e.AtRest)
			}
		}
	}
	l.names = atrest.NewNames(l.known)
}

// ErrNothing is returned for a path that holds nothing of etcd's.
var ErrNothing = errors.New("nothing of etcd's: name a snapshot, a copied member/snap/db or a copied data directory")
