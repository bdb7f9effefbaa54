package migrate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/rewrite"
)

// rounds rewrites and reads etcd again, until nothing that was written since the last look is stale or the rounds are
// used up. Etcd is the only memory: what a round did not reach is found by the next look.
func (m *migration) rounds(ctx context.Context) error {
	source, after := m.report.Before, int64(0)
	for {
		m.report.Rounds++
		stop, err := m.rewriteAll(ctx, source, after)
		if err != nil {
			return err
		}
		m.report.Stopped = stop
		if m.DryRun == ServerDryRun {
			return nil
		}
		if stop != nil && stop.Code == StopInterrupted {
			m.dropAfter()
			return nil
		}
		next, err := m.look(ctx)
		switch {
		case ctx.Err() != nil:
			m.dropAfter()
			m.report.Stopped = interrupted()
			return nil
		case errors.Is(err, ErrForeignEtcd):
			return err
		case err != nil:
			m.dropAfter()
			m.report.Stopped = unreadable(err)
			return nil
		}
		after = source.Source.Revision
		m.dropAfter()
		m.report.After = next
		if stop != nil || m.report.Rounds >= m.MaxRounds || !next.Scope.Whole {
			return nil
		}
		if more, err := m.anyStale(next, after); err != nil || !more {
			return err
		}
		source = next
	}
}

// lookOnly reads the targets again where nothing was to be rewritten.
func (m *migration) lookOnly(ctx context.Context) error {
	next, err := m.look(ctx)
	if err != nil {
		return err
	}
	m.report.After = next
	return nil
}

// dropAfter forgets a look that writes have come after.
func (m *migration) dropAfter() {
	if m.report.After != nil {
		m.report.After.Close()
		m.report.After = nil
	}
}

// look scans the targets again. The scan is linearizable, so that it is not older than any write of the run; should
// etcd be behind what the apiserver says it wrote, it is another etcd.
func (m *migration) look(ctx context.Context) (*audit.Report, error) {
	report, err := m.audit(ctx, m.scope, nil, "reading etcd again")
	if err != nil {
		return nil, err
	}
	if report.Source.Revision < m.newest {
		report.Close()
		return nil, fmt.Errorf("%w: it is at revision %d, and the apiserver answered with %d", ErrForeignEtcd, report.Source.Revision, m.newest)
	}
	return report, nil
}

// anyStale tells whether an object was written since the last look and is stale again: a rewrite of it has not been
// tried. Those that failed lie at the revision they had.
func (m *migration) anyStale(r *audit.Report, after int64) (bool, error) {
	for _, t := range m.targets {
		if t.refused != "" {
			continue
		}
		for _, err := range m.stale(r, t, after) {
			return err == nil, err
		}
	}
	return false, nil
}

func (m *migration) rewriteAll(ctx context.Context, source *audit.Report, after int64) (*Stop, error) {
	for i := range m.targets {
		t := &m.targets[i]
		if t.refused != "" {
			continue
		}
		stop, err := m.examineAgain(ctx, t, source, after)
		switch {
		case stop != nil || err != nil:
		case m.Backend == SVM:
			stop, err = m.rewriteBySVM(ctx, *t, source, after)
		default:
			stop, err = m.rewriteByPatch(ctx, *t, source, after)
		}
		if stop != nil || err != nil {
			return stop, err
		}
	}
	return nil, nil
}

func (m *migration) rewriteByPatch(ctx context.Context, t target, source *audit.Report, after int64) (*Stop, error) {
	total, err := m.countStale(source, t, after)
	if err != nil || total == 0 {
		return nil, err
	}
	opts := m.Rewrite
	opts.DryRun, opts.MaxOutage = m.DryRun == ServerDryRun, m.MaxOutage
	s := newSettler(m, t)
	if !opts.DryRun {
		opts.Gate = s.gate(m.room())
	}
	patcher, err := rewrite.NewPatcher(m.Config, t.Resource, opts)
	if err != nil {
		return nil, err
	}
	m.Progress.rewriting(t.name.String(), total, patcher.Status)
	settling, cancel := afterGrace(ctx, settleGrace)
	defer cancel()
	err = patcher.Run(ctx, m.objects(source, t, after), func(res rewrite.Result) error { return s.settle(settling, res) })
	stop, err := runStop(ctx, err)
	if err == nil && (stop == nil || stop.Code != StopInterrupted) && s.foreign() {
		err = ErrForeignEtcd
	}
	m.related = m.related || s.answers > s.strange
	s.suggest()
	if err == nil && stop == nil && s.forbidden > 0 && s.forbidden == s.answers {
		stop = s.stopForbidden() // fewer objects than it takes to stop on the way
	}
	return stop, err
}

// afterGrace is a context that ends some time after ctx does.
func afterGrace(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return later, func() { stop(); cancel() }
}

// runStop tells an end that belongs in the report from an error that leaves nothing to report.
func runStop(ctx context.Context, err error) (*Stop, error) {
	var stop *Stop
	var outage *rewrite.OutageError
	var lost *unreadableError
	switch {
	case err == nil:
		return nil, nil
	case ctx.Err() != nil:
		return interrupted(), nil
	case errors.As(err, &stop):
		return stop, nil
	case errors.As(err, &lost):
		return unreadable(lost), nil
	case errors.As(err, &outage):
		return &Stop{Code: StopOutage, Message: outage.Error(), Hint: "once the apiserver is back, the same command does the rest"}, nil
	}
	return nil, err
}

// unreadableError is an etcd that can no longer be read while objects are being written.
type unreadableError struct{ error }

func (e *unreadableError) Unwrap() error { return e.error }

func unreadable(err error) *Stop {
	return &Stop{Code: StopEtcd, Message: "etcd cannot be read any more: " + err.Error(), Hint: "once etcd is back, the same command does the rest"}
}

func interrupted() *Stop {
	return &Stop{Code: StopInterrupted, Message: "interrupted", Hint: "the same command does the rest: etcd itself is the checkpoint"}
}

// objects are the stale objects of a target, in the terms of the apiserver.
func (m *migration) objects(source *audit.Report, t target, after int64) iter.Seq2[rewrite.Object, error] {
	return func(yield func(rewrite.Object, error) bool) {
		for s, err := range m.writable(source, t, after) {
			if !yield(rewrite.Object{Namespace: s.Object.Namespace, Name: s.Object.Name, Revision: s.ModRevision, Ref: s.Key}, err) || err != nil {
				return
			}
		}
	}
}

func (m *migration) countStale(source *audit.Report, t target, after int64) (int64, error) {
	var n int64
	for _, err := range m.writable(source, t, after) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// writable are the stale objects of a target that may be written: without those that would lose fields, unless that is
// agreed to.
func (m *migration) writable(source *audit.Report, t target, after int64) iter.Seq2[audit.Suspect, error] {
	stale := m.stale(source, t, after)
	if t.pruning == nil || m.AllowPruning {
		return stale
	}
	return t.spared(stale, func(audit.Suspect, pruned) error { return nil })
}
