package residue

import (
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
	Steps      []Step            `json:"steps"` // what clears that which is left behind
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

	of string // the path it belongs to that was asked for
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
	// LeftBehind tells that nothing live of this resource, or of any resource where the key is lost, is like this in the same snapshot or
	// data directory: it is what a rotation or a deletion has left.
	LeftBehind bool `json:"leftBehind"`

	of string
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

// Unread tells whether something could not be looked through.
func (r *Report) Unread() bool {
	for _, f := range r.Files {
		if f.Problem != "" {
			return true
		}
	}
	return false
}
