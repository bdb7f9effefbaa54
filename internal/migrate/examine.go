package migrate

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/spool"
	"github.com/svmctl/svmctl/internal/verify"
)

// pruned is an object that loses fields when it is written again, or of which nobody can tell.
type pruned struct {
	Key         string
	ModRevision int64
	Paths       []string
	Omitted     int
	Unchecked   string // why nobody can tell
}

// examine looks at the objects of a custom resource as etcd holds them now, and keeps those that would lose fields, in key
// order. A rewrite by the in-tree controller writes all of them, one by patches those alone that are stale.
func (m *migration) examine(ctx context.Context, t *target) error {
	m.forget(t)
	pruner, err := crd.NewPruner(t.definition)
	if err != nil {
		return &UncheckedError{Resource: t.name.String(), Err: err}
	}
	x := &examiner{target: t, pruner: pruner, all: m.Backend == SVM, stale: func(e *etcdscan.Entry) bool {
		return m.Expectations.Stale(e, rewritable) || slices.ContainsFunc(m.Expectations.EntryFaults(*e), t.unseen)
	}}
	var prefixes []string
	for _, root := range m.report.Before.Roots {
		prefixes = append(prefixes, root+"/"+key.DirIn(root, t.name.Group, t.name.Name))
	}
	m.Progress.begin("looking for fields that would be lost")
	result, err := etcdscan.Scan(ctx, etcdscan.Reading{Source: m.Store, Scope: etcdscan.NewScope(prefixes, m.report.Before.Roots),
		Opener: m.Opener, Progress: &m.Progress.Scan}, x)
	t.pruning, t.converted = x.found, x.converted
	switch {
	case err != nil:
		return err
	case result.Shortfall != nil:
		return fmt.Errorf("looking at what a rewrite of %s would drop: %w", t.name, result.Shortfall)
	}
	return nil
}

func (m *migration) forget(t *target) {
	if t.pruning != nil {
		t.pruning.Close()
		t.pruning = nil
	}
}

// close frees what the targets hold.
func (m *migration) close() {
	for i := range m.targets {
		m.forget(&m.targets[i])
	}
	m.losses.Close()
}

// examiner is a sink that prunes each object in memory.
type examiner struct {
	target    *target
	pruner    *crd.Pruner
	all       bool
	stale     func(*etcdscan.Entry) bool
	converted int64 // objects that a webhook converts on the way
	wanted    bool  // the object that was taken last is one to be written
	found     *spool.Spool[pruned]
}

func (x *examiner) Begin() {
	if x.found != nil {
		x.found.Close()
	}
	x.found, x.converted = new(spool.Spool[pruned]), 0
}

func (x *examiner) Take(r *etcdscan.Record, e *etcdscan.Entry) error {
	x.wanted = r.Object.Group == x.target.name.Group && r.Object.Resource == x.target.name.Name && (x.all || x.stale(e))
	switch {
	case !x.wanted:
		return nil
	case r.AtRest.Provider != atrest.Identity && r.Stored.Kind == "":
		return x.found.Add(pruned{Key: r.Key, ModRevision: r.ModRevision, Unchecked: unopenedText(r)})
	case r.Stored.Kind == "":
		return x.found.Add(pruned{Key: r.Key, ModRevision: r.ModRevision, Unchecked: "what it holds is not understood"})
	}
	return nil
}

func (x *examiner) Examine(r *etcdscan.Record, payload []byte) error {
	if !x.wanted {
		return nil
	}
	e, err := x.pruner.Examine(payload)
	if e.Converted {
		x.converted++
	}
	switch {
	case err != nil:
		return x.found.Add(pruned{Key: r.Key, ModRevision: r.ModRevision, Unchecked: "what it holds is not understood: " + err.Error()})
	case !e.Readable:
		return x.found.Add(pruned{Key: r.Key, ModRevision: r.ModRevision, Unchecked: unreadableText(e.Problem)})
	case len(e.Paths) > 0:
		return x.found.Add(pruned{Key: r.Key, ModRevision: r.ModRevision, Paths: e.Paths, Omitted: e.Omitted})
	}
	return nil
}

// unopenedText is why nobody can tell what an encrypted object would lose.
func unopenedText(r *etcdscan.Record) string {
	if r.Opened == etcdscan.NotTried {
		return "encrypted: what it holds cannot be seen"
	}
	return "encrypted, and it could not be opened: " + r.Note
}

func unreadableText(p crd.Problem) string {
	switch p {
	case crd.UnknownVersion:
		return "no apiserver can read it: spec.versions does not have its version"
	case crd.OtherGroup:
		return "no apiserver can read it: it is of another group"
	case crd.OtherKind:
		return "it is of another kind than its CustomResourceDefinition has"
	}
	return "its metadata cannot be understood"
}

