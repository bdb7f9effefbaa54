package evidence

import (
	"time"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/verify"
)

// Observed is all that somebody saw, and that a bundle is made of.
type Observed struct {
	Report     *audit.Report
	Records    *Recorder
	Redactor   *Redactor
	Exceptions *Exceptions // nil: none were given

	Tool          Tool
	Actor         Actor
	Clock         string
	Today         time.Time // by the real clock, whatever the report's is: what has expired by now has expired
	Corroboration []Corroboration
	FinishedAt    time.Time // of the run, which ends after the scan
	ValidUntil    time.Time // zero: nothing is said
	Cluster       Cluster
	Overrides     []string // resources that are known to lie in another etcd

	Config         *encryption.Configuration // nil: there was none at hand
	APIServers     APIServers
	Later          *Later
	LaterUnknown   string
	Reconciliation *Reconciliation
	NotReconciled  string   // why there is none
	LeftOut        []string // groups that another apiserver serves, and of which this etcd holds nothing

	Migration *Migration // nil: nothing was migrated
	Rotation  *Rotation  // of Migration
	Keys      any        // the KeyReport; nil: keys were not asked about
	CanRemove *KeyAnswer // nil: no key in particular was asked about
	Residue   any        // the ResidueReport; nil: no file of etcd's was looked through
	Residuals *Residuals // of Residue
	KeyIDs    []string   // of KMS plugins, that Keys and Migration speak of; none stays in the bundle
	Previous  *Previous
}

// Rotation is what a migration comes to.
type Rotation struct {
	Verdict     verify.Verdict
	Stopped     string // why it ended early; empty: it did not
	StaleBefore int64
	Rewritten   int64
	FromWhole   bool
	From, To    int64 // revisions
	Began, Done time.Time
}

// WALPlace is the write-ahead log among the places of Residuals.
const WALPlace = "write-ahead log"

// Residuals are what files of etcd's come to.
type Residuals struct {
	Files  []string // each with its digest, where it has one
	Places []string // that were looked through in them
	Left   []string // what was left behind, and where
	Untold []string // why that may not be all
}

// KeyAnswer is the answer to whether a key can be removed from the EncryptionConfiguration.
type KeyAnswer struct {
	Key    string
	Answer string // yes, no or unknown
	Reason string
}

// file tells whether a file was read in place of a running etcd.
func (o *Observed) file() bool { return o.Report.Source.Type == "snapshot" }
