package migrate

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/svmctl/svmctl/internal/preflight"
	"github.com/svmctl/svmctl/internal/rewrite"
)

const (
	// conversionSample is how many objects are converted to tell whether the webhook answers at all: some may be objects that
	// it cannot convert.
	conversionSample = 8
	// conversionPatience bounds how long one of them is tried from its first failure on.
	conversionPatience = 5 * time.Second
)

// foresee finds out, before anything is written, what would be lost and what would stand in the way.
func (m *migration) foresee(ctx context.Context) error {
	for i := range m.targets {
		t, p := &m.targets[i], &m.report.Plan.Resources[i]
		if t.refused != "" || p.Stale == 0 {
			continue
		}
		if err := m.checkSubresource(*t); err != nil {
			if len(m.Resources) > 0 {
				return err
			}
			t.refused, p.Refused = err.Error(), err.Error()
			m.report.Plan.Bytes -= p.Bytes
			m.report.Warnings = append(m.report.Warnings, err.Error())
			continue
		}
		m.Progress.begin("asking who has a say")
		for _, n := range preflight.Look(ctx, preflight.Request{Config: m.Config, Resource: t.GroupVersionResource, Kind: t.Kind,
			Namespaced: t.Namespaced, Subresource: m.Rewrite.Subresource}) {
			p.Preflight = append(p.Preflight, Note{Code: string(n.Code), Severity: n.Severity.String(), Subject: n.Subject, Message: n.Message})
		}
		if t.definition == nil {
			continue
		}
		if err := m.foreseeCustom(ctx, t, p); err != nil {
			return err
		}
		if stop := m.objectionTo(*p); stop != nil && len(m.Resources) == 0 {
			// Nobody named it, so that the others need not wait for it.
			t.refused, p.Refused = stop.Message, stop.Message
			m.report.Plan.Bytes -= p.Bytes
			if stop.Code == StopPruning {
				m.report.Reasons = append(m.report.Reasons, pruneReasons(*p)...)
			}
			m.report.Warnings = append(m.report.Warnings, stop.Message+"; "+stop.Hint)
		}
	}
	return context.Cause(ctx)
}

func (m *migration) foreseeCustom(ctx context.Context, t *target, p *PlannedResource) error {
	p.Conversion = t.definition.Conversion.String()
	if err := m.examine(ctx, t); err != nil {
		return err
	}
	if err := m.recordPruned(t, p); err != nil {
		return err
	}
	if p.Converted > 0 {
		m.report.Warnings = append(m.report.Warnings, fmt.Sprintf("objects of %s that its conversion webhook converts on the way: %d; what it drops, or the schema that they come to, was not checked", t.name, p.Converted))
	}
	if !t.definition.Conversion.Webhook() || m.DryRun == ClientDryRun {
		return nil
	}
	note, err := m.tryConversion(ctx, *t)
	if err != nil {
		return err
	}
	at := 0 // the worst come first
	for at < len(p.Preflight) && worseNote(p.Preflight[at], note) {
		at++
	}
	p.Preflight = slices.Insert(p.Preflight, at, note)
	return nil
}

// worseNote tells whether a note stands before another by its severity.
func worseNote(a, b Note) bool {
	rank := map[string]int{preflight.Blocking.String(): 2, preflight.Warning.String(): 1}
	return rank[a.Severity] > rank[b.Severity]
}

// checkSubresource tells whether a custom resource has the subresource that it is to be written through.
func (m *migration) checkSubresource(t target) error {
	if m.Rewrite.Subresource == "" || t.definition == nil {
		return nil
	}
	if v, _ := t.definition.Version(t.definition.Through()); v.StatusSubresource {
		return nil
	}
	return &SubresourceError{Resource: t.name.String(), Subresource: m.Rewrite.Subresource}
}

// SubresourceError tells that a custom resource lacks the subresource that was to be written through.
type SubresourceError struct{ Resource, Subresource string }

func (e *SubresourceError) Error() string {
	return fmt.Sprintf("migrating %s: it has no subresource %s", e.Resource, e.Subresource)
}

// The codes of notes about conversion, beside those of preflight.
const (
	conversionAnswers = "ConversionAnswers"
	conversionFails   = "ConversionFails"
	conversionUntried = "ConversionUntried"
)

