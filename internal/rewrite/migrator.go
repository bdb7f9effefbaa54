package rewrite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	svmv1 "k8s.io/api/storagemigration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	storagemigration "k8s.io/client-go/kubernetes/typed/storagemigration/v1"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
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

// Migrator has the cluster's storage version migrator rewrite a resource. The verbs it needs on
// storageversionmigrations.storagemigration.k8s.io are create, get and delete.
type Migrator struct {
	client   storagemigration.StorageVersionMigrationInterface
	rest     rest.Interface
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
	cfg = rest.CopyConfig(cfg)
	cfg.ContentType, cfg.AcceptContentTypes = "application/json", "application/json"
	cfg.QPS, cfg.Burst, cfg.RateLimiter = -1, 0, nil
	cfg.WarningHandler, cfg.WarningHandlerWithContext = rest.NoWarnings{}, nil
	client, err := storagemigration.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to %s: %w", cfg.Host, err)
	}
	return &Migrator{client: client.StorageVersionMigrations(), rest: client.RESTClient(), opts: opts}, nil
}

// Run creates a StorageVersionMigration for res, follows it until the controller calls it succeeded or failed, and
// deletes it. It returns the last condition; that is the controller's claim, and says nothing about what etcd holds:
// the controller counts conflicts as migrated. A claim of failure is not an error.
//
// visit gets every condition as it appears or changes, and a Condition with Stall set each time a wait needs an
// explanation. Errors are *UnservedError if the API is not there in v1, *StallError, *DeletedError, *OutageError,
// *Failure where the apiserver refused, and ctx's. Whatever the outcome, the migration is deleted before Run returns, with ten
// more seconds if ctx is done; see Leftover. (A controller that is in the midst of its pass does not notice: up to
// Kubernetes 1.37 it patches the rest of the objects it has listed, and then stops.)
//
// A Migrator does one Run at a time.
func (m *Migrator) Run(ctx context.Context, res schema.GroupResource, visit func(Condition)) (Condition, error) {
	m.leftover = nil
	// client-go would log bodies and read errors.
	ctx = klog.NewContext(ctx, logr.Discard())
	// The name is made here rather than by the server, so that a create whose answer is lost can be told from
	// one that never arrived, and be deleted.
	name := "svmctl-" + res.Resource + "-" + utilrand.String(8)
	uid, err := m.create(ctx, name, res)
	var refused *Failure
	var unserved *UnservedError
	if !errors.As(err, &unserved) && (!errors.As(err, &refused) || refused.Code == 0 || refused.Code >= 500) {
		defer m.delete(ctx, name)
	}
	if err != nil {
		return Condition{}, fmt.Errorf("creating storage version migration %s: %w", name, err)
	}
	if m.opts.Created != nil {
		if err := m.opts.Created(ctx, name); err != nil {
			return Condition{}, err
		}
	}
	last, err := m.follow(ctx, name, uid, visit)
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

// UnservedError tells that the apiserver has no storagemigration.k8s.io/v1.
type UnservedError struct {
	Versions []string // the versions of the group that it has, none if empty
}

func (e *UnservedError) Error() string {
	if len(e.Versions) == 0 {
		return "the apiserver does not serve storagemigration.k8s.io in any version"
	}
	return fmt.Sprintf("the apiserver serves storagemigration.k8s.io only as %v, not as v1", e.Versions)
}

func (m *Migrator) create(ctx context.Context, name string, res schema.GroupResource) (uid string, err error) {
	svm := &svmv1.StorageVersionMigration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       svmv1.StorageVersionMigrationSpec{Resource: metav1.GroupResource{Group: res.Group, Resource: res.Resource}},
	}
	err = m.insist(ctx, func(ctx context.Context) error {
		got, err := m.client.Create(ctx, svm, metav1.CreateOptions{FieldManager: fieldManager})
		if apierrors.IsAlreadyExists(err) { // by an earlier attempt, of ours or of client-go's
			got, err = m.client.Get(ctx, name, metav1.GetOptions{})
		}
		if err != nil {
			return err
		}
		uid = string(got.UID)
		return nil
	})
	var f *Failure
	if errors.As(err, &f) && f.Kind == KindUnserved {
		if unserved := m.served(ctx); unserved != nil {
			return "", unserved
		}
	}
	return uid, err
}

