package audit

import (
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
	"github.com/svmctl/svmctl/internal/spool"
	"github.com/svmctl/svmctl/internal/verify"
)

// APIVersion of every document that svmctl writes.
const APIVersion = "svmctl/v1alpha1"

// Report is what one audit saw, in the form that docs/json.md promises. Findings are read from it one by one: there may
// be a million. It holds a temporary file until Close.
type Report struct {
	APIVersion   string           `json:"apiVersion"`
	Kind         string           `json:"kind"`
	Tool         Tool             `json:"tool"`
	Verdict      verify.Verdict   `json:"verdict"`
	Reasons      []Reason         `json:"reasons"`
	Source       Source           `json:"source"`
	Scope        Scope            `json:"scope"`
	StartedAt    time.Time        `json:"startedAt"`
	FinishedAt   time.Time        `json:"finishedAt"`
	Totals       Totals           `json:"totals"`
	Expectations []Expectation    `json:"expectations"`
	Encryption   *Encryption      `json:"encryptionConfig"` // null: there was none at hand
	Candidate    *Encryption      `json:"candidate"`        // the EncryptionConfiguration that was judged instead of the objects; null: none
	Groups       []Group          `json:"groups"`
	History      *History         `json:"history"` // null: nobody looked
	FindingCount int64            `json:"findingCount"`
	Counted      int64            `json:"-"` // keys in the scope, by the store's own count
	Foreign      *int64           `json:"-"` // of Scope.Outside, what is not the record of apiservers' compactions; null: not counted
	Bounds       etcdscan.Scope   `json:"-"` // Scope, as it was read
	Roots        []string         `json:"-"` // storage roots by which the keys were named; one may lie within another
	Entries      []etcdscan.Entry `json:"-"` // the groups with all that they were judged by
	Silent       []Silent         `json:"-"` // KMS providers that were asked in vain
	Unsupported  error            `json:"-"` // why the store, recognised for what it is, cannot be read; nil if it can

	expectations verify.Expectations
	entries      []*etcdscan.Entry
	suspects     *spool.Spool[suspect]
	whole        []Finding // findings about no object in particular
}

// Tool names what made the report.
type Tool struct {
	Version string `json:"version"`
}

// Source is the store that was read.
type Source struct {
	Type      string   `json:"type"` // etcd or snapshot
	Endpoints []string `json:"endpoints"`
	Path      string   `json:"path"`
	SHA256    string   `json:"sha256"`
	Integrity string   `json:"integrity"`
	ClusterID string   `json:"clusterID"` // hex; empty for a file and for kine
	Kine      bool     `json:"kine"`      // the store is no etcd, and speaks like one
	Revision  int64    `json:"revision"`
}

// Encryption is the EncryptionConfiguration that was at hand.
type Encryption struct {
	Path string `json:"path"`
	Hash string `json:"hash"` // sha256:… of the file, as an apiserver's metrics have it
	Open string `json:"open"` // which values were opened: all, sample or none
}

// Silent is a KMS provider whose plugin did not decrypt.
type Silent struct {
	Provider string
	Obstacle etcdscan.Obstacle
}

// Scope is what was read of it.
type Scope struct {
	Prefixes []string `json:"prefixes"`
	History  bool     `json:"history"`
	Found    bool     `json:"found"`   // no prefix was given: these are the storage roots that were found
	Outside  *int64   `json:"outside"` // keys of the store that were not read; null when they may not be counted
	Whole    bool     `json:"whole"`   // every key that etcd counts in the prefixes was read
}

// Totals add up all groups.
type Totals struct {
	Keys  int64 `json:"keys"`
	Bytes int64 `json:"bytes"` // of values
}

// Expectation is one thing that was judged by.
type Expectation struct {
	Resource string      `json:"resource"`
	Value    string      `json:"value"`
	Version  string      `json:"version"`
	From     verify.From `json:"from"`
	Reason   string      `json:"reason"` // what declares the version, where nobody named it
}

// Reason is one cause, for all the objects it concerns, that keeps the verdict from Complete.
type Reason struct {
	Code     verify.Code     `json:"code"`
	Severity verify.Severity `json:"severity"`
	Resource string          `json:"resource"`
	Expected string          `json:"expected"`
	Found    string          `json:"found"`
	Objects  int64           `json:"objects"`
	Message  string          `json:"message"`
}

