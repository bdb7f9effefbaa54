// Package storedversions compares, per CustomResourceDefinition, the versions that its objects are really stored at with
// spec.versions and status.storedVersions, and trims storedVersions behind a proof. It never writes to etcd; what Prune
// writes is status.storedVersions.
package storedversions

import (
	"time"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/audit"
)

// State is what can be done about a CustomResourceDefinition.
type State string

const (
	Clean          State = "Clean"          // storedVersions names the storage version alone, and so does etcd
	Prunable       State = "Prunable"       // storedVersions lists versions that etcd no longer holds
	NeedsMigration State = "NeedsMigration" // objects are stored at another version than the storage version
	Blocked        State = "Blocked"        // nobody can say, or something has to be mended first
)

// Report is one look at all definitions that were asked for, in the form that docs/json.md promises.
type Report struct {
	APIVersion string                `json:"apiVersion"`
	Kind       string                `json:"kind"`
	Tool       audit.Tool            `json:"tool"`
	Source     audit.Source          `json:"source"`
	Scope      audit.Scope           `json:"scope"`
	DryRun     bool                  `json:"dryRun"`
	APIServers *apiservers.Agreement `json:"apiservers"` // null: not asked, as nothing was to be written
	CRDs       []Row                 `json:"crds"`
	Warnings   []string              `json:"warnings"`
	StartedAt  time.Time             `json:"startedAt"`
	FinishedAt time.Time             `json:"finishedAt"`

	agreed map[string]accord // by name of the definition
	wrote  bool              // something was written, or may have been
}

// Row is one CustomResourceDefinition, or a resource whose definition is gone.
type Row struct {
	Name           string           `json:"name"`
	State          State            `json:"state"`
	Reason         string           `json:"reason"`
	StorageVersion string           `json:"storageVersion"`
	Served         []string         `json:"served"`
	StoredVersions []string         `json:"storedVersions"` // status.storedVersions
	Stored         map[string]int64 `json:"stored"`         // objects by the version they are stored at
	Unknown        int64            `json:"unknown"`        // objects whose version cannot be seen
	ManagedFields  ManagedFields    `json:"managedFields"`
	FromRevision   int64            `json:"fromRevision"` // of etcd, that the row speaks of
	ToRevision     int64            `json:"toRevision"`   // prune: of the scan after the write, fromRevision when there was nothing to trim; 0 when it was refused
	Dropped        []string         `json:"dropped"`      // prune: taken out of storedVersions; with a dry run, to be taken out
	PutBack        []string         `json:"putBack"`      // prune: found in etcd after all and written into storedVersions again
	Refused        bool             `json:"refused"`      // prune: not trimmed, or put back
	Dir            string           `json:"-"`            // of its objects in etcd, without a trailing slash; empty: not known
}

// ManagedFields counts the objects in which managedFields still names a version that the definition no longer has. It is no
// reason not to drop a version; an apply by such a manager fails.
type ManagedFields struct {
	Objects  int64    `json:"objects"`
	Versions []string `json:"versions"`
}

// Open tells whether there is something to do.
func (r *Report) Open() bool {
	for _, row := range r.CRDs {
		if row.State != Clean {
			return true
		}
	}
	return false
}

// Refused tells whether a row was not trimmed, or not for long.
func (r *Report) Refused() bool {
	for _, row := range r.CRDs {
		if row.Refused {
			return true
		}
	}
	return false
}
