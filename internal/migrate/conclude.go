package migrate

import (
	"context"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/verify"
)

// refuseToBegin reports what was found, as nothing was migrated.
func (m *migration) refuseToBegin(ctx context.Context) error {
	if err := m.settleLosses(ctx); err != nil {
		return err
	}
	m.report.Verdict = m.report.Before.Verdict.Worse(verify.Indeterminate)
	m.report.Reasons = append(m.report.Reasons, m.report.Before.Reasons...)
	return nil
}

// noteInterruption keeps an interruption behind the last scan from passing for the end: what is asked there was not.
func (m *migration) noteInterruption(ctx context.Context) {
	if ctx.Err() != nil && m.report.Stopped == nil {
		m.report.Stopped = interrupted()
	}
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
	r.Verdict = r.After.Verdict
	for _, reason := range r.Reasons {
		r.Verdict = r.Verdict.Worse(reason.Severity.Verdict())
	}
	r.Reasons = append(r.Reasons, r.After.Reasons...)
	if r.Stopped != nil && r.Stopped.Code == StopInterrupted {
		r.Verdict = r.Verdict.Worse(verify.Indeterminate)
	}
	m.doubtAPIServers()
	for _, t := range r.Targets {
		if t.From == verify.FromProbe && t.Value != "" && m.migrates(t.Resource) {
			r.Verdict = r.Verdict.Worse(verify.Indeterminate)
			r.Reasons = append(r.Reasons, audit.Reason{Code: verify.NotConfirmed, Severity: verify.Warning, Resource: t.Resource, Expected: t.Value,
				Message: "the target is what one apiserver was seen to write; nobody said that it is the right one"})
		}
	}
	if m.AllStale && (r.APIServers.Agree == nil || !*r.APIServers.Agree) {
		r.Verdict = r.Verdict.Worse(verify.Indeterminate)
		r.Reasons = append(r.Reasons, audit.Reason{Code: verify.NotConfirmed, Severity: verify.Warning,
			Message: "the versions of built-in resources are those that one apiserver declares; whether all do was not told"})
	}
}
