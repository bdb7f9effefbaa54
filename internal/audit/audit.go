// Package audit is one look at a store: it scans a scope at one revision, judges what it saw and keeps what is the
// matter with which object. It never writes to the store.
package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
	"github.com/svmctl/svmctl/internal/spool"
	"github.com/svmctl/svmctl/internal/verify"
)

var (
	// ErrNothingFound is returned when the prefixes hold no key and no expectation asked for any.
	ErrNothingFound = errors.New("there is no key under the prefix")
	// ErrNoRoot is returned when no prefix was given and the store holds no Kubernetes objects.
	ErrNoRoot = errors.New("no Kubernetes objects were found in this etcd")
)

// Request is what to look at.
type Request struct {
	Store        etcdscan.Source
	Origin       Source                       // named in the report; revision and cluster are filled in
	Prefixes     []string                     // empty: the storage roots found in the store
	Revision     int64                        // 0: the newest
	Opener       etcdscan.Opener              // nil: ciphertext stays closed
	Sample       bool                         // open some of the values under each key, and not all
	Encryption   *Encryption                  // named in the report; nil: no EncryptionConfiguration was at hand
	Candidate    *Encryption                  // the EncryptionConfiguration that is judged instead of the objects; nil: none
	Announce     func(calls map[string]int64) // etcdscan.Reading's
	Expectations verify.Expectations
	Elsewhere    []verify.Resource // known to lie in another store, which is not read
	// ConfirmEmpty asks the API whether a resource that was expected and not found really has no objects. It may be nil.
	ConfirmEmpty func(context.Context, verify.Resource) bool
	History      bool          // count the older revisions that the store still gives as well
	Also         etcdscan.Sink // takes every record as well, and payloads if it is an Examiner; may be nil
	Version      string        // of svmctl
	Now          func() time.Time
	Progress     *etcdscan.Progress
}

// suspect is an object that may have a fault; which ones is known once the scan is over.
type suspect struct {
	Entry       int32
	Key         string
	ModRevision int64
	Size        int64
	Terminating bool
}

// Run takes the look. An error means that no report could be made. The caller closes the report.
func Run(ctx context.Context, req Request) (*Report, error) {
	report := &Report{
		APIVersion: APIVersion, Kind: "AuditReport", Tool: Tool{Version: req.Version}, Source: req.Origin,
		StartedAt: req.Now().UTC(), expectations: req.Expectations, Encryption: req.Encryption, Candidate: req.Candidate,
		Reasons: []Reason{}, Expectations: []Expectation{}, Groups: []Group{},
	}
	if report.Source.Endpoints == nil {
		report.Source.Endpoints = []string{}
	}
	err := report.look(ctx, req)
	if errors.Is(err, etcdscan.ErrUnsupportedStore) {
		report.Unsupported = err
		report.Scope.Prefixes = append([]string{}, req.Prefixes...)
		report.finish(etcdscan.Result{Tally: new(etcdscan.Tally), Shortfall: err}, req, nil, etcdscan.Scope{})
		return report, nil
	}
	if err != nil {
		report.Close()
		return nil, err
	}
	return report, nil
}

// look scans, and fills in the report.
func (r *Report) look(ctx context.Context, req Request) error {
	scope, err := ScopeOf(ctx, req.Store, req.Prefixes, req.Revision)
	if err != nil {
		return err
	}
	r.Scope, r.Roots, r.Bounds = Scope{Prefixes: scope.Prefixes, Found: len(req.Prefixes) == 0}, scope.Roots, scope
	c := &collector{expectations: req.Expectations, also: req.Also}
	reading := etcdscan.Reading{Source: req.Store, Scope: scope, Revision: req.Revision, Opener: req.Opener, Sample: req.Sample, Progress: req.Progress, Announce: req.Announce}
	result, err := etcdscan.Scan(ctx, reading, c)
	if err != nil {
		c.close()
		return err
	}
	r.entries, r.suspects = c.entries, c.suspects
	if result.Tally.Objects() == 0 && result.Shortfall == nil && len(req.Expectations) == 0 {
		return ErrNothingFound
	}
	if outside, err := etcdscan.CountOutside(ctx, req.Store, scope, result.Pin.Revision); err == nil {
		r.Scope.Outside = &outside
		if n, err := req.Store.Count(ctx, etcdscan.Key(key.CompactRevision), result.Pin.Revision); err == nil {
			foreign := outside - n // no storage root is empty, so that it is among them
			r.Foreign = &foreign
		}
	}
	if req.History {
		if err := r.lookBack(ctx, req, scope, result.Pin.Revision); err != nil {
			return err
		}
	}
	confirm := func(res verify.Resource) bool {
		// The API can speak of now alone, not of an older revision that was asked for.
		return req.Revision == 0 && req.ConfirmEmpty != nil && req.ConfirmEmpty(ctx, res)
	}
	r.finish(result, req, confirm, scope)
	return nil
}

