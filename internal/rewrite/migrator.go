package rewrite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"
)

// MigratorOptions of a Migrator. The zero value is usable.
type MigratorOptions struct {
	// StallTimeout bounds how long a migration is followed without any change, be it of its conditions or of
	// what Moved reports. 10 minutes if zero.
	StallTimeout time.Duration
	// MaxOutage bounds how long the apiserver may fail to answer, 2 minutes if zero.
	MaxOutage time.Duration
	// Poll is the time between two looks at the migration, 1 s if zero.
	Poll time.Duration
	// Created, if set, is told the name of the migration once it exists, before it is followed; its error ends the run.
	Created func(ctx context.Context, name string) error
	// Moved, if set, is called once per Poll and reports whether anything was rewritten since the last call,
	// as etcd tells it: the controller itself says nothing while it works.
	Moved func() bool
}

// cleanupTime is for how long a migration that succeeded or failed is kept while its Running condition stays true.
// From Kubernetes 1.36 on the controller ends a CRD's StorageMigrating condition and trims its storedVersions only after
// that claim, and not at all once the migration is gone
// (kubernetes/pkg/controller/storageversionmigrator/migrationrunner.go: cleanupAdmission).
const cleanupTime = 10 * time.Second

// Migrator has the cluster's storage version migrator rewrite a resource, through the newest version of
// storagemigration.k8s.io that the apiserver serves: v1, v1beta1 or v1alpha1. The verbs it needs on
// storageversionmigrations.storagemigration.k8s.io are create, get and delete; discovery is open to every user.
type Migrator struct {
	client   *migrationClient
	opts     MigratorOptions
	leftover *LeftoverError
}

// NewMigrator prepares a Migrator; it sends nothing.
func NewMigrator(cfg *rest.Config, opts MigratorOptions) (*Migrator, error) {
	if opts.StallTimeout <= 0 {
		opts.StallTimeout = 10 * time.Minute
	}
	if opts.MaxOutage <= 0 {
		opts.MaxOutage = 2 * time.Minute
	}
	if opts.Poll <= 0 {
		opts.Poll = time.Second
	}
	client, err := newMigrationClient(cfg)
	if err != nil {
		return nil, err
	}
	return &Migrator{client: client, opts: opts}, nil
}

// Run creates a StorageVersionMigration for res, follows it until the controller calls it succeeded or failed, and
// deletes it. The version of res has to be a served one: v1alpha1 names it, and the later versions leave it to the
// controller. Run returns the last condition; that is the controller's claim, and says nothing about what etcd holds:
// the controller counts conflicts as migrated. A claim of failure is not an error.
//
// visit gets every condition as it appears or changes, and a Condition with Stall set each time a wait needs an
// explanation. Errors are *UnservedError if the API is there in no version that svmctl speaks, *StallError,
// *DeletedError, *OutageError, *Failure where the apiserver refused, and ctx's. Whatever the outcome, the migration is
// deleted before Run returns, with ten more seconds if ctx is done; see Leftover. (A controller that is in the midst
// of its pass does not notice: up to Kubernetes 1.37 it patches the rest of the objects it has listed, and then stops.)
//
// A Migrator does one Run at a time.
func (m *Migrator) Run(ctx context.Context, res schema.GroupVersionResource, visit func(Condition)) (Condition, error) {
	m.leftover = nil
	// The name is made here rather than by the server, so that a create whose answer is lost can be told from
	// one that never arrived, and be deleted.
	name := "svmctl-" + res.Resource + "-" + utilrand.String(8)
	d, err := m.dialect(ctx)
	if err != nil {
		return Condition{}, fmt.Errorf("asking for the versions of %s: %w", migrations.Group, err)
	}
	uid, arrived, err := m.create(ctx, d, name, res)
	if arrived {
		defer m.delete(ctx, d, name)
	}
	if err != nil {
		return Condition{}, fmt.Errorf("creating storage version migration %s: %w", name, err)
	}
	if m.opts.Created != nil {
		if err := m.opts.Created(ctx, name); err != nil {
			return Condition{}, err
		}
	}
	last, err := m.follow(ctx, d, name, uid, visit)
	if err != nil {
		return last, fmt.Errorf("following storage version migration %s: %w", name, err)
	}
	return last, nil
}

// Leftover is not nil if the last Run could not delete its migration; the controller may go on with it. It is a warning
// to show.
func (m *Migrator) Leftover() *LeftoverError { return m.leftover }

// LeftoverError tells that a migration could not be deleted.
type LeftoverError struct {
	Name    string
	Failure *Failure
}

func (e *LeftoverError) Error() string {
	return fmt.Sprintf("deleting storage version migration %s: %v", e.Name, e.Failure)
}

// Unwrap gives the refusal.
func (e *LeftoverError) Unwrap() error { return e.Failure }

// DeletedError tells that somebody else deleted the migration while it was followed.
type DeletedError struct{ Name string }