// served asks which versions of the group there are; nil if it cannot tell or v1 is among them.
func (m *Migrator) served(ctx context.Context) error {
	var group metav1.APIGroup
	raw, err := m.rest.Get().AbsPath("/apis/storagemigration.k8s.io").MaxRetries(0).Timeout(10 * time.Second).Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		return &UnservedError{}
	}
	if err != nil || json.Unmarshal(raw, &group) != nil {
		return nil
	}
	e := &UnservedError{}
	for _, v := range group.Versions {
		if v.Version == "v1" {
			return nil
		}
		e.Versions = append(e.Versions, v.Version)
	}
	return e
}

// follow polls the migration until it is terminal. A watch would tell no sooner in any way that matters, and needs
// one verb more.
func (m *Migrator) follow(ctx context.Context, name, uid string, visit func(Condition)) (Condition, error) {
	t := newTracker(m.opts.StallTimeout, visit)
	ticker := time.NewTicker(m.opts.Poll)
	defer ticker.Stop()
	for {
		var svm *svmv1.StorageVersionMigration
		err := m.insist(ctx, func(ctx context.Context) (err error) {
			svm, err = m.client.Get(ctx, name, metav1.GetOptions{})
			return err
		})
		var f *Failure
		switch {
		case errors.As(err, &f) && f.Code == http.StatusNotFound, err == nil && uid != "" && string(svm.UID) != uid:
			return t.last, &DeletedError{Name: name}
		case err != nil:
			return t.last, err
		}
		terminal := t.see(svm)
		if terminal != nil {
			return *terminal, nil
		}
		if m.opts.Moved != nil && m.opts.Moved() {
			t.moved()
		}
		if err := t.stalled(); err != nil {
			return t.last, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return t.last, ctx.Err()
		}
	}
}

// delete removes the migration, present or not. It has ten seconds of its own.
func (m *Migrator) delete(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := m.insist(ctx, func(ctx context.Context) error {
		return m.client.Delete(ctx, name, metav1.DeleteOptions{})
	})
	if err == nil {
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
	if f.Code == http.StatusNotFound {
		return
	}
	m.leftover = &LeftoverError{Name: name, Failure: f}
}

// insist calls a request until it is decided, for at most MaxOutage. The error is *Failure, *OutageError or ctx's.
func (m *Migrator) insist(ctx context.Context, request func(context.Context) error) error {
	start := time.Now()
	for n := 0; ; n++ {
		attempt, cancel := context.WithTimeout(ctx, min(m.opts.MaxOutage, 45*time.Second))
		err := request(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f, c := refusal(err)
		if c == settled || c == unsettled {
			return f
		}
		wait := backoff(n)
		if s, ok := apierrors.SuggestsClientDelay(err); ok {
			wait = max(wait, time.Duration(s)*time.Second)
		}
		if past := time.Since(start); past+wait > m.opts.MaxOutage {
			return &OutageError{Since: start, Duration: past, Failure: f}
		}
		if err := sleep(ctx, wait, nil); err != nil {
			return err
		}
	}
}

var migrations = schema.GroupResource{Group: svmv1.GroupName, Resource: "storageversionmigrations"}

// refusal makes a Failure of an error that client-go returned.
func refusal(err error) (*Failure, course) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return noAnswer(err).failure, down
	}
	st := status.Status()
	name := ""
	if st.Details != nil {
		name = st.Details.Name
	}
	s, f, c := judge(migrations, name, int(st.Code), &st)
	switch s {
	case NotFound:
		f = &Failure{Kind: KindRequest, Code: http.StatusNotFound, Reason: knownReason(st.Reason), Message: clip(st.Message)}
	case Conflict:
		f = &Failure{Kind: KindRequest, Code: http.StatusConflict, Reason: knownReason(st.Reason), Message: clip(st.Message)}
	}
	return f, c
}
