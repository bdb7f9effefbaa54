package migrate

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"k8s.io/apimachinery/pkg/runtime/schema"

	svmv1 "k8s.io/api/storagemigration/v1"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/rewrite"
)

// looksPerPoll bounds how many objects are read per second to follow the in-tree controller.
const looksPerPoll = 1000

// rewriteBySVM has the in-tree controller rewrite the resource. What it says is not believed: the outcomes are counted
// in etcd.
func (m *migration) rewriteBySVM(ctx context.Context, t target, source *audit.Report, after int64) (*Stop, error) {
	total, err := m.countStale(source, t, after)
	if err != nil || total == 0 {
		return nil, err
	}
	follow := newFollower(m, t, m.stale(source, t, after))
	defer follow.close()
	m.Progress.rewriting(t.name.String(), total, nil)
	migrator, err := rewrite.NewMigrator(m.Config, rewrite.MigratorOptions{
		StallTimeout: m.StallTimeout, MaxOutage: m.MaxOutage,
		Created: func(ctx context.Context, name string) error { return m.findInEtcd(ctx, t, name) },
		Moved:   func() bool { return follow.advance(ctx) },
	})
	if err != nil {
		return nil, err
	}
	claim, err := migrator.Run(ctx, schema.GroupResource{Group: t.Group, Resource: t.Resource.Resource}, func(c rewrite.Condition) {
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

// follower walks along the stale objects as the controller rewrites them, because the controller itself says nothing
// while it works. It goes in key order, as the controller does.
type follower struct {
	m       *migration
	next    func() (audit.Suspect, error, bool)
	stop    func()
	waiting *audit.Suspect
	done    int64
}

func newFollower(m *migration, t target, stale iter.Seq2[audit.Suspect, error]) *follower {
	f := &follower{m: m}
	f.next, f.stop = iter.Pull2(stale)
	return f
}

func (f *follower) close() { f.stop() }

// advance goes past the objects that are no longer as they were and tells whether there was any.
func (f *follower) advance(ctx context.Context) bool {
	moved := false
	for range looksPerPoll {
		if f.waiting == nil {
			s, err, ok := f.next()
			if !ok || err != nil {
				return moved
			}
			f.waiting = &s
		}
		kv, found, err := f.m.Store.Look(ctx, f.waiting.Key)
		if err != nil || (found && kv.ModRevision == f.waiting.ModRevision) {
			break
		}
		f.waiting, moved = nil, true
		f.done++
	}
	f.m.Progress.done(f.done)
	return moved
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
	return j.err
}
