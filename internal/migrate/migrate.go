// Package migrate is the loop that moves stored objects to where they should be: scan, plan, rewrite through the
// apiserver, scan again until etcd proves it. It is the one package that brings reading, judging and rewriting
// together; it prints nothing and never writes to etcd.
package migrate

import (
	"context"
	"encoding/hex"
	"time"

	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
	"github.com/svmctl/svmctl/internal/node"
	"github.com/svmctl/svmctl/internal/rewrite"
	"github.com/svmctl/svmctl/internal/spool"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/expect"
)

// ErrForeignEtcd means that the apiserver stores its objects in another etcd than the one that was scanned.
var ErrForeignEtcd = expect.ErrForeignEtcd

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
	Revision(ctx context.Context) (int64, error) // the newest
	// Follow hands over the writes to some ranges that come after a revision, until ctx ends.
	Follow(ctx context.Context, ranges []etcdscan.Range, after int64, each func(etcdscan.KeyValue) error) error
	Health(ctx context.Context) (live.Health, error)
	// SaveSnapshot writes a snapshot of etcd to a new file that only its owner may read, whole or not at all.
	SaveSnapshot(ctx context.Context, path string) (size int64, sum [32]byte, err error)
}

// Request is what to migrate, and how.
type Request struct {
	Store        Store
	Origin       audit.Source
	Config       *rest.Config
	Opener       etcdscan.Opener // nil: ciphertext stays closed
	Sample       bool            // audit.Request's, as is the rest
	Encryption   *audit.Encryption
	Announce     func(calls map[string]int64)
	Prefixes     []string        // empty: the storage roots found in etcd
	Overrides    []node.Override // known beforehand: resources that lie in other etcds
	Resources    []rewrite.Resource
	Expectations verify.Expectations // of the resources; without Resources those of all that is to be migrated
	Configured   verify.Expectations // what the EncryptionConfiguration expects of all resources; empty: nobody knows
	AllStale     bool                // every resource, at the version that the API declares
	APIServers   APIServerRequest
	AllowPruning bool   // rewrite custom resources although fields would be lost, or nobody can see whether any would
	SnapshotFile string // write a snapshot of etcd there before the first write; empty: none
	Backend      Backend
	DryRun       DryRun
	Rewrite      rewrite.Options
	MaxOutage    time.Duration
	StallTimeout time.Duration // svm backend
	Quota        int64         // bytes; 0: as etcd tells
	MaxRounds    int
	Settle       time.Duration // how long late writes are looked out for; negative: as suits the number of apiservers
	Definitions  *crd.Client   // of custom resources
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
	report   *Report
	targets  []target
	scope    []string // what is scanned again: where the targets lie
	survey   *apiservers.Survey
	losses   spool.Spool[loss]
	unprobed []string // addresses of apiservers of which nobody knows what they write
	probed   ownWrite // the object by which the apiservers were tried; zero: none
	newest   int64    // the newest revision that the apiserver says it wrote
	related  bool     // an answer of the apiserver has fitted what etcd holds
}

// target is one resource to rewrite.
type target struct {
	rewrite.Resource
	name    verify.Resource
	root    string // storage root its stale objects lie under
	refused string

	definition *crd.Definition // of a custom resource, else nil
	changed    bool            // the definition was changed between rounds
	converted  int64           // objects that a webhook converts on the way to being written
	pruning    *spool.Spool[pruned]
}

// Run migrates. A Report comes back whenever something was looked at and the person agreed, however it ended; an error
// without one means that no report could be made.
func Run(ctx context.Context, req Request) (*Report, error) {
	m := &migration{Request: req, report: &Report{
		APIVersion: audit.APIVersion, Kind: "MigrationReport", Tool: audit.Tool{Version: req.Version},
		Backend: req.Backend, DryRun: req.DryRun, StartedAt: req.Now().UTC(),
		Reasons: []audit.Reason{}, Targets: []Target{}, Elsewhere: []Elsewhere{}, Warnings: []string{},
	}}
	defer m.close()
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
	if err := m.declare(ctx); err != nil {
		return err
	}
	if err := m.askAPIServers(ctx); err != nil {
		return err
	}
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
	if err := m.foresee(ctx); err != nil {
		return err
	}
	if m.DryRun == ClientDryRun {
		return nil
	}
	if m.DryRun == NoDryRun && m.report.Plan.Stale() == 0 {
		// Nobody was asked, so nothing is written, also not what may turn stale meanwhile.
		if err := m.lookOnly(ctx); err != nil {
			return err
		}
		if err := m.settle(ctx); err != nil {
			return err
		}
		m.askAgain(ctx)
		if err := m.relate(ctx); err != nil {
			return err
		}
		m.noteInterruption(ctx)
		m.conclude()
		return nil
	}
	if stop := m.objection(); stop != nil {
		m.report.Stopped = stop
		return m.refuseToBegin(ctx)
	}
	if m.DryRun == NoDryRun {
		if err := m.begin(ctx); err != nil || m.report.Stopped != nil {
			return err
		}
	}
	err = m.rounds(ctx)
	m.restoreStoredVersions(ctx)
	if err := m.settleLosses(ctx); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	m.doubtSchemas(ctx)
	if err := m.settle(ctx); err != nil {
		return err
	}
	m.askAgain(ctx)
	if ctx.Err() == nil && m.report.After != nil {
		if err := m.relate(ctx); err != nil {
			return err
		}
	}
	m.noteInterruption(ctx)
	m.conclude()
	return nil
}

// begin is what comes between the plan and the first write.
func (m *migration) begin(ctx context.Context) error {
	if err := m.checkRoom(ctx); err != nil {
		return err
	}
	m.report.Plan.Warnings = m.report.Warnings
	if err := m.Consent(ctx, &m.report.Plan); err != nil {
		return err
	}
	if err := m.saveSnapshot(ctx); err != nil {
		return err
	}
	stop, err := m.recheck(ctx)
	if stop == nil && err == nil {
		stop, err = m.probeEach(ctx)
	}
	if err == nil && stop != nil {
		m.report.Stopped = stop
		return m.refuseToBegin(ctx)
	}
	return err
}

// saveSnapshot keeps etcd as it is before the first write, if that was asked for.
func (m *migration) saveSnapshot(ctx context.Context) error {
	if m.SnapshotFile == "" || m.report.Snapshot != nil {
		return nil
	}
	m.Progress.begin("saving a snapshot")
	_, sum, err := m.Store.SaveSnapshot(ctx, m.SnapshotFile)
	if err != nil {
		return err
	}
	m.report.Snapshot = &Snapshot{Path: m.SnapshotFile, SHA256: hex.EncodeToString(sum[:])}
	return nil
}

// audit takes one look, judged by the expectations.
func (m *migration) audit(ctx context.Context, prefixes []string, also etcdscan.Sink, phase string) (*audit.Report, error) {
	m.Progress.begin(phase)
	return audit.Run(ctx, audit.Request{
		Store: m.Store, Origin: m.Origin, Prefixes: prefixes, Opener: m.Opener, Expectations: m.Expectations, ConfirmEmpty: m.ConfirmEmpty, Elsewhere: m.away(),
		Sample: m.Sample, Encryption: m.Encryption, Announce: m.announce(), Also: also, Version: m.Version, Now: m.Now, Progress: &m.Progress.Scan,
	})
}

// announce is for the first look alone: the others ask for what has come since.
func (m *migration) announce() func(map[string]int64) {
	if m.report.Before != nil {
		return nil
	}
	return m.Announce
}
