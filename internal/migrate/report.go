package migrate

import (
	"iter"
	"slices"
	"time"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/rewrite"
	"github.com/svmctl/svmctl/internal/spool"
	"github.com/svmctl/svmctl/internal/verify"
)

// Report is one migration, in the form that docs/json.md promises. Failures are read from it one by one. It holds
// temporary files until Close.
type Report struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Tool       audit.Tool     `json:"tool"`
	Verdict    verify.Verdict `json:"verdict"`
	Reasons    []audit.Reason `json:"reasons"`
	Stopped    *Stop          `json:"stopped"` // why the run ended early; null when it did not
	DryRun     DryRun         `json:"dryRun"`  // empty, client or server
	Backend    Backend        `json:"backend"`
	Targets    []Target       `json:"targets"`
	Plan       Plan           `json:"plan"`
	Outcomes   Outcomes       `json:"outcomes"`
	Rounds     int            `json:"rounds"`
	APIServers APIServers     `json:"apiservers"`
	Snapshot   *Snapshot      `json:"snapshot"` // taken before the first write; null: none
	Settled    *Settled       `json:"settled"`  // null: nobody looked out for late writes
	Elsewhere  []Elsewhere    `json:"elsewhere"`
	Warnings   []string       `json:"warnings"`
	StartedAt  time.Time      `json:"startedAt"`
	FinishedAt time.Time      `json:"finishedAt"`

	Unread bool          `json:"-"` // etcd could not be read as a whole, and so nothing was done
	Before *audit.Report `json:"-"`
	After  *audit.Report `json:"-"` // nil for a dry run, and when the run was interrupted

	failures spool.Spool[Failure]
	pruned   spool.Spool[Pruned]
}

// Target is what one resource is migrated to.
type Target struct {
	Resource string      `json:"resource"`
	Value    string      `json:"value"`
	Version  string      `json:"version"`
	From     verify.From `json:"from"`
	Reason   string      `json:"reason"` // what declares the version, where nobody named it
}

// Plan is what a migration is about to do. It is shown before anything is written.
type Plan struct {
	Backend   Backend           `json:"backend"`
	Resources []PlannedResource `json:"resources"`
	Revision  int64             `json:"revision"` // that the plan was made at
	Bytes     int64             `json:"bytes"`    // of values to write again; etcd keeps the old ones until compaction
	DBSize    int64             `json:"dbSize"`   // bytes of etcd's file, 0 when it does not tell
	Quota     int64             `json:"quota"`    // bytes etcd may take, 0 when it is not known
	Warnings  []string          `json:"-"`        // those of the report, for whoever is asked
}

// PlannedResource is one resource of a plan.
type PlannedResource struct {
	Target
	Objects    int64  `json:"objects"` // found in etcd
	Stale      int64  `json:"stale"`   // not as expected; to be written again unless it is refused
	Bytes      int64  `json:"bytes"`   // of the stale values
	Namespaces int    `json:"namespaces"`
	Refused    string `json:"refused"` // why it is not migrated; empty when it is

	Unreadable  int64  `json:"unreadable"`  // objects that no apiserver with the EncryptionConfiguration can read, and so none can write again
	Terminating int64  `json:"terminating"` // of the stale objects: deleted, and kept by their finalizers; plaintext alone shows it
	WouldPrune  int64  `json:"wouldPrune"`  // objects that lose fields when they are written again
	Unchecked   int64  `json:"unchecked"`   // objects of which nobody can see whether they do
	Converted   int64  `json:"converted"`   // objects that a webhook converts on the way; what it drops, or a schema after it, cannot be seen before
	Conversion  string `json:"conversion"`  // of a custom resource: None, or Webhook and where that is
	Preflight   []Note `json:"preflight"`

	current int64 // objects that are as expected
}

// Note is something that the API shows, before anything is written, to stand or to perhaps stand in the way.
type Note struct {
	Code     string `json:"code"`
	Severity string `json:"severity"` // info, warning or blocking
	Subject  string `json:"subject"`
	Message  string `json:"message"`
}

// Pruned is one object that loses fields when it is written again. The paths hold names of fields, and no values.
type Pruned struct {
	Key      string   `json:"key"`
	Resource string   `json:"resource"`
	Paths    []string `json:"paths"`
	Omitted  int      `json:"omitted"` // further paths
	// State is refused, lost, or unchecked for an object of which nobody can see what it would lose.
	State PrunedState `json:"state"`
	Text  string      `json:"text"` // why it could not be checked, or what became of it
}

// Snapshot is a file that holds all of etcd as it was before the first write.
type Snapshot struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"` // of the file
}

