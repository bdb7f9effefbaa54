package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/rewrite"
)

const (
	// handful is how many objects have to show the same trouble before it is taken for the apiserver's own.
	handful = 5
	// firstAnswers is how many answers decide whether this etcd is the apiserver's.
	firstAnswers = 8
	// firstPatience bounds the wait for the first answers.
	firstPatience = 2 * time.Second
	// settleGrace bounds how long etcd is asked for what became of objects after an interruption.
	settleGrace = 10 * time.Second
	// sampleEvery is how often, past the first answers, a written object is read back while the run goes on. All are
	// read by the scan that follows.
	sampleEvery = 64
)

// settler takes the answers of the apiserver about one target and has etcd say what they are worth.
type settler struct {
	*migration
	target target
	first  chan struct{} // closed by open once the first answers are in
	open   func()

	lost        *unreadableError
	answers     int // taken so far
	strange     int // 404 or 409 although etcd holds the object just as it was scanned
	forbidden   int
	notWritten  int
	otherTarget int
	admission   int // refused by a webhook, a policy or validation
	written     int
}

// settle takes one answer. An error ends the run, and then the gate stays shut. Answers still come in after that; once
// etcd is lost it is not asked about them.
func (s *settler) settle(ctx context.Context, res rewrite.Result) error {
	if s.lost != nil {
		return s.lost
	}
	err := s.take(ctx, res)
	errors.As(err, &s.lost)
	if err == nil && s.answers >= firstAnswers {
		s.open()
	}
	return err
}

func (s *settler) take(ctx context.Context, res rewrite.Result) error {
	if res.Status == rewrite.Failed && res.Failure.Kind == rewrite.KindInterrupted {
		return nil // not tried to its end; the next run finds it
	}
	s.answers++
	outcomes := &s.report.Outcomes
	switch res.Status {
	case rewrite.Accepted:
		outcomes.Accepted++
		return nil
	case rewrite.Rewritten:
		outcomes.Rewritten++
		s.written++
		s.newest = max(s.newest, res.Revision)
		if s.written <= firstAnswers || s.written%sampleEvery == 0 {
			return s.readBack(ctx, res)
		}
		return nil
	}
	if s.DryRun == ServerDryRun && res.Status == rewrite.Failed {
		return s.fail(res, nil)
	}
	return s.compare(ctx, res)
}

func newSettler(m *migration, t target) *settler {
	s := &settler{migration: m, target: t, first: make(chan struct{})}
	s.open = sync.OnceFunc(func() { close(s.first) })
	return s
}

