package residue

import (
	"slices"
	"time"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
)

// Place is where in etcd's files a value lies.
type Place string

const (
	Live      Place = "live"      // the newest write of a key that was not deleted
	History   Place = "history"   // an older revision, which etcd still gives to whoever asks for it
	FreePages Place = "freePages" // bytes of the database that belong to nothing any more
	WAL       Place = "wal"       // the write-ahead log, and raft's own snapshots beside the database
)

// Kind is what a file is.
type Kind string

const (
	Snapshot     Kind = "snapshot" // of etcdctl snapshot save
	Database     Kind = "database" // a member's
	Log          Kind = "wal"      // a directory of segments
	RaftSnapshot Kind = "raftSnapshot"
	Other        Kind = "other" // nothing of etcd's, or nothing that can be read
)

// Report tells where values lie, in the form that docs/json.md promises.
type Report struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Tool       audit.Tool        `json:"tool"`
	StartedAt  time.Time         `json:"startedAt"`
	FinishedAt time.Time         `json:"finishedAt"`
	Encryption *audit.Encryption `json:"encryptionConfig"` // null: there was none at hand
	Files      []File            `json:"files"`
	Counts     []Count           `json:"counts"`
	Steps      []Step            `json:"steps"`    // what clears that which is left behind
	Warnings   []string          `json:"warnings"` // why that may not be all
}

// File is one that was looked through.
type File struct {
	Path      string `json:"path"`
	Kind      Kind   `json:"kind"`
	Bytes     int64  `json:"bytes"`
	SHA256    string `json:"sha256"`    // of a snapshot or a database
	Integrity string `json:"integrity"` // valid, absent or wrong
	Revision  int64  `json:"revision"`  // newest
	Compacted int64  `json:"compacted"` // revision up to which older ones are gone; 0 for none
	FreeBytes int64  `json:"freeBytes"` // of a database: what belongs to nothing
	// Problem is why not all of it could be looked through; empty if all of it was.
	Problem string `json:"problem"`
}

// Count is how many values of one kind lie in one place. A value that lies there several times counts once where its key and
// revision can be told.
type Count struct {
	Place    Place           `json:"place"`
	Path     string          `json:"path"`
	Resource string          `json:"resource"` // plural.group; for keys that are no API object what they are, in parentheses; empty where the key is lost
	Provider atrest.Provider `json:"provider"`
	Version  string          `json:"version"`
	Key      string          `json:"key"`
	KeyID    string          `json:"keyID"`
	Values   int64           `json:"values"`
	Cut      int64           `json:"cut"` // of these lost their end, or nobody can tell where it is
	// LeftBehind of them are in a form that they would not be written in now: not as the EncryptionConfiguration writes the resource,
	// or without one not as the live value of their key; where that is gone, as no live value of the resource, or in plaintext
	// while some are encrypted. All of that is asked of the same snapshot or data directory.
	LeftBehind int64 `json:"leftBehind"`
	// Untold of them nobody can say so: plaintext whose key is lost, and all there is where no database is beside it.
	Untold int64 `json:"untold"`
}

// Step is something to do.
type Step struct {
	Place  Place  `json:"place"`
	Path   string `json:"path"`
	Values int64  `json:"values"` // left behind, that it clears
	Do     string `json:"do"`
	Why    string `json:"why"`
}

// Open tells whether there is something to do.
func (r *Report) Open() bool { return len(r.Steps) > 0 }

// Unread tells whether something could not be looked through, or not be judged.
func (r *Report) Unread() bool {
	return slices.ContainsFunc(r.Files, func(f File) bool { return f.Problem != "" }) || slices.ContainsFunc(r.Counts, func(c Count) bool { return c.Untold > 0 })
}

// Unsaid is what the counts alone do not say: warnings, and what could not be looked through.
func (r *Report) Unsaid() []string {
	said := slices.Clone(r.Warnings)
	for _, f := range r.Files {
		if f.Problem != "" {
			said = append(said, f.Path+": "+f.Problem)
		}
	}
	return said
}