// recordPruned puts what examine found of a target in the report.
func (m *migration) recordPruned(t *target, p *PlannedResource) error {
	if t.pruning == nil {
		return nil
	}
	p.Converted = t.converted
	for found, err := range t.pruning.All() {
		if err != nil {
			return err
		}
		if found.Unchecked != "" {
			p.Unchecked++
		} else {
			p.WouldPrune++
		}
		if err := m.keepPruned(*t, found); err != nil {
			return err
		}
	}
	return nil
}

// pruneReasons say how many objects of a target would lose fields.
func pruneReasons(p PlannedResource) []audit.Reason {
	var reasons []audit.Reason
	if p.WouldPrune > 0 {
		reasons = append(reasons, audit.Reason{Code: verify.WouldPrune, Severity: verify.Error, Resource: p.Resource, Objects: p.WouldPrune,
			Message: "a rewrite drops fields that the schema does not know"})
	}
	if p.Unchecked > 0 {
		reasons = append(reasons, audit.Reason{Code: verify.WouldPrune, Severity: verify.Warning, Resource: p.Resource, Objects: p.Unchecked,
			Message: "whether a rewrite drops fields cannot be seen"})
	}
	return reasons
}

// spared passes over the stale objects that would lose fields, and visits each of them. Both lists are in key order.
func (t *target) spared(stale iter.Seq2[audit.Suspect, error], visit func(audit.Suspect, pruned) error) iter.Seq2[audit.Suspect, error] {
	return func(yield func(audit.Suspect, error) bool) {
		next, stop := iter.Pull2(t.pruning.All())
		defer stop()
		at, err, more := next()
		for s, staleErr := range stale {
			for err == nil && staleErr == nil && more && at.Key < s.Key {
				at, err, more = next()
			}
			switch {
			case err != nil:
				yield(audit.Suspect{}, err)
				return
			case staleErr == nil && more && at.Key == s.Key:
				if err := visit(s, at); err != nil {
					yield(audit.Suspect{}, err)
					return
				}
				continue
			}
			if !yield(s, staleErr) {
				return
			}
		}
	}
}

// examineAgain looks, before a further round, at what was written since the last look. What would lose fields is named as
// failed and left out; the in-tree controller cannot leave anything out.
func (m *migration) examineAgain(ctx context.Context, t *target, source *audit.Report, after int64) (*Stop, error) {
	if t.definition == nil || m.report.Rounds < 2 {
		return nil, nil
	}
	written := false
	for _, err := range m.stale(source, *t, after) {
		if err != nil {
			return nil, err
		}
		written = true
		break
	}
	if !written {
		return nil, nil
	}
	d, err := m.Definitions.Get(ctx, t.definition.Name)
	if err != nil {
		return &Stop{Code: StopPruning, Message: fmt.Sprintf("what a rewrite of %s drops cannot be told any more: %v", t.name, err), Hint: "the same command does the rest"}, nil
	}
	t.changed = t.changed || !d.SameSpec(t.definition)
	t.definition = d
	if err := m.examine(ctx, t); err != nil {
		return runStop(ctx, &unreadableError{err})
	}
	if m.AllowPruning {
		return nil, m.recordLost(*t, m.stale(source, *t, after))
	}
	if m.Backend == SVM && t.pruning.Len() > 0 {
		return &Stop{Code: StopPruning, Message: fmt.Sprintf("%s were written meanwhile that would lose fields, and the in-tree controller rewrites all of them", t.name),
			Hint: "--backend patch leaves them out and names them"}, nil
	}
	for _, err := range t.spared(m.stale(source, *t, after), func(s audit.Suspect, p pruned) error { return m.spare(*t, s, p) }) {
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// spare names an object that is not written because it would lose fields.
func (m *migration) spare(t target, s audit.Suspect, p pruned) error {
	out := Pruned{Key: s.Key, Resource: t.name.String(), Paths: append([]string{}, p.Paths...), Omitted: p.Omitted, State: PruneRefused, Text: p.Unchecked}
	text := "a rewrite would drop fields that its schema does not know"
	if p.Unchecked != "" {
		out.State, text = PruneUnchecked, "whether a rewrite drops fields cannot be seen: "+p.Unchecked
	}
	if err := m.report.pruned.Add(out); err != nil {
		return err
	}
	m.report.Outcomes.Failed++
	return m.report.failures.Add(Failure{Key: s.Key, Resource: t.name.String(), Namespace: s.Object.Namespace, Name: s.Object.Name,
		Reason: string(verify.WouldPrune), Fields: out.Paths, Text: text})
}
