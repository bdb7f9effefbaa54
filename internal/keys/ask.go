package keys

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
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
	if err != nil {
		return err
	}
	wait := time.Duration(0)
	l.loaded = make(map[string]time.Time)
	for _, s := range survey.Distinct() {
		l.loaded[cmp.Or(s.ID, s.Address)] = s.LoadedAt()
		if left := l.Settle - s.Steady(); left > 0 && l.CanRemove == nil {
			l.doubt("the apiserver at %s writes as it does for less than %s, and what it encrypted before may be on its way: --can-remove waits for it", s.Address, l.Settle)
		} else {
			wait = max(wait, left)
		}
	}
	return l.await(ctx, wait)
}

// await lets writes arrive that may be under way.
func (l *look) await(ctx context.Context, wait time.Duration) error {
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
	for _, s := range survey.Distinct() {
		switch before, known := l.loaded[cmp.Or(s.ID, s.Address)]; {
		case !known:
			l.doubt("the apiserver at %s came while etcd was read, and may have written before it had this file", s.Address)
		case !before.Equal(s.LoadedAt()):
			l.doubt("the apiserver at %s changed what it writes while etcd was read", s.Address)
		}
	}
	for i := range l.further {
		f := &l.further[i]
		f.shown = true
		for _, r := range f.Resources {
			f.shown = f.shown && expect.Holds(ctx, l.APIServers, r, l.roots, etcdscan.Payload(f.Store, nil), f.Store.Revision)
		}
	}
	l.placeResources(survey)
	return l.relate(ctx)
}

// survey asks the apiservers. What speaks against a yes at any time does so for good.
func (l *look) survey(ctx context.Context) (*apiservers.Survey, error) {
	q := apiservers.Question{Matter: apiservers.Encryption, KMSKeyIDs: make(map[string]string)}
	if l.Config != nil {
		q.EncryptionConfig, q.KMSProviders = l.Config.Hash, []string{}
		for i, k := range l.Config.Keys {
			if k.Provider == atrest.KMS && len(l.Config.WrittenWith(i)) > 0 {
				q.KMSProviders = append(q.KMSProviders, k.Name)
			}
		}
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
		l.placeOverride(o, slices.ContainsFunc(overrides, func(other node.Override) bool { return other.Resource == o.Resource && !other.At(o.Endpoints) }))
	}
	for _, f := range l.further {
		for _, r := range f.Resources {
			if told && !slices.ContainsFunc(overrides, func(o node.Override) bool { return o.Resource == r.String() }) {
				l.warn("another etcd was named for %s, and no apiserver is known to keep them in one: is the resource spelled right?", r)
			}
		}
	}
}

// placeOverride doubts a resource unless one of the etcds that were read is the one in which it lies. Where apiservers keep it in
// several, what one of them lists shows nothing of the others'.
func (l *look) placeOverride(o node.Override, several bool) {
	resource, err := verify.ParseResource(o.Resource)
	if err != nil || l.Config == nil || len(l.Config.For(resource.Group, resource.Name)) == 0 {
		return
	}
	doubt := fmt.Sprintf("%s live in another etcd, which was not read: --endpoints-for %s=%s reads it", o.Resource, o.Resource, strings.Join(o.Endpoints, ","))
	for _, f := range l.further {
		if !slices.Contains(f.Resources, resource) {
			continue
		}
		switch {
		case f.pin.ClusterID == l.pin.ClusterID && f.pin.ClusterID != 0:
			doubt = fmt.Sprintf("the etcd that was named for %s is the one that was read anyway", resource)
		case f.shown && !several:
			return
		case !o.At(f.Origin.Endpoints):
			doubt = fmt.Sprintf("the etcd that was named for %s is not shown to be the apiserver's: it has none of the addresses %s, and the verb list on %s would tell", resource, strings.Join(o.Endpoints, ", "), resource)
		case f.objects == 0:
			doubt = fmt.Sprintf("the etcd that was named for %s holds none of them", resource)
		default:
			return
		}
	}
	l.doubt("%s", doubt)
}

// relate makes sure that this is the etcd of the apiservers.
func (l *look) relate(ctx context.Context) error {
	switch expect.SameStore(ctx, l.APIServers, l.roots, etcdscan.Payload(l.Store, l.Opener), l.Store.Revision) {
	case expect.Foreign:
		return expect.ErrForeignEtcd
	case expect.Alike:
		l.doubt(expect.AlikeDoubt)
	case expect.Copy:
		l.doubt(expect.CopyDoubt)
	case expect.NotTold:
		l.doubt("nothing shows that this etcd is the one of the apiservers: the verb get on namespaces would")
	}
	return nil
}
