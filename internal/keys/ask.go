package keys

import (
	"context"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/node"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/expect"
)

// ask finds out, before etcd is read, whether every apiserver uses this very file and the same keys. What they wrote before they
// did must have arrived when etcd is read.
func (l *look) ask(ctx context.Context) error {
	if l.Config == nil {
		l.doubt("there is no EncryptionConfiguration at hand, so that which key writes is not known")
	}
	if l.APIServers == nil {
		l.doubt("the apiservers were not asked: %s", l.Unasked)
		return nil
	}
	survey, err := l.survey(ctx)
	if err != nil || l.CanRemove == nil {
		return err
	}
	wait := time.Duration(0)
	for _, s := range survey.Distinct() {
		wait = max(wait, l.Settle-l.Now().Sub(s.LoadedAt()))
	}
	wait = min(wait, l.Settle) // an apiserver's clock may be ahead
	if wait <= 0 {
		return nil
	}
	if l.Waiting != nil {
		l.Waiting(wait)
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// askAgain asks once more when etcd was read, as an apiserver may have come or changed meanwhile, and finds out whether this is the
// etcd in which they keep everything.
func (l *look) askAgain(ctx context.Context) error {
	if l.APIServers == nil {
		l.placeResources(nil)
		return nil
	}
	survey, err := l.survey(ctx)
	if err != nil {
		return err
	}
	for i := range l.further {
		f := &l.further[i]
		f.shown = true
		for _, r := range f.Resources {
			f.shown = f.shown && expect.Holds(ctx, l.APIServers, r, l.roots, etcdscan.Payload(f.Store, nil))
		}
	}
	l.placeResources(survey)
	return l.relate(ctx)
}

// survey asks the apiservers. What speaks against a yes at any time does so for good.
func (l *look) survey(ctx context.Context) (*apiservers.Survey, error) {
	q := apiservers.Question{Matter: apiservers.Encryption, KMSKeyIDs: make(map[string]string)}
	if l.Config != nil {
		q.EncryptionConfig = l.Config.Hash
	}
	for provider, key := range l.Current {
		if key.KeyID != "" {
			q.KMSKeyIDs[provider] = encryption.KeyIDHash(key.KeyID)
		}
	}
	survey := apiservers.Ask(ctx, apiservers.Request{Config: l.APIServers, Addresses: l.Addresses, Resources: []schema.GroupResource{}, Flags: true})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	l.met = make(map[string][]string)
	for _, s := range survey.Distinct() {
		for provider, hashes := range s.KMSMet {
			l.met[provider] = append(l.met[provider], hashes...)
		}
	}
	agreement := survey.Agreement(q)
	l.report.APIServers = &agreement
	switch {
	case len(agreement.Disagreements) > 0:
		l.object("not every apiserver uses this very file and its keys: %s", agreement.Summary())
	case agreement.Agree == nil || !*agreement.Agree:
		l.doubt("whether every apiserver uses this very file is not known: %s", agreement.Summary())
	}
	for _, gone := range agreement.Gone {
		l.warn("%s is gone, and counts as no apiserver: should it come back with an older file, it writes with the key of that", gone)
	}
	return survey, nil
}

// placeResources doubts what may lie in an etcd that was not read.
func (l *look) placeResources(survey *apiservers.Survey) {
	overrides, told := slices.Clone(l.Overrides), l.OverridesTold
	problem := "no apiserver was asked"
	if survey != nil {
		servers := survey.Distinct()
		all := len(servers) > 0
		for _, s := range servers {
			if s.Flags == nil {
				all = false
				problem = s.Address + ": /flagz: " + s.FlagsProblem
				continue
			}
			overrides = append(overrides, s.Flags.Overrides...)
			if root := "/" + strings.Trim(s.Flags.Prefix, "/"); !slices.Contains(l.roots, root) {
				l.doubt("the apiserver at %s stores under %s, which was not read", s.Address, root)
			}
		}
		told = told || all
	}
	if !told {
		l.doubt("whether resources live in another etcd (--etcd-servers-overrides) is not known: %s", problem)
	}
	for _, o := range overrides {
		l.placeOverride(o)
	}
	for _, f := range l.further {
		for _, r := range f.Resources {
			if told && !slices.ContainsFunc(overrides, func(o node.Override) bool { return o.Resource == r.String() }) {
				l.warn("another etcd was named for %s, and no apiserver is known to keep them in one: is the resource spelled right?", r)
			}
		}
	}
}

func (l *look) placeOverride(o node.Override) {
	name, group, _ := strings.Cut(o.Resource, ".")
	resource := verify.Resource{Group: group, Name: name}
	if l.Config == nil || len(l.Config.For(group, name)) == 0 {
		return
	}
	for _, f := range l.further {
		if !slices.Contains(f.Resources, resource) {
			continue
		}
		switch {
		case f.pin.ClusterID == l.pin.ClusterID && f.pin.ClusterID != 0:
			l.doubt("the etcd that was named for %s is the one that was read anyway", resource)
		case f.shown:
		case !o.At(f.Origin.Endpoints):
			l.doubt("the etcd that was named for %s is not shown to be the apiserver's: it has none of the addresses %s, and the verb list on %s would tell", resource, strings.Join(o.Endpoints, ", "), resource)
		case f.objects == 0:
			l.doubt("the etcd that was named for %s holds none of them", resource)
		}
		return
	}
	l.doubt("%s live in another etcd, which was not read: --endpoints-for %s=%s reads it", o.Resource, o.Resource, strings.Join(o.Endpoints, ","))
}

// relate makes sure that this is the etcd of the apiservers.
func (l *look) relate(ctx context.Context) error {
	switch expect.SameStore(ctx, l.APIServers, l.roots, etcdscan.Payload(l.Store, l.Opener), l.Store.Revision) {
	case expect.Foreign:
		return expect.ErrForeignEtcd
	case expect.Alike:
		l.doubt("nothing shows that this etcd is no old copy: the verb list on leases in kube-system would")
	case expect.Copy:
		l.doubt(expect.CopyDoubt)
	case expect.NotTold:
		l.doubt("nothing shows that this etcd is the one of the apiservers: the verb get on namespaces would")
	}
	return nil
}