// tryConversion has stored objects converted by patches with dryRun=All, until one of them is. They are spread over the
// whole list: a webhook that cannot convert some objects answers all the same.
func (m *migration) tryConversion(ctx context.Context, t target) (Note, error) {
	m.Progress.begin("trying the conversion webhook")
	note := Note{Subject: "conversion webhook of " + t.definition.Name}
	total, err := m.countStale(m.report.Before, t, 0)
	if err != nil {
		return note, err
	}
	opts := m.Rewrite
	opts.DryRun, opts.MaxOutage, opts.Gate, opts.Concurrency = true, conversionPatience, nil, conversionSample
	patcher, err := rewrite.NewPatcher(m.Config, t.Resource, opts)
	if err != nil {
		return note, err
	}
	converted, other := 0, ""
	var failed []rewrite.Result
	err = patcher.Run(ctx, every(m.objects(m.report.Before, t, 0), max(1, total/conversionSample), conversionSample), func(res rewrite.Result) error {
		switch {
		case res.Status == rewrite.Accepted:
			converted++
		case res.Status != rewrite.Failed: // changed or deleted meanwhile
		case res.Failure.Kind == rewrite.KindConversion:
			failed = append(failed, res)
		default:
			other = res.Failure.Error()
		}
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return note, context.Cause(ctx)
	case converted > 0 && len(failed) == 0:
		note.Code, note.Severity, note.Message = conversionAnswers, preflight.Info.String(), "it answers"
	case converted > 0:
		note.Code, note.Severity = conversionFails, preflight.Warning.String()
		note.Message = fmt.Sprintf("it answers, and could not convert %d of the %d objects that were tried", len(failed), len(failed)+converted)
	case len(failed) > 0:
		note.Code, note.Severity = conversionFails, preflight.Blocking.String()
		note.Message = fmt.Sprintf("it did not convert one of the %d objects that were tried: is it up, and does the CustomResourceDefinition name the right address and authority?", len(failed))
		if total <= conversionSample {
			// These are all that there is to write, so that each can be named.
			return note, m.nameUnconverted(t, failed)
		}
	default:
		note.Code, note.Severity, note.Message = conversionUntried, preflight.Warning.String(), "whether it answers could not be tried"
		if other != "" {
			note.Message += ": " + other
		}
	}
	if err != nil && note.Code == "" {
		return note, err
	}
	return note, nil
}

// nameUnconverted reports objects that the webhook did not convert when that was tried.
func (m *migration) nameUnconverted(t target, failed []rewrite.Result) error {
	s := newSettler(m, t)
	for _, res := range failed {
		m.report.Outcomes.Failed++
		if err := s.fail(res, nil); err != nil {
			return err
		}
	}
	return nil
}

// every yields each n-th object, and at most limit of them.
func every(objects iter.Seq2[rewrite.Object, error], n, limit int64) iter.Seq2[rewrite.Object, error] {
	return func(yield func(rewrite.Object, error) bool) {
		var i, taken int64
		for object, err := range objects {
			if err == nil && (i%n != 0 || taken == limit) {
				i++
				continue
			}
			i++
			taken++
			if !yield(object, err) || err != nil {
				return
			}
		}
	}
}

// objection is what keeps the migration from writing anything, nil if nothing does.
func (m *migration) objection() *Stop {
	r := m.report
	if stop := m.disagreement(); stop != nil {
		return stop
	}
	for _, p := range r.Plan.Resources {
		if p.Refused != "" {
			continue
		}
		if stop := m.objectionTo(p); stop != nil {
			stop.Hint += "; nothing was written"
			if stop.Code == StopPruning {
				r.Reasons = append(r.Reasons, pruneReasons(p)...)
			}
			return stop
		}
	}
	return nil
}

// objectionTo is what keeps one resource from being written.
func (m *migration) objectionTo(p PlannedResource) *Stop {
	if p.WouldPrune+p.Unchecked > 0 && !m.AllowPruning {
		return &Stop{Code: StopPruning, Message: pruneMessage(p), Hint: pruneHint(p)}
	}
	for _, n := range p.Preflight {
		if n.Code == conversionFails && n.Severity == preflight.Blocking.String() {
			return &Stop{Code: StopConversion, Message: n.Subject + ": " + n.Message,
				Hint: "once the webhook answers, the same command does the rest"}
		}
	}
	return nil
}

func pruneMessage(p PlannedResource) string {
	switch {
	case p.Unchecked == 0:
		return fmt.Sprintf("a rewrite of %d %s drops fields that their schema does not know", p.WouldPrune, p.Resource)
	case p.WouldPrune == 0:
		return fmt.Sprintf("whether a rewrite of %d %s drops fields cannot be seen", p.Unchecked, p.Resource)
	}
	return fmt.Sprintf("a rewrite of %d %s drops fields that their schema does not know, and of %d more it cannot be seen", p.WouldPrune, p.Resource, p.Unchecked)
}

func pruneHint(p PlannedResource) string {
	if p.WouldPrune == 0 {
		return "--allow-pruning goes on all the same, and --snapshot-first FILE keeps what there is"
	}
	return "widen the schema to keep the fields; --allow-pruning drops them for good, and --snapshot-first FILE keeps what there is"
}