// gate lets a few objects through and waits for their answers before the rest: should this apiserver not write what is
// expected, or have another etcd, it shows with them. It does not wait for long, because one of them may be in trouble
// of its own.
func (s *settler) gate(room func(context.Context) error) func(context.Context) error {
	let := 0
	return func(ctx context.Context) error {
		if let++; let == firstAnswers+1 {
			select {
			case <-s.first:
			case <-time.After(firstPatience):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return room(ctx)
	}
}

// readBack looks in etcd for what the apiserver says it wrote.
func (s *settler) readBack(ctx context.Context, res rewrite.Result) error {
	kv, found, err := s.Store.Look(ctx, res.Ref)
	if err != nil {
		return &unreadableError{fmt.Errorf("reading back %q: %w", res.Ref, err)}
	}
	if !found {
		return nil // deleted since: the scan that follows tells
	}
	if kv.ModRevision < res.Revision {
		return fmt.Errorf("%w: %q was written at revision %d by its word, and lies in etcd at %d", ErrForeignEtcd, res.Ref, res.Revision, kv.ModRevision)
	}
	if kv.ModRevision > res.Revision {
		return nil
	}
	if ok, found := s.current(ctx, s.target, kv); !ok {
		if s.otherTarget++; s.otherTarget >= handful {
			return s.stopOtherTarget(found)
		}
	}
	return nil
}

// compare reads etcd to tell what an answer that wrote nothing means for the object.
func (s *settler) compare(ctx context.Context, res rewrite.Result) error {
	outcomes := &s.report.Outcomes
	kv, found, err := s.Store.Look(ctx, res.Ref)
	if err != nil {
		return &unreadableError{fmt.Errorf("looking at what became of %q: %w", res.Ref, err)}
	}
	switch {
	case !found:
		outcomes.Deleted++
		return nil
	case kv.ModRevision != res.Object.Revision:
		return s.changed(ctx, res, kv)
	case res.Status == rewrite.Unchanged && s.elided(ctx, kv):
		outcomes.AlreadyCurrent++
		return nil
	case res.Status == rewrite.Unchanged:
		outcomes.NotRewritten++
		if err := s.fail(res, &rewrite.Failure{Reason: "NotRewritten"}); err != nil {
			return err
		}
		if s.notWritten++; s.notWritten >= handful {
			return s.stopLaggard(ctx, kv)
		}
		return nil
	case res.Status == rewrite.Failed:
		outcomes.Failed++
		if err := s.fail(res, nil); err != nil {
			return err
		}
		switch res.Failure.Kind {
		case rewrite.KindWebhook, rewrite.KindPolicy, rewrite.KindAdmission:
			s.admission++
		}
		if res.Failure.Kind == rewrite.KindForbidden {
			s.forbidden++
		}
		if s.forbidden == firstAnswers && s.answers == firstAnswers {
			return s.stopForbidden()
		}
		return nil
	}
	outcomes.Failed++
	s.strange++
	if err := s.fail(res, &rewrite.Failure{Code: answerCode(res.Status), Reason: "NotTheSameStore"}); err != nil {
		return err
	}
	if s.strange == firstAnswers && s.foreign() {
		return ErrForeignEtcd
	}
	return nil
}

// elided tells whether nothing that can be seen is stale in a value that the apiserver did not write again.
func (s *settler) elided(ctx context.Context, kv etcdscan.KeyValue) bool {
	ok, _ := s.current(ctx, s.target, kv)
	return ok
}

func answerCode(status rewrite.Status) int {
	if status == rewrite.NotFound {
		return 404
	}
	return 409
}

func (s *settler) stopForbidden() *Stop {
	return &Stop{Code: StopForbidden, Message: fmt.Sprintf("the apiserver does not let this user patch %s", s.target.name),
		Hint: fmt.Sprintf("grant the verb patch on %s (docs/rbac.md), or use another kubeconfig or --as", s.target.name)}
}

// foreign tells whether not one answer fits what etcd holds, and none of an earlier round or resource did.
func (s *settler) foreign() bool { return s.answers > 0 && s.strange == s.answers && !s.related }

// changed settles an object that was written since the scan: by somebody else, or by a request of ours whose answer was
// lost. One that is stale again stays for the next round.
func (s *settler) changed(ctx context.Context, res rewrite.Result, kv etcdscan.KeyValue) error {
	if ok, _ := s.current(ctx, s.target, kv); !ok {
		return nil
	}
	if res.Uncertain || s.probed == (ownWrite{key: res.Ref, revision: kv.ModRevision}) {
		s.report.Outcomes.Rewritten++
	} else {
		s.report.Outcomes.ChangedByOthers++
	}
	return nil
}

func (s *settler) stopLaggard(ctx context.Context, kv etcdscan.KeyValue) *Stop {
	_, found := s.current(ctx, s.target, kv)
	return &Stop{Code: StopLaggard,
		Message: fmt.Sprintf("the apiserver takes the patches and writes nothing: it still writes %s as %s, not as %s", s.target.name, found, s.wanted(s.target)),
		Hint:    "has every apiserver loaded the new EncryptionConfiguration, with this key first? A reload takes up to a minute; apiserver_encryption_config_controller_last_config_info in /metrics tells the hash of the file in use"}
}

// wanted names what a target's objects are to become.
func (m *migration) wanted(t target) string {
	want, _ := m.Expectations.For(t.name)
	return strings.TrimPrefix(strings.TrimSuffix(want.Value.String()+" at "+want.Version, " at "), " at ")
}

func (s *settler) stopOtherTarget(found string) *Stop {
	return &Stop{Code: StopOtherTarget,
		Message: fmt.Sprintf("the apiserver writes %s as %s, not as %s", s.target.name, found, s.wanted(s.target)),
		Hint:    "compare the first provider of its EncryptionConfiguration with the target"}
}

// suggest names a way that admission may leave open, once it is known to refuse objects.
func (s *settler) suggest() {
	if s.admission == 0 || s.target.definition == nil || s.Rewrite.Subresource != "" {
		return
	}
	if v, _ := s.target.definition.Version(s.target.definition.Through()); v.StatusSubresource {
		s.report.Warnings = append(s.report.Warnings, fmt.Sprintf("admission refuses %d %s: --subresource status rewrites them through their status, which it may not be asked about", s.admission, s.target.name))
	}
}

// fail records an object that was not rewritten. Own is the cause when the apiserver gave none.
func (s *settler) fail(res rewrite.Result, own *rewrite.Failure) error {
	f := res.Failure
	if f == nil {
		f = own
	}
	out := Failure{
		Key: res.Ref, Resource: s.target.name.String(), Namespace: res.Namespace, Name: res.Name,
		Code: f.Code, Kind: f.Kind, Reason: f.Reason, By: f.By, Fields: f.Fields,
	}
	if out.Fields == nil {
		out.Fields = []string{}
	}
	switch f.Reason {
	case "NotRewritten":
		out.Text = "the apiserver accepted the patch and wrote nothing"
	case "NotTheSameStore":
		out.Text = "the apiserver knows another state of the object than etcd holds"
	default:
		out.Text = f.Error()
	}
	if s.ShowMessages {
		out.Message = f.Message
	}
	return s.report.failures.Add(out)
}
