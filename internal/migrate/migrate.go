// Package migrate is the loop that moves stored objects to where they should be: scan, plan, rewrite through the
// apiserver, scan again until etcd proves it. It is the one package that brings reading, judging and rewriting
// together; it prints nothing and never writes to etcd.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
	"github.com/svmctl/svmctl/internal/rewrite"
	"github.com/svmctl/svmctl/internal/verify"
)

// ErrForeignEtcd means that the apiserver stores its objects in another etcd than the one that was scanned.
var ErrForeignEtcd = errors.New("this etcd is not the one of this apiserver")

// CustomResourceError refuses a custom resource: what its schema does not know would be dropped by a rewrite.
type CustomResourceError struct{ Resource string }

func (e *CustomResourceError) Error() string {
	return fmt.Sprintf("migrating %s: it is a custom resource, and rewriting one can drop fields that its present schema does not know; svmctl cannot check that yet", e.Resource)
}

// Backend is who rewrites.
type Backend string

const (
	Patch Backend = "patch" // svmctl itself, stale objects alone
	SVM   Backend = "svm"   // the in-tree StorageVersionMigration controller, every object
)

// DryRun is how much of a migration is only tried.
type DryRun string

const (
	NoDryRun     DryRun = ""
	ClientDryRun DryRun = "client" // plan alone
	ServerDryRun DryRun = "server" // every patch is sent with dryRun=All
)

// Store is an etcd that can also be asked for single keys and for its own state.
type Store interface {
	etcdscan.Source
	Look(ctx context.Context, key string) (kv etcdscan.KeyValue, found bool, err error)
	Health(ctx context.Context) (live.Health, error)
}

// Request is what to migrate, and how.
type Request struct {
	Store        Store
	Origin       audit.Source
	Config       *rest.Config
	Prefixes     []string // empty: the storage roots found in etcd
	Resources    []rewrite.Resource
	Expectations verify.Expectations // of the resources; without Resources those of all that is to be migrated
	Backend      Backend
	DryRun       DryRun
	Rewrite      rewrite.Options
	MaxOutage    time.Duration
	StallTimeout time.Duration // svm backend
	Quota        int64         // bytes; 0: as etcd tells
	MaxRounds    int
	// Consent is asked with the plan before anything is written; its error ends the migration.
	Consent func(context.Context, *Plan) error
	// ProbeConsent is asked before one object is patched to see what the apiserver writes; its error ends the migration.
	ProbeConsent func(ctx context.Context, r rewrite.Resource, namespace, name string) error
	// ConfirmEmpty is audit.Request's.
	ConfirmEmpty func(context.Context, verify.Resource) bool
	ShowMessages bool
	Version      string
	Now          func() time.Time
	Progress     *Progress
}

// migration is one run.
type migration struct {
	Request
	report  *Report
	targets []target
	scope   []string // what is scanned again: where the targets lie
	newest  int64    // the newest revision that the apiserver says it wrote
	related bool     // an answer of the apiserver has fitted what etcd holds
}

// target is one resource to rewrite.
type target struct {
	rewrite.Resource
	name    verify.Resource
	root    string // storage root its stale objects lie under
	refused string
}

// Run migrates. A Report comes back whenever something was looked at and the person agreed, however it ended; an error
// without one means that no report could be made.
func Run(ctx context.Context, req Request) (*Report, error) {
	m := &migration{Request: req, report: &Report{
		APIVersion: audit.APIVersion, Kind: "MigrationReport", Tool: audit.Tool{Version: req.Version},
		Backend: req.Backend, DryRun: req.DryRun, StartedAt: req.Now().UTC(),
		Reasons: []audit.Reason{}, Targets: []Target{}, Elsewhere: []Elsewhere{}, Warnings: []string{},
	}}
	if m.Progress == nil {
		m.Progress = new(Progress)
	}
	if err := m.run(ctx); err != nil {
		m.report.Close()
		return nil, err
	}
	m.report.FinishedAt = req.Now().UTC()
	return m.report, nil
}

func (m *migration) run(ctx context.Context) error {
	if err := m.probeTargets(ctx); err != nil {
		return err
	}
	before, err := m.audit(ctx, m.Prefixes, nil, "reading etcd")
	if err != nil {
		return err
	}
	m.report.Before = before
	if !before.Scope.Whole {
		// Without a whole look nobody can say what is stale. The report says so and nothing is written.
		m.report.Verdict, m.report.Reasons = before.Verdict, before.Reasons
		m.report.Unread = true
		m.noElsewhere()
		return nil
	}
	if err := m.chooseTargets(ctx); err != nil {
		return err
	}
	if err := m.plan(ctx); err != nil {
		return err
	}
	m.elsewhere()
	if m.DryRun == ClientDryRun {
		return nil
	}
	if m.DryRun == NoDryRun && m.report.Plan.Stale() == 0 {
		// Nobody was asked, so nothing is written, also not what may turn stale meanwhile.
		if err := m.lookOnly(ctx); err != nil {
			return err
		}
		m.conclude()
		return nil
	}
	if m.DryRun == NoDryRun {
		if err := m.checkRoom(ctx); err != nil {
			return err
		}
		if err := m.Consent(ctx, &m.report.Plan); err != nil {
			return err
		}
	}
	if err := m.rounds(ctx); err != nil {
		return err
	}
	m.conclude()
	return nil
}