// lookBack counts the older revisions. They are judged by nobody.
func (r *Report) lookBack(ctx context.Context, req Request, scope etcdscan.Scope, revision int64) error {
	past, err := etcdscan.History(ctx, req.Store, scope, revision, req.Opener)
	if err != nil {
		return err
	}
	r.Scope.History = true
	r.History = &History{Compacted: past.Compacted, Revisions: past.Tally.Objects(), Groups: []OldGroup{}}
	for _, e := range past.Tally.Entries() {
		r.History.Groups = append(r.History.Groups, OldGroup{Root: e.Root, Group: e.Group.Group, Resource: e.Resource, AtRest: e.AtRest, Note: e.Note, Revisions: e.Objects, Bytes: e.Bytes})
	}
	return nil
}

// ScopeOf is the scope of prefixes, or without any that of the storage roots found in the store. It pins nothing: without a
// revision, a root that appears between this look and the scan is not in the scope.
func ScopeOf(ctx context.Context, store etcdscan.Source, prefixes []string, revision int64) (etcdscan.Scope, error) {
	roots, err := etcdscan.Roots(ctx, store, revision)
	switch {
	case len(prefixes) > 0 && err != nil:
		return etcdscan.NewScope(prefixes, nil), nil
	case len(prefixes) > 0:
		return etcdscan.NewScope(prefixes, roots), nil
	case err != nil && revision != 0:
		return etcdscan.Scope{}, fmt.Errorf("revision %d: %w", revision, err)
	case err != nil:
		return etcdscan.Scope{}, err
	case len(roots) == 0:
		return etcdscan.Scope{}, ErrNoRoot
	}
	return etcdscan.NewScope(roots, roots), nil
}

// collector keeps the objects that may have a fault.
type collector struct {
	also         etcdscan.Sink
	expectations verify.Expectations
	suspects     *spool.Spool[suspect]
	entries      []*etcdscan.Entry
	index        map[*etcdscan.Entry]int32 // -1: nothing can be the matter with this entry
}

func (c *collector) Begin() {
	c.close()
	c.suspects = new(spool.Spool[suspect])
	c.entries, c.index = nil, make(map[*etcdscan.Entry]int32)
	if c.also != nil {
		c.also.Begin()
	}
}

func (c *collector) close() {
	if c.suspects != nil {
		c.suspects.Close()
	}
}

func (c *collector) Take(r *etcdscan.Record, e *etcdscan.Entry) error {
	if c.also != nil {
		if err := c.also.Take(r, e); err != nil {
			return err
		}
	}
	i, known := c.index[e]
	if !known {
		i = -1
		if c.expectations.Suspect(e) {
			i = int32(len(c.entries))
			c.entries = append(c.entries, e)
		}
		c.index[e] = i
	}
	if i < 0 {
		return nil
	}
	return c.suspects.Add(suspect{Entry: i, Key: r.Key, ModRevision: r.ModRevision, Size: r.Size, Terminating: r.Terminating})
}

// Examine hands payloads on to whoever asked for them; the collector itself has no use for them.
func (c *collector) Examine(r *etcdscan.Record, payload []byte) error {
	if examiner, ok := c.also.(etcdscan.Examiner); ok {
		return examiner.Examine(r, payload)
	}
	return nil
}