func (e *DeletedError) Error() string {
	return fmt.Sprintf("storage version migration %s was deleted by somebody else", e.Name)
}

// UnservedError tells that the apiserver has storagemigration.k8s.io in no version that svmctl speaks.
type UnservedError struct {
	Versions []string // the versions of the group that it has, none if empty
}

func (e *UnservedError) Error() string {
	if len(e.Versions) == 0 {
		return "the apiserver does not serve storagemigration.k8s.io in any version"
	}
	return fmt.Sprintf("the apiserver serves storagemigration.k8s.io only as %v, which svmctl does not speak", e.Versions)
}

// dialect chooses the newest version of the API that is served.
func (m *Migrator) dialect(ctx context.Context) (dialect, error) {
	var served []string
	err := m.insist(ctx, func(ctx context.Context) (r *refusal) {
		served, r = m.client.versions(ctx)
		return r
	})
	if gone(err) {
		return dialect{}, &UnservedError{}
	}
	if err != nil {
		return dialect{}, err
	}
	for _, d := range dialects {
		if slices.Contains(served, d.version) {
			return d, nil
		}
	}
	return dialect{}, &UnservedError{Versions: served}
}

// create makes the migration. arrived tells whether it may be there, error or not.
func (m *Migrator) create(ctx context.Context, d dialect, name string, res schema.GroupVersionResource) (uid string, arrived bool, err error) {
	var got migrationObject
	err = m.insist(ctx, func(ctx context.Context) *refusal {
		r := m.client.create(ctx, d, name, res, &got)
		arrived = arrived || r == nil || r.failure.Code == 0 || r.failure.Code >= 500
		if r != nil && r.failure.Kind == KindRequest && r.failure.Reason == string(metav1.StatusReasonAlreadyExists) {
			arrived = true // by an earlier attempt
			r = m.client.get(ctx, d, name, &got)
		}
		return r
	})
	return got.Metadata.UID, arrived, err
}

// follow polls the migration until it is terminal. A watch would tell no sooner in any way that matters, and needs
// one verb more.
func (m *Migrator) follow(ctx context.Context, d dialect, name, uid string, visit func(Condition)) (Condition, error) {
	t := newTracker(m.opts.StallTimeout, visit)
	ticker := time.NewTicker(m.opts.Poll)
	defer ticker.Stop()
	var terminal *Condition
	var until time.Time // for how long a terminal migration is left to the controller
	for {
		var got migrationObject
		err := m.insist(ctx, func(ctx context.Context) *refusal { return m.client.get(ctx, d, name, &got) })
		switch deleted := gone(err) || err == nil && uid != "" && got.Metadata.UID != uid; {
		case terminal != nil && (deleted || err != nil):
			return *terminal, ctx.Err()
		case deleted:
			return t.last, &DeletedError{Name: name}
		case err != nil:
			return t.last, err
		}
		claimed := t.see(got.Status)
		if claimed != nil && terminal == nil {
			terminal, until = claimed, time.Now().Add(cleanupTime)
		}
		if terminal != nil && (!got.Status.running() || !time.Now().Before(until)) {
			return *terminal, nil
		}
		if terminal == nil {
			if m.opts.Moved != nil && m.opts.Moved() {
				t.moved()
			}
			if err := t.stalled(); err != nil {
				return t.last, err
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			if terminal != nil {
				return *terminal, ctx.Err()
			}
			return t.last, ctx.Err()
		}
	}
}

// delete removes the migration, present or not. It has ten seconds of its own.
func (m *Migrator) delete(ctx context.Context, d dialect, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := m.insist(ctx, func(ctx context.Context) *refusal { return m.client.delete(ctx, d, name) })
	if err == nil || gone(err) {
		return
	}
	var f *Failure
	var outage *OutageError
	switch {
	case errors.As(err, &outage):
		f = outage.Failure
	case !errors.As(err, &f):
		f = &Failure{Kind: KindTransport, Reason: ReasonTimeout, Message: clip(err.Error())}
	}
	m.leftover = &LeftoverError{Name: name, Failure: f}
}

// insist calls a request until it is decided, for at most MaxOutage. The error is *Failure, *OutageError or ctx's.
func (m *Migrator) insist(ctx context.Context, request func(context.Context) *refusal) error {
	start := time.Now()
	for n := 0; ; n++ {
		attempt, cancel := context.WithTimeout(ctx, min(m.opts.MaxOutage, 45*time.Second))
		r := request(attempt)
		cancel()
		if r == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if r.course == settled || r.course == unsettled {
			return r.failure
		}
		wait := max(backoff(n), r.retryAfter)
		if past := time.Since(start); past+wait > m.opts.MaxOutage {
			return &OutageError{Since: start, Duration: past, Failure: r.failure}
		}
		if err := sleep(ctx, wait, nil); err != nil {
			return err
		}
	}
}
