package keys

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/snapshot"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
	"github.com/svmctl/svmctl/internal/verify"
)

// Kept is a file that is kept beside etcd: a snapshot, a copied database, or something else that lies among them.
type Kept struct {
	Path       string    `json:"path"`
	SHA256     string    `json:"sha256"`
	Integrity  string    `json:"integrity"`
	Revision   int64     `json:"revision"`
	ModifiedAt time.Time `json:"modifiedAt"` // of the file; zero where it could not be opened
	Keys       int64     `json:"keys"`       // in the store
	// Problem is why nobody can say what the file needs, or not all of it; empty if all of it was read.
	Problem string `json:"problem"`
	Needs   []Need `json:"needs"` // the keys without which not all of it can be read once it is restored
	// Plaintext is what lies in it unencrypted of resources that are to be encrypted, by resource.
	Plaintext map[string]int64 `json:"plaintext"`

	entries []etcdscan.Entry
}

// Need is a key that a file needs.
type Need struct {
	Provider atrest.Provider  `json:"provider"`
	Version  string           `json:"version"`
	Key      string           `json:"key"`
	KeyID    string           `json:"keyID"`
	Twin     int              `json:"twin"`
	Objects  map[string]int64 `json:"objects"`
	Total    int64            `json:"total"`
	Opened   int64            `json:"opened"`

	maybe []string // other names that the key may have, where its end cannot be told
}

// readKept reads the files one after the other. What is the matter with one of them is no reason to leave the others.
func (l *look) readKept(ctx context.Context) error {
	for _, path := range l.Kept {
		kept := Kept{Path: path, Integrity: string(snapshot.Absent), Needs: []Need{}, Plaintext: make(map[string]int64)}
		if err := l.readFile(ctx, &kept); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			kept.Problem = problemOf(path, err)
		}
		l.report.Snapshots = append(l.report.Snapshots, kept)
	}
	return nil
}

func problemOf(path string, err error) string {
	switch {
	case errors.Is(err, snapshot.ErrForeign), errors.Is(err, snapshot.ErrNotEtcd):
		return "not a file of etcd's: unpack it if it is compressed, and see docs/snapshots.md for what can be read"
	case errors.Is(err, fs.ErrPermission):
		return "this user may not read it"
	}
	return strings.TrimPrefix(err.Error(), "opening "+path+": ")
}

func (l *look) readFile(ctx context.Context, kept *Kept) error {
	file, err := snapshot.Open(kept.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	kept.ModifiedAt = file.ModTime().UTC()
	scope, err := audit.ScopeOf(ctx, file, nil, 0)
	if errors.Is(err, audit.ErrNoRoot) {
		scope, err = etcdscan.NewScope([]string{"/"}, nil), nil
	}
	if err != nil {
		return err
	}
	scope.Ranges = []etcdscan.Range{{}}
	result, err := etcdscan.Scan(ctx, etcdscan.Reading{Source: file, Scope: scope, Opener: l.Opener, Sample: l.Sample, Progress: l.Progress, Announce: l.Announce}, discard{})
	if err != nil {
		return err
	}
	sum, integrity, err := file.Digest(ctx)
	if err != nil {
		return err
	}
	kept.SHA256, kept.Integrity, kept.Revision, kept.Keys = sum, string(integrity), result.Pin.Revision, result.Tally.Objects()
	kept.entries = result.Tally.Entries()
	return result.Shortfall
}

// judgeKept says what each file needs, and has a row for each key that one of them does.
func (l *look) judgeKept() {
	encrypted := l.encryptedResources()
	for i := range l.report.Snapshots {
		kept := &l.report.Snapshots[i]
		for j := range kept.entries {
			l.countKept(kept, &kept.entries[j], encrypted)
		}
		for _, need := range kept.Needs {
			l.row(atrest.Encryption{Provider: need.Provider, Version: need.Version, Key: need.Key, KeyID: need.KeyID}, need.Twin)
		}
		slices.SortStableFunc(kept.Needs, func(a, b Need) int { return cmp.Compare(b.Total, a.Total) })
	}
}

// encryptedResources are those that the EncryptionConfiguration encrypts, and those of which anything that was read is encrypted.
func (l *look) encryptedResources() map[string]bool {
	found := make(map[string]bool)
	take := func(entries []etcdscan.Entry) {
		for _, e := range entries {
			r := verify.Resource{Group: e.Group.Group, Name: e.Resource}
			writes := l.Config != nil && r.Name != "" && len(l.Config.For(r.Group, r.Name)) > 0 && l.Config.Writes(r.Group, r.Name).Provider != atrest.Identity
			if e.Resource != "" && (writes || e.AtRest.Provider != atrest.Identity) {
				found[r.String()] = true
			}
		}
	}
	take(l.entries)
	for _, kept := range l.report.Snapshots {
		take(kept.entries)
	}
	return found
}

func (l *look) countKept(kept *Kept, e *etcdscan.Entry, encrypted map[string]bool) {
	name := verify.Resource{Group: e.Group.Group, Name: e.Resource}.String()
	if e.AtRest.Provider == atrest.Identity {
		if encrypted[name] || name == "secrets" {
			kept.Plaintext[name] += e.Objects
		}
		if l.Config == nil || e.Unserved || e.Resource == "" || len(l.Config.For(e.Group.Group, e.Resource)) == 0 {
			return // who reads it needs no provider for it
		}
	}
	if e.Resource == "" {
		name = "(" + e.Note + ")"
	}
	i := slices.IndexFunc(kept.Needs, func(n Need) bool {
		return n.Provider == e.AtRest.Provider && n.Version == e.AtRest.Version && n.Key == e.AtRest.Key && n.KeyID == e.AtRest.KeyID && n.Twin == e.Twin
	})
	if i < 0 {
		i = len(kept.Needs)
		kept.Needs = append(kept.Needs, Need{Provider: e.AtRest.Provider, Version: e.AtRest.Version, Key: e.AtRest.Key, KeyID: e.AtRest.KeyID, Twin: e.Twin, Objects: make(map[string]int64)})
	}
	n := &kept.Needs[i]
	if e.Ambiguous {
		for _, g := range e.Candidates() {
			n.maybe = append(n.maybe, g.AtRest.Key)
		}
	}
	n.Objects[name] += e.Objects
	n.Total += e.Objects
	if e.Stored != (stored.Type{}) {
		n.Opened += e.Objects
	}
}

// keptAgainst is what the files say against destroying the key of a row: those that need it, and those of which nobody knows.
func (l *look) keptAgainst(r *Row) (needing, unknown []string) {
	for _, kept := range l.report.Snapshots {
		if slices.ContainsFunc(kept.Needs, func(n Need) bool { return l.mayBe(n, r) }) {
			needing = append(needing, kept.Path)
		} else if kept.Problem != "" {
			unknown = append(unknown, kept.Path)
		}
	}
	return needing, unknown
}

// mayBe tells whether what a file needs is the key of a row, as far as its name goes: where a value was not opened, keys of one
// name are not told apart, nor is a name from another that it begins with.
func (l *look) mayBe(n Need, r *Row) bool {
	if n.Provider != r.Provider || n.Version != r.Version || n.KeyID != r.KeyID {
		return false
	}
	closed := n.Opened < n.Total
	return n.Key == r.Key && (n.Twin == r.Twin || closed) || closed && (strings.HasPrefix(n.Key, r.Key+":") || slices.Contains(n.maybe, r.Key))
}