// audit takes one look, judged by the expectations.
func (m *migration) audit(ctx context.Context, prefixes []string, also etcdscan.Sink, phase string) (*audit.Report, error) {
	m.Progress.begin(phase)
	return audit.Run(ctx, audit.Request{
		Store: m.Store, Origin: m.Origin, Prefixes: prefixes, Expectations: m.Expectations, ConfirmEmpty: m.ConfirmEmpty,
		Also: also, Version: m.Version, Now: m.Now, Progress: &m.Progress.Scan,
	})
}

// chooseTargets takes the resources that were named, or else those in which something stale was found.
func (m *migration) chooseTargets(ctx context.Context) error {
	resources := m.Resources
	if len(resources) == 0 {
		found, err := m.staleResources(ctx)
		if err != nil {
			return err
		}
		resources = found
	}
	for _, r := range resources {
		t := target{Resource: r, name: Name(r)}
		if key.Builtin(r.Group, r.Resource) {
			m.targets = append(m.targets, t)
			continue
		}
		refusal := &CustomResourceError{Resource: t.name.String()}
		if len(m.Resources) > 0 {
			return refusal
		}
		m.refuse(t, refusal.Error())
	}
	for _, e := range m.Expectations {
		m.report.Targets = append(m.report.Targets, targetOf(e))
	}
	return nil
}

func targetOf(e verify.Expectation) Target {
	return Target{Resource: e.Resource.String(), Value: e.Value.String(), Version: e.Version, From: e.From}
}

func (m *migration) staleResources(ctx context.Context) ([]rewrite.Resource, error) {
	var found []rewrite.Resource
	seen := make(map[string]bool)
	for _, reason := range m.report.Before.Reasons {
		if !rewritable(reason.Code) || seen[reason.Resource] {
			continue
		}
		seen[reason.Resource] = true
		r, err := Resolve(ctx, m.Config, reason.Resource)
		var unknown *rewrite.UnknownResourceError
		var unpatchable *rewrite.UnpatchableError
		if errors.As(err, &unknown) || errors.As(err, &unpatchable) {
			name, parseErr := verify.ParseResource(reason.Resource)
			if parseErr != nil {
				return nil, err
			}
			m.refuse(target{name: name}, err.Error())
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, nil
}

// refuse keeps a resource out of the migration; what is stale of it stays so, and the verdict tells.
func (m *migration) refuse(t target, why string) {
	t.refused = why
	m.targets = append(m.targets, t)
	m.report.Warnings = append(m.report.Warnings, why)
}

// Name is the name by which a resource is known in etcd, and so to expectations.
func Name(r rewrite.Resource) verify.Resource {
	group, name := key.Canonical(r.Group, r.Resource)
	return verify.Resource{Group: group, Name: name}
}

// Resolve finds the resource that kubectl would take an argument for.
func Resolve(ctx context.Context, cfg *rest.Config, arg string) (rewrite.Resource, error) {
	disco, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return rewrite.Resource{}, fmt.Errorf("resolving resource %q: %w", arg, err)
	}
	return rewrite.Resolve(ctx, disco, arg)
}

// rewritable tells whether a fault is one that a rewrite mends.
func rewritable(code verify.Code) bool {
	switch code {
	case verify.StaleKey, verify.Plaintext, verify.EncryptedUnexpectedly, verify.StaleVersion:
		return true
	}
	return false
}

// conclude gives the verdict: that of the last scan, and no better than what could be checked.
func (m *migration) conclude() {
	r := m.report
	if r.DryRun == ServerDryRun {
		return
	}
	if r.After == nil {
		// What was stale before may have been written since; only etcd could tell.
		r.Verdict = verify.Indeterminate
		r.Reasons = append(r.Reasons, audit.Reason{Code: verify.NotRead, Severity: verify.Warning, Message: "etcd was not read again after the last write"})
		return
	}
	r.Verdict, r.Reasons = r.After.Verdict, r.After.Reasons
	for _, t := range r.Targets {
		if t.From == verify.FromProbe && (r.APIServers.Agree == nil || !*r.APIServers.Agree) {
			r.Verdict = r.Verdict.Worse(verify.Indeterminate)
			r.Reasons = append(r.Reasons, audit.Reason{Code: verify.NotConfirmed, Severity: verify.Warning, Resource: t.Resource, Expected: t.Value,
				Message: "the target is what one apiserver was seen to write; nobody said that it is the right one"})
		}
	}
}