// Group is the objects that have everything below in common.
type Group struct {
	Root          string            `json:"root"`
	Group         string            `json:"group"`
	Resource      string            `json:"resource"`
	AtRest        atrest.Encryption `json:"atRest"`
	Stored        *stored.Type      `json:"stored"` // null while ciphertext was not opened
	Opened        etcdscan.Opened   `json:"opened"`
	Authenticated bool              `json:"authenticated"`
	Note          string            `json:"note"`
	Objects       int64             `json:"objects"`
	Bytes         int64             `json:"bytes"`

	Worst verify.Severity `json:"-"` // of the faults of its objects; empty for none
}

// History is the older revisions that the store still gives to whoever asks for one.
type History struct {
	Compacted int64      `json:"compacted"` // the oldest revision that can be read; 0 for the first
	Revisions int64      `json:"revisions"`
	Groups    []OldGroup `json:"groups"`
}

// OldGroup is the older revisions that have everything below in common. They are not opened.
type OldGroup struct {
	Root      string            `json:"root"`
	Group     string            `json:"group"`
	Resource  string            `json:"resource"`
	AtRest    atrest.Encryption `json:"atRest"`
	Note      string            `json:"note"`
	Revisions int64             `json:"revisions"`
	Bytes     int64             `json:"bytes"`
}

// Finding is one thing that is the matter with one object.
type Finding struct {
	Code        verify.Code     `json:"code"`
	Severity    verify.Severity `json:"severity"`
	Key         string          `json:"key"`
	Group       string          `json:"group"`
	Resource    string          `json:"resource"`
	Namespace   string          `json:"namespace"`
	Name        string          `json:"name"`
	ModRevision int64           `json:"modRevision"`
	Message     string          `json:"message"`
	Expected    string          `json:"expected"`
	Found       string          `json:"found"`
}

// Suspect is one object with its faults.
type Suspect struct {
	Key         string
	Object      key.Object
	ModRevision int64
	Size        int64 // bytes of the value
	Terminating bool  // deleted, and kept by its finalizers; only known of plaintext
	Entry       *etcdscan.Entry
	Faults      []verify.Fault
}

// Judged is what the objects were judged by.
func (r *Report) Judged() verify.Expectations { return r.expectations }

// Suspects yields every object that has a fault, in key order.
func (r *Report) Suspects() iter.Seq2[Suspect, error] {
	return func(yield func(Suspect, error) bool) {
		if r.suspects == nil {
			return
		}
		for item, err := range r.suspects.All() {
			if err != nil {
				yield(Suspect{}, err)
				return
			}
			e := r.entries[item.Entry]
			faults := r.expectations.EntryFaults(*e)
			if len(faults) == 0 {
				continue
			}
			s := Suspect{Key: item.Key, Object: key.Parse(e.Root, item.Key), ModRevision: item.ModRevision, Size: item.Size, Terminating: item.Terminating, Entry: e, Faults: faults}
			if !yield(s, nil) {
				return
			}
		}
	}
}

// Findings yields every finding, those about no object in particular first.
func (r *Report) Findings() iter.Seq2[Finding, error] {
	return func(yield func(Finding, error) bool) {
		for _, f := range r.whole {
			if !yield(f, nil) {
				return
			}
		}
		for s, err := range r.Suspects() {
			if err != nil {
				yield(Finding{}, err)
				return
			}
			for _, f := range s.Faults {
				finding := Finding{
					Code: f.Code, Severity: f.Severity, Key: s.Key, Group: s.Object.Group, Resource: s.Object.Resource,
					Namespace: s.Object.Namespace, Name: s.Object.Name, ModRevision: s.ModRevision,
					Message: f.Message, Expected: f.Expected, Found: f.Found,
				}
				if !yield(finding, nil) {
					return
				}
			}
		}
	}
}

// Doubt adds a reason of the caller's to those of the verdict.
func (r *Report) Doubt(reason Reason) {
	r.Reasons = append(r.Reasons, reason)
	r.Verdict = r.Verdict.Worse(reason.Severity.Verdict())
}

// Close frees what the findings are kept in.
func (r *Report) Close() error {
	if r.suspects == nil {
		return nil
	}
	return r.suspects.Close()
}

// Covers tells whether every object of a resource was in the scope, under some storage root at least.
func (r *Report) Covers(res verify.Resource) bool {
	return slices.ContainsFunc(r.Bounds.Roots, func(root string) bool {
		dir := root + "/" + key.DirIn(root, res.Group, res.Name)
		return slices.ContainsFunc(r.Bounds.Prefixes, func(p string) bool { return strings.HasPrefix(dir, p) })
	})
}