// PrunedState is what became of an object that would lose fields.
type PrunedState string

const (
	PruneRefused   PrunedState = "refused"   // it was not written again
	PruneLost      PrunedState = "lost"      // it was written again, and the fields are gone
	PruneUnchecked PrunedState = "unchecked" // it cannot be opened or understood
)

// Stale is the number of objects to be written again.
func (p Plan) Stale() int64 {
	var n int64
	for _, r := range p.Resources {
		if r.Refused == "" {
			n += r.Stale
		}
	}
	return n
}

// Refused tells whether stale objects of some resource are not going to be written.
func (p Plan) Refused() bool {
	return slices.ContainsFunc(p.Resources, func(r PlannedResource) bool { return r.Refused != "" && (r.Stale > 0 || r.WouldPrune+r.Unchecked > 0) })
}

// Outcomes count what became of the objects, each object once per round in which it was taken up.
type Outcomes struct {
	Rewritten       int64 `json:"rewritten"`
	AlreadyCurrent  int64 `json:"alreadyCurrent"`  // as expected before anything was done
	NotRewritten    int64 `json:"notRewritten"`    // accepted by the apiserver, which wrote nothing
	ChangedByOthers int64 `json:"changedByOthers"` // written by somebody else meanwhile, and as expected now
	Deleted         int64 `json:"deleted"`
	Failed          int64 `json:"failed"`
	Accepted        int64 `json:"accepted"` // dry run: nobody refused
}

// Failure is one object that was not rewritten.
type Failure struct {
	Key       string       `json:"key"`
	Resource  string       `json:"resource"`
	Namespace string       `json:"namespace"`
	Name      string       `json:"name"`
	Code      int          `json:"code"` // HTTP status, 0 when there was no answer
	Kind      rewrite.Kind `json:"kind"`
	Reason    string       `json:"reason"`
	By        string       `json:"by"` // webhook or policy
	Fields    []string     `json:"fields"`
	Text      string       `json:"text"`              // the cause in svmctl's words
	Message   string       `json:"message,omitempty"` // the apiserver's free text, with --show-messages alone
}

// APIServers tells whether every apiserver would write the same.
type APIServers struct {
	apiservers.Agreement
	Forced bool `json:"forced"` // they do not agree, and the migration went on all the same
}

// Elsewhere is what still lies under another key, outside of the migrated resources.
type Elsewhere struct {
	Resource string `json:"resource"`
	Value    string `json:"value"`
	Objects  *int64 `json:"objects"` // null: not scanned
	Note     string `json:"note"`
}

// StopCode names why a migration ended before every object had its turn.
type StopCode string

const (
	StopInterrupted StopCode = "Interrupted"
	StopOutage      StopCode = "Outage"
	StopLaggard     StopCode = "NotRewritten" // the apiserver takes the patches and writes nothing
	StopOtherTarget StopCode = "OtherTarget"  // the apiserver writes something else than expected
	StopForbidden   StopCode = "Forbidden"
	StopQuota       StopCode = "Quota"
	StopAlarm       StopCode = "Alarm"
	StopController  StopCode = "Controller"   // the in-tree controller failed or stalled
	StopEtcd        StopCode = "Etcd"         // etcd could not be read any more
	StopConverged   StopCode = "NotConverged" // the apiservers do not agree
	StopPruning     StopCode = "WouldPrune"   // objects would lose fields
	StopConversion  StopCode = "Conversion"   // the conversion webhook does not answer
)

// Stop is why a migration ended early.
type Stop struct {
	Code    StopCode `json:"code"`
	Message string   `json:"message"`
	Hint    string   `json:"hint"`
}

func (s *Stop) Error() string { return s.Message }

// Silent are the KMS providers that were asked in vain, by the last look.
func (r *Report) Silent() []audit.Silent {
	if r.After != nil {
		return r.After.Silent
	}
	return r.Before.Silent
}

// Failures yields the objects that were not rewritten, in the order in which that became certain.
func (r *Report) Failures() iter.Seq2[Failure, error] { return r.failures.All() }

// Pruned yields the objects that lose fields when they are written again, or may.
func (r *Report) Pruned() iter.Seq2[Pruned, error] { return r.pruned.All() }

// PrunedCount is the number of these.
func (r *Report) PrunedCount() int64 { return r.pruned.Len() }

// FailureCount is the number of failures.
func (r *Report) FailureCount() int64 { return r.failures.Len() }

// Close frees what the lists of the report are kept in.
func (r *Report) Close() {
	r.failures.Close()
	r.pruned.Close()
	for _, a := range []*audit.Report{r.Before, r.After} {
		if a != nil {
			a.Close()
		}
	}
}
