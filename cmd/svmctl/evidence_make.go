package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/keys"
	"github.com/svmctl/svmctl/internal/migrate"
	"github.com/svmctl/svmctl/internal/node"
	"github.com/svmctl/svmctl/internal/verify/evidence"
)

// lookAgain reads the store for a bundle, once a command that reads in its own way is done.
func (p *program) lookAgain(ctx context.Context, f *evidenceFlags, at scene, req audit.Request) (*audit.Report, *evidence.Recorder, error) {
	recorder := f.recorder()
	req.Store, req.Origin, req.Opener, req.Sample, req.Encryption = at.src.store, at.src.origin, at.unlocked.opener(), at.unlocked.sample(), at.unlocked.named()
	req.Version, req.Now, req.Progress, req.Also = version, f.clock, new(etcdscan.Progress), recorder.Sink()
	stop := render.ScanProgress(p.err, p.errTerminal, "reading etcd for the bundle", req.Progress)
	report, err := audit.Run(ctx, req)
	stop()
	if err != nil {
		recorder.Close()
		return nil, nil, err
	}
	if err := at.src.describe(ctx, &report.Source); err != nil {
		report.Close()
		recorder.Close()
		return nil, nil, err
	}
	return report, recorder, nil
}

// afterInterrupt bounds how long a migration that was interrupted goes on for its bundle.
const afterInterrupt = time.Minute

// proveMigration makes a bundle of a migration: of what etcd holds now, and of how it came to that.
func (p *program) proveMigration(ctx context.Context, f *evidenceFlags, at scene, req migrate.Request, result *migrate.Report) error {
	if ctx.Err() != nil {
		// What was done so far is evidence as well. A second signal ends the program at once.
		fmt.Fprintf(p.err, "svmctl: making the bundle of what was done so far, for %s at most\n", afterInterrupt)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterInterrupt)
		defer cancel()
		ctx = bounded
	}
	last := result.Before
	if result.After != nil {
		last = result.After
	}
	report, recorder, err := p.lookAgain(ctx, f, at, audit.Request{Prefixes: req.Prefixes, Expectations: at.unlocked.expected(last.Judged()), ConfirmEmpty: req.ConfirmEmpty})
	if err != nil {
		return err
	}
	defer report.Close()
	defer recorder.Close()
	o := &evidence.Observed{Report: report, Records: recorder, Rotation: &evidence.Rotation{
		Verdict: result.Verdict, StaleBefore: result.Plan.Stale(), Rewritten: result.Outcomes.Rewritten, FromWhole: result.Before.Scope.Whole,
		From: result.Before.Source.Revision, To: report.Source.Revision, Began: result.StartedAt, Done: report.FinishedAt}}
	if result.Stopped != nil {
		o.Rotation.Stopped = string(result.Stopped.Code)
	}
	if o.Migration, err = migrationOf(result, evidence.Mode(f.redact) == evidence.Names); err != nil {
		return err
	}
	for _, r := range []*audit.Report{result.Before, result.After} {
		o.KeyIDs = append(o.KeyIDs, keyIDsOf(r)...)
	}
	doc, err := f.collect(ctx, at, o)
	if err != nil {
		return err
	}
	p.wrote(f, doc)
	return nil
}

// migrationOf is migration.json. Free texts may name objects: they stay out where names are hidden.
func migrationOf(result *migrate.Report, named bool) (*evidence.Migration, error) {
	m := &evidence.Migration{APIVersion: evidence.APIVersion, Kind: "EvidenceMigration", Report: result, Before: result.Before, After: result.After, Failures: []evidence.FailureCount{}}
	counts := make(map[evidence.FailureCount]int64)
	var order []evidence.FailureCount
	for failure, err := range result.Failures() {
		if err != nil {
			return nil, err
		}
		c := evidence.FailureCount{Resource: failure.Resource, Code: cmp.Or(failure.Reason, strconv.Itoa(failure.Code))}
		if counts[c]++; counts[c] == 1 {
			order = append(order, c)
		}
		if named {
			m.NotRewritten = append(m.NotRewritten, evidence.Unwritten{Key: failure.Key, Resource: failure.Resource, Namespace: failure.Namespace, Name: failure.Name,
				Code: failure.Code, Kind: failure.Kind.String(), Reason: failure.Reason, By: failure.By, Fields: append([]string{}, failure.Fields...), Text: failure.Text})
		}
	}
	for _, c := range order {
		c.Objects = counts[c]
		m.Failures = append(m.Failures, c)
	}
	if named {
		if m.NotRewritten == nil {
			m.NotRewritten = []evidence.Unwritten{}
		}
		return m, nil
	}
	text, err := json.Marshal(result)
	if err != nil {
		return nil, err
	}
	var bare map[string]any
	if err := json.Unmarshal(text, &bare); err != nil {
		return nil, err
	}
	bare["warnings"] = []string{}
	if result.Stopped != nil {
		bare["stopped"] = map[string]any{"code": result.Stopped.Code, "message": "", "hint": ""}
	}
	m.Report = bare
	return m, nil
}

// proveKeys makes a bundle of an answer about keys.
func (p *program) proveKeys(ctx context.Context, f *evidenceFlags, at scene, req keys.Request, result *keys.Report) error {
	expectations := at.unlocked.expected(nil)
	report, recorder, err := p.lookAgain(ctx, f, at, audit.Request{Prefixes: req.Prefixes, History: req.History, Expectations: expectations,
		ConfirmEmpty: emptyInAPI(at.src, at.kube, expectations)})
	if err != nil {
		return err
	}
	defer report.Close()
	defer recorder.Close()
	o := &evidence.Observed{Report: report, Records: recorder, Keys: result}
	if c := result.CanRemove; c != nil {
		o.CanRemove = &evidence.KeyAnswer{Key: c.Key, Answer: string(c.Answer), Reason: c.Reason}
	}
	for _, row := range result.Keys {
		o.KeyIDs = append(o.KeyIDs, row.KeyID)
	}
	doc, err := f.collect(ctx, at, o)
	if err != nil {
		return err
	}
	p.wrote(f, doc)
	return nil
}

// keyIDsOf are the KMS key IDs that a report speaks of.
func keyIDsOf(r *audit.Report) []string {
	if r == nil {
		return nil
	}
	var ids []string
	for _, e := range r.Entries {
		ids = append(ids, e.AtRest.KeyID)
	}
	for _, e := range r.Judged() {
		ids = append(ids, e.Value.KeyID)
	}
	return ids
}

func overridden(overrides []node.Override) []string {
	var names []string
	for _, o := range overrides {
		names = append(names, o.Resource)
	}
	return names
}