// finish fills in everything that follows from the scan.
func (r *Report) finish(result etcdscan.Result, req Request, confirm func(verify.Resource) bool, scope etcdscan.Scope) {
	entries := result.Tally.Entries()
	verdict, reasons := r.expectations.Check(verify.Evidence{Entries: entries, Shortfall: result.Shortfall, ConfirmedEmpty: confirm,
		Elsewhere: req.Elsewhere, LeftOut: func(res verify.Resource) bool { return leftOut(scope, res) }})
	r.Verdict = verdict
	r.Source.Revision = result.Pin.Revision
	if result.Pin.ClusterID != 0 {
		r.Source.ClusterID = strconv.FormatUint(result.Pin.ClusterID, 16)
	}
	r.Scope.Whole, r.Counted = result.Shortfall == nil, result.Counted
	r.Totals = Totals{Keys: result.Tally.Objects(), Bytes: result.Tally.Bytes()}
	for _, e := range r.expectations {
		if e.Value == (verify.Value{}) && e.Version == "" {
			continue // nothing was expected of what the API cannot tell
		}
		r.Expectations = append(r.Expectations, Expectation{Resource: e.Resource.String(), Value: e.Value.String(), Version: e.Version, From: e.From, Reason: e.Declared.Reason})
	}
	for _, reason := range reasons {
		out := Reason{Code: reason.Code, Severity: reason.Severity, Resource: reason.Resource.String(), Expected: reason.Expected,
			Found: reason.Found, Objects: reason.Objects, Message: reason.Message}
		r.Reasons = append(r.Reasons, out)
		if reason.Whole && reason.Severity != verify.Info {
			r.whole = append(r.whole, Finding{Code: reason.Code, Severity: reason.Severity, Group: reason.Resource.Group,
				Resource: reason.Resource.Name, Message: reason.Message, Expected: reason.Expected, Found: reason.Found})
		}
	}
	r.groups(entries)
	r.Entries, r.Silent = entries, SilentPlugins(entries)
	r.FindingCount = int64(len(r.whole))
	for _, e := range entries {
		r.FindingCount += e.Objects * int64(len(r.expectations.EntryFaults(e)))
	}
	r.FinishedAt = req.Now().UTC()
}

// leftOut tells whether the prefixes that were given reach no directory of a resource.
func leftOut(scope etcdscan.Scope, r verify.Resource) bool {
	for _, root := range scope.Roots {
		dir := root + "/" + key.DirIn(root, r.Group, r.Name)
		if slices.ContainsFunc(scope.Prefixes, func(p string) bool { return strings.HasPrefix(dir, p) || strings.HasPrefix(p, dir) }) {
			return false
		}
	}
	return len(scope.Roots) > 0
}

// SilentPlugins are the KMS providers whose plugins left values unopened.
func SilentPlugins(entries []etcdscan.Entry) []Silent {
	var found []Silent
	for _, e := range entries {
		if s := (Silent{Provider: e.AtRest.Key, Obstacle: e.Obstacle}); e.Obstacle.Unknown() && !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	return found
}

// groups adds up entries that differ in nothing that the report shows.
func (r *Report) groups(entries []etcdscan.Entry) {
	at := make(map[etcdscan.Group]int)
	for _, e := range entries {
		worst := worst(r.expectations.EntryFaults(e))
		k := e.Group
		k.Fault, k.Obstacle, k.Already, k.Twin, k.Twins, k.Unserved, k.Beside = "", "", false, 0, 0, false, ""
		if i, ok := at[k]; ok {
			r.Groups[i].Objects += e.Objects
			r.Groups[i].Bytes += e.Bytes
			r.Groups[i].Worst = worse(r.Groups[i].Worst, worst)
			continue
		}
		at[k] = len(r.Groups)
		g := Group{Root: e.Root, Group: e.Group.Group, Resource: e.Resource, AtRest: e.AtRest, Opened: e.Opened,
			Authenticated: e.Authenticated, Note: e.Note, Objects: e.Objects, Bytes: e.Bytes, Worst: worst}
		if e.Stored != (stored.Type{}) {
			g.Stored = &e.Stored
		}
		r.Groups = append(r.Groups, g)
	}
}

func worst(faults []verify.Fault) verify.Severity {
	var w verify.Severity
	for _, f := range faults {
		w = worse(w, f.Severity)
	}
	return w
}

func worse(a, b verify.Severity) verify.Severity {
	rank := map[verify.Severity]int{verify.Info: 1, verify.Warning: 2, verify.Error: 3}
	if rank[b] > rank[a] {
		return b
	}
	return a
}
