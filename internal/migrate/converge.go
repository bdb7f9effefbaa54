package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/rewrite"
	"github.com/svmctl/svmctl/internal/verify"
)

// probePatience bounds how long one apiserver is tried with one object.
const probePatience = 20 * time.Second

// APIServerRequest is how the apiservers are found, and what is done when they do not agree.
type APIServerRequest struct {
	Addresses   []string      // empty: the EndpointSlices of the service kubernetes
	Wait        time.Duration // for them to agree; 0: not at all
	KMSPatience time.Duration // for them to have a KMS plugin's key, where Wait is 0 and nothing else is in the way
	Force       bool          // go on without
}

// askAPIServers asks every apiserver itself what it would write.
func (m *migration) askAPIServers(ctx context.Context) error {
	m.Progress.begin(phaseAsking)
	request, q := m.apiserverRequest(), m.question()
	m.survey = apiservers.Ask(ctx, request)
	agreement := m.survey.Agreement(q)
	patience := m.APIServers.Wait
	if patience == 0 && waitsForKMS(agreement) {
		patience = m.APIServers.KMSPatience
	}
	if patience > 0 && agreement.Agree != nil && !*agreement.Agree {
		var err error
		m.survey, agreement, err = apiservers.WaitConverged(ctx, request, q, 0, patience, func(a apiservers.Agreement) {
			m.Progress.pause(a.Summary())
		})
		m.Progress.pause("")
		if err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	m.report.APIServers.Agreement = agreement
	switch {
	case agreement.Agree == nil:
		m.report.Warnings = append(m.report.Warnings, "apiservers not checked: "+agreement.Summary())
	case !*agreement.Agree && m.APIServers.Force:
		m.report.APIServers.Forced = true
		m.report.Warnings = append(m.report.Warnings, "by force, although the apiservers do not agree: "+agreement.Summary())
	}
	return nil
}

// waitsForKMS tells whether all that is in the way is that apiservers have not asked a KMS plugin for its key yet.
func waitsForKMS(a apiservers.Agreement) bool {
	other := slices.ContainsFunc(a.Disagreements, func(d apiservers.Disagreement) bool { return !d.KMS })
	return len(a.Disagreements) > 0 && len(a.Missing) == 0 && !other
}

func (m *migration) apiserverRequest() apiservers.Request {
	return apiservers.Request{Config: m.Config, Addresses: m.APIServers.Addresses, Resources: m.question().Resources, Flags: true}
}

// question tells on what the apiservers have to agree: the keys where encryption is to change or the target is yet to be
// found out, the storage versions where those are expected. Where an EncryptionConfiguration names a target, each has to have
// loaded it; where a KMS key is the target, each has to encrypt with it.
func (m *migration) question() apiservers.Question {
	q := apiservers.Question{Resources: []schema.GroupResource{}, KMSKeyIDs: make(map[string]string)}
	for _, e := range m.Expectations {
		if e.Value != (verify.Value{}) {
			q.Matter |= apiservers.Encryption
		}
		if e.Configured.Writes && m.Encryption != nil {
			q.EncryptionConfig = m.Encryption.Hash
		}
		if e.Value.Provider == string(atrest.KMS) && e.Value.KeyID != "" {
			q.KMSKeyIDs[e.Value.Key] = encryption.KeyIDHash(e.Value.KeyID)
		}
		if e.Version != "" && !e.Resource.Wildcard() {
			q.Matter |= apiservers.StorageVersion
			q.Resources = append(q.Resources, schema.GroupResource{Group: e.Resource.Group, Resource: e.Resource.Name})
		}
	}
	if q.EncryptionConfig != "" {
		q.KMSProviders = []string{}
		for _, e := range m.Configured {
			if e.Value.Provider == string(atrest.KMS) {
				q.KMSProviders = append(q.KMSProviders, e.Value.Key)
			}
		}
	}
	for _, r := range m.Resources {
		if e, _ := m.Expectations.For(Name(r)); e.Value == (verify.Value{}) && e.Version == "" {
			q.Matter |= apiservers.Encryption
		}
	}
	return q
}

// askAgain asks once more after the last write: an apiserver that came or changed meanwhile may have written otherwise. What
// was open or wrong before stays so, even if it is settled now: an apiserver that has caught up since may have written after
// the last look at etcd.
func (m *migration) askAgain(ctx context.Context) {
	if m.DryRun != NoDryRun || ctx.Err() != nil {
		return
	}
	m.Progress.begin("asking the apiservers again")
	again := apiservers.Ask(ctx, m.apiserverRequest()).Agreement(m.question())
	if ctx.Err() != nil {
		return // interrupted: silence that is not theirs
	}
	agreed := m.report.APIServers.Agree != nil && *m.report.APIServers.Agree
	disagree := again.Agree != nil && !*again.Agree
	if agreed || disagree {
		m.report.APIServers.Agreement = again
	}
	if agreed && again.Agree == nil {
		m.report.Warnings = append(m.report.Warnings, "apiservers not checked after the last write: "+again.Summary())
	}
}

// disagreement is what keeps the migration from writing anything while the apiservers do not agree.
func (m *migration) disagreement() *Stop {
	a := m.report.APIServers
	if a.Agree == nil || *a.Agree || m.APIServers.Force {
		return nil
	}
	return &Stop{Code: StopConverged, Message: "the apiservers do not agree on what to write: " + a.Summary(),
		Hint: "--wait-converged 5m waits for them, --apiserver names one that was not found, and --force goes on without; nothing was written"}
}

// doubtAPIServers keeps a verdict from Complete while an apiserver is known that may write something else any moment.
func (m *migration) doubtAPIServers() {
	r := m.report
	if len(m.unprobed) > 0 {
		r.Verdict = r.Verdict.Worse(verify.Indeterminate)
		r.Reasons = append(r.Reasons, audit.Reason{Code: verify.NotConverged, Severity: verify.Warning,
			Message: "what these apiservers write could not be asked, nor be found out with an object: " + strings.Join(m.unprobed, ", ")})
	}
	if a := r.APIServers; a.Agree == nil || *a.Agree {
		return
	}
	r.Verdict = r.Verdict.Worse(verify.Indeterminate)
	r.Reasons = append(r.Reasons, audit.Reason{Code: verify.NotConverged, Severity: verify.Warning,
		Message: "the apiservers do not agree on what to write: " + r.APIServers.Summary()})
}

// ownWrite is an object as svmctl itself had it written ahead of the migration.
type ownWrite struct {
	key      string
	revision int64
}

// probeEach has each known apiserver write one object again and reads it back from etcd, where they could not be asked what
// they would write. One that writes something else than the target has to be dealt with first.
func (m *migration) probeEach(ctx context.Context) (*Stop, error) {
	servers := m.survey.Distinct()
	if m.report.APIServers.Agree != nil || len(servers) < 2 {
		return nil, nil
	}
	t, object, err := m.firstStale()
	if err != nil || t == nil {
		return nil, err
	}
	for _, server := range servers {
		written, err := m.writeThrough(ctx, m.survey.Config(server), *t, object)
		if err != nil {
			return runStop(ctx, err)
		}
		if written == nil {
			m.unprobed = append(m.unprobed, server.Address) // for this object's own trouble, or for another's write
			continue
		}
		object.Revision = written.ModRevision
		m.probed = ownWrite{key: object.Ref, revision: object.Revision}
		if ok, found := m.current(ctx, *t, *written); !ok {
			return &Stop{Code: StopConverged, Message: fmt.Sprintf("the apiserver at %s writes %s as %s, not as %s", server.Address, t.name, found, m.wanted(*t)),
				Hint: "bring every apiserver to the same configuration first; one object was written to find this out"}, nil
		}
	}
	return nil, nil
}

// writeThrough has one apiserver write an object that is as it was looked at, and returns what etcd has then; nil if that does
// not tell what the apiserver writes.
func (m *migration) writeThrough(ctx context.Context, cfg *rest.Config, t target, object rewrite.Object) (*etcdscan.KeyValue, error) {
	opts := m.Rewrite
	opts.MaxOutage, opts.Gate, opts.QPS = min(m.MaxOutage, probePatience), nil, 0
	patcher, err := rewrite.NewPatcher(cfg, t.Resource, opts)
	if err != nil {
		return nil, err
	}
	var answer rewrite.Result
	one := func(yield func(rewrite.Object, error) bool) { yield(object, nil) }
	if err := patcher.Run(ctx, one, func(res rewrite.Result) error { answer = res; return nil }); err != nil {
		return nil, err
	}
	if answer.Status != rewrite.Rewritten && answer.Status != rewrite.Unchanged {
		return nil, nil
	}
	m.newest = max(m.newest, answer.Revision)
	kv, found, err := m.Store.Look(ctx, object.Ref)
	if err != nil || !found {
		return nil, err
	}
	if kv.ModRevision < answer.Revision {
		return nil, fmt.Errorf("%w: revision %d of %q is not in it", ErrForeignEtcd, answer.Revision, object.Ref)
	}
	if kv.ModRevision > answer.Revision {
		return nil, nil // written by somebody else since
	}
	return &kv, nil
}

// firstStale is an object that the migration is going to write.
func (m *migration) firstStale() (*target, rewrite.Object, error) {
	for i := range m.targets {
		t := &m.targets[i]
		if t.refused != "" {
			continue
		}
		for object, err := range m.objects(m.report.Before, *t, 0) {
			return t, object, err
		}
	}
	return nil, rewrite.Object{}, nil
}
