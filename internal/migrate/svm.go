package migrate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	svmv1 "k8s.io/api/storagemigration/v1"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/rewrite"
)

// sampleSize is about how many objects are read per second to follow the in-tree controller.
const sampleSize = 256

// rewriteBySVM has the in-tree controller rewrite the resource. What it says is not believed: the outcomes are counted
// in etcd.
func (m *migration) rewriteBySVM(ctx context.Context, t target, source *audit.Report, after int64) (*Stop, error) {
	total, err := m.countStale(source, t, after)
	if err != nil || total == 0 {
		return nil, err
	}
	follow, err := newFollower(m, m.stale(source, t, after), total)
	if err != nil {
		return nil, err
	}
	m.Progress.rewriting(t.name.String(), total, nil)
	migrator, err := rewrite.NewMigrator(m.Config, rewrite.MigratorOptions{
		StallTimeout: m.StallTimeout, MaxOutage: m.MaxOutage,
		Created: func(ctx context.Context, name string) error { return m.findInEtcd(ctx, t, name) },
		Moved:   func() bool { return follow.advance(ctx) },
	})
	if err != nil {
		return nil, err
	}
	claim, err := migrator.Run(ctx, t.GroupVersionResource, func(c rewrite.Condition) {
		m.Progress.pause(stallText(c.Stall))
	})
	m.Progress.pause("")
	if left := migrator.Leftover(); left != nil {
		m.report.Warnings = append(m.report.Warnings, left.Error())
	}
	if errors.Is(err, ErrForeignEtcd) {
		return nil, ErrForeignEtcd
	}
	stop, err := controllerStop(ctx, claim, err)
	if err != nil {
		return nil, err
	}
	if ctx.Err() == nil {
		if err := m.countInEtcd(ctx, t, source, after); err != nil {
			return unreadable(err), nil
		}
	}
	return stop, nil
}

// findInEtcd looks for the object that the apiserver has just stored for us: an etcd without it is another one.
func (m *migration) findInEtcd(ctx context.Context, t target, name string) error {
	const group, resource = "storagemigration.k8s.io", "storageversionmigrations"
	_, found, err := m.Store.Look(ctx, t.root+"/"+key.DirIn(t.root, group, resource)+name)
	switch {
	case err != nil:
		return &unreadableError{fmt.Errorf("looking for the migration in etcd: %w", err)}
	case !found:
		return ErrForeignEtcd
	}
	m.related = true
	return nil
}

func stallText(s rewrite.Stall) string {
	switch s {
	case rewrite.NoStall:
		return ""
	case rewrite.StallUnclaimed:
		return "no controller has taken the migration up: is StorageVersionMigrator enabled in kube-controller-manager?"
	case rewrite.StallRetrying:
		return "the controller retries an error, without end"
	}
	return "the controller waits for the garbage collector's cache, for minutes on a quiet cluster, or is at work"
}

// controllerStop tells an end of the controller's that belongs in the report from an error that leaves nothing to report.
func controllerStop(ctx context.Context, claim rewrite.Condition, err error) (*Stop, error) {
	var stall *rewrite.StallError
	var deleted *rewrite.DeletedError
	var unserved *rewrite.UnservedError
	var refused *rewrite.Failure
	const hint = "--backend patch needs no controller and names the objects that are in the way"
	switch {
	case err == nil && claim.Claims(svmv1.MigrationSucceeded):
		return nil, nil
	case err == nil:
		reason := claim.Reason
		if reason == "" {
			reason = "no reason given"
		}
		return &Stop{Code: StopController, Message: fmt.Sprintf("the in-tree controller gave the migration up: %s", reason), Hint: hint}, nil
	case errors.As(err, &stall):
		return &Stop{Code: StopController, Message: fmt.Sprintf("the in-tree controller does not get on: %v; %s", stall, stallText(stall.Stall)), Hint: hint}, nil
	case errors.As(err, &deleted):
		return &Stop{Code: StopController, Message: deleted.Error(), Hint: "the same command does the rest"}, nil
	case errors.As(err, &unserved):
		return &Stop{Code: StopController, Message: unserved.Error(), Hint: hint}, nil
	}
	stop, err := runStop(ctx, err)
	if errors.As(err, &refused) {
		return &Stop{Code: StopForbidden, Message: "the apiserver refused the migration: " + refused.Error(),
			Hint: "docs/rbac.md tells the rights that --backend svm needs; " + hint}, nil
	}
	return stop, err
}

