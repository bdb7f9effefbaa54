package migrate

import (
	"context"
	"iter"

	"github.com/svmctl/svmctl/internal/audit"
)

// keepPruned puts one object in the report, or where it is going to be written by consent on the list of those of which etcd
// has to tell at the end whether they were.
func (m *migration) keepPruned(t target, p pruned) error {
	out := Pruned{Key: p.Key, Resource: t.name.String(), Paths: append([]string{}, p.Paths...), Omitted: p.Omitted, State: PruneRefused, Text: p.Unchecked}
	if p.Unchecked != "" {
		out.State = PruneUnchecked
	}
	if m.AllowPruning && m.DryRun == NoDryRun && out.State == PruneRefused {
		return m.losses.Add(loss{Pruned: out, ModRevision: p.ModRevision})
	}
	return m.report.pruned.Add(out)
}

// loss is an object that may lose fields by consent.
type loss struct {
	Pruned      Pruned
	ModRevision int64 // before it was written
}

// settleLosses tells of each object that might lose fields whether it was written.
func (m *migration) settleLosses(ctx context.Context) error {
	patience := m.MaxOutage
	if ctx.Err() != nil {
		patience = settleGrace
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	unread := m.report.Stopped != nil && m.report.Stopped.Code == StopEtcd
	for l, err := range m.losses.All() {
		if err != nil {
			return err
		}
		at, found := int64(0), false
		if !unread {
			at, found, err = m.modRevision(ctx, l.Pruned.Key)
			unread = err != nil // etcd is not asked for each of them then
		}
		switch {
		case unread:
			l.Pruned.State, l.Pruned.Text = PruneLost, "whether it was written again could not be read"
		case found && at > l.ModRevision:
			l.Pruned.State = PruneLost
		default:
			l.Pruned.Text = "it was not written again"
		}
		if err := m.report.pruned.Add(l.Pruned); err != nil {
			return err
		}
	}
	return nil
}

// recordLost keeps what is going to be written again and may lose fields, by consent.
func (m *migration) recordLost(t target, stale iter.Seq2[audit.Suspect, error]) error {
	for _, err := range t.spared(stale, func(_ audit.Suspect, p pruned) error { return m.keepPruned(t, p) }) {
		if err != nil {
			return err
		}
	}
	return nil
}
