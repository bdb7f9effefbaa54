package migrate

import (
	"context"
	"fmt"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/spool"
	"github.com/svmctl/svmctl/internal/verify"
)

// recheck looks once more at what would be lost where a definition was changed since it was looked at: a person may take
// their time to answer.
func (m *migration) recheck(ctx context.Context) (*Stop, error) {
	changed := false
	for i := range m.targets {
		t := &m.targets[i]
		if t.pruning == nil || t.refused != "" {
			continue
		}
		examined := t.definition
		if err := m.define(ctx, t); err != nil {
			return nil, err
		}
		changed = changed || !t.definition.SameSpec(examined)
	}
	if !changed {
		return nil, nil
	}
	m.report.pruned.Close()
	m.losses.Close()
	m.report.pruned, m.losses = spool.Spool[Pruned]{}, spool.Spool[loss]{}
	for i := range m.targets {
		t, p := &m.targets[i], &m.report.Plan.Resources[i]
		if t.pruning == nil {
			continue
		}
		p.WouldPrune, p.Unchecked = 0, 0
		if t.refused == "" {
			if err := m.examine(ctx, t); err != nil {
				return nil, err
			}
		}
		if err := m.recordPruned(t, p); err != nil {
			return nil, err
		}
	}
	return m.objection(), nil
}

// doubtSchemas keeps a verdict from Complete when a definition was changed while its objects were written: by which schema
// each was pruned nobody knows.
func (m *migration) doubtSchemas(ctx context.Context) {
	if m.DryRun != NoDryRun || ctx.Err() != nil {
		return // interrupted: nothing is called done
	}
	for _, t := range m.targets {
		if t.pruning == nil || t.refused != "" {
			continue
		}
		message := "its definition was changed while objects were written: whether that dropped fields was not checked"
		d, err := m.Definitions.Get(ctx, t.definition.Name)
		switch {
		case err != nil:
			message = fmt.Sprintf("whether its definition was changed while objects were written could not be read: %v", err)
		case !t.changed && d.SameSpec(t.definition):
			continue
		}
		m.report.Reasons = append(m.report.Reasons, audit.Reason{Code: verify.WouldPrune, Severity: verify.Warning, Resource: t.name.String(), Message: message})
	}
}