// follower watches a sample of the stale objects, because the controller itself says nothing while it works. The sample
// is spread evenly over all of them, as the controller takes them in an order of its own.
type follower struct {
	m       *migration
	total   int64
	sample  int64
	waiting []audit.Suspect // of the sample, still as they were
}

func newFollower(m *migration, stale iter.Seq2[audit.Suspect, error], total int64) (*follower, error) {
	f := &follower{m: m, total: total}
	stride := max(1, total/sampleSize)
	var i int64
	for s, err := range stale {
		if err != nil {
			return nil, err
		}
		if i%stride == 0 {
			f.waiting = append(f.waiting, s)
		}
		i++
	}
	f.sample = int64(len(f.waiting))
	return f, nil
}

// advance drops what is no longer as it was from the sample and tells whether there was any.
func (f *follower) advance(ctx context.Context) bool {
	before := len(f.waiting)
	lost := false // an etcd that does not answer is not asked for all of them
	f.waiting = slices.DeleteFunc(f.waiting, func(s audit.Suspect) bool {
		if lost {
			return false
		}
		kv, found, err := f.m.Store.Look(ctx, s.Key)
		lost = err != nil
		return !lost && (!found || kv.ModRevision != s.ModRevision)
	})
	f.m.Progress.done(f.total * (f.sample - int64(len(f.waiting))) / max(1, f.sample))
	return len(f.waiting) < before
}

// countInEtcd tells what became of each stale object by walking along the list and a new scan, both in key order.
func (m *migration) countInEtcd(ctx context.Context, t target, source *audit.Report, after int64) error {
	join := &outcomeJoin{migration: m, target: t, stale: m.stale(source, t, after)}
	defer join.close()
	report, err := m.audit(ctx, m.scope, join, "reading what the controller did")
	if err != nil {
		return err
	}
	defer report.Close()
	if !report.Scope.Whole {
		return nil // the scan that decides says so
	}
	return join.finish()
}

// outcomeJoin is a sink that meets each stale object in a scan.
type outcomeJoin struct {
	*migration
	target   target
	stale    iter.Seq2[audit.Suspect, error]
	next     func() (audit.Suspect, error, bool)
	stop     func()
	at       audit.Suspect
	more     bool
	err      error
	outcomes Outcomes
}

func (j *outcomeJoin) Begin() {
	j.close()
	j.outcomes = Outcomes{}
	j.next, j.stop = iter.Pull2(j.stale)
	j.step()
}

func (j *outcomeJoin) close() {
	if j.stop != nil {
		j.stop()
	}
}

func (j *outcomeJoin) step() {
	if j.at, j.err, j.more = j.next(); j.err != nil {
		j.more = false
	}
}

// Take settles the objects up to the record's key: those passed over are gone.
func (j *outcomeJoin) Take(r *etcdscan.Record, e *etcdscan.Entry) error {
	for j.more && j.at.Key < r.Key {
		j.outcomes.Deleted++
		j.step()
	}
	if !j.more || j.at.Key != r.Key {
		return j.err
	}
	switch {
	case r.ModRevision == j.at.ModRevision && !j.Expectations.Stale(e, rewritable):
		j.outcomes.AlreadyCurrent++ // whether it was stale could not be seen
	case r.ModRevision == j.at.ModRevision:
		j.outcomes.NotRewritten++
	case j.Expectations.Stale(e, rewritable):
		// written since, and stale again: the next round takes it
	default:
		j.outcomes.Rewritten++
	}
	j.step()
	return j.err
}

func (j *outcomeJoin) finish() error {
	for j.more {
		j.outcomes.Deleted++
		j.step()
	}
	total := &j.report.Outcomes
	total.Rewritten += j.outcomes.Rewritten
	total.Deleted += j.outcomes.Deleted
	total.NotRewritten += j.outcomes.NotRewritten
	total.AlreadyCurrent += j.outcomes.AlreadyCurrent
	return j.err
}
