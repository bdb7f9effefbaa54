package migrate

import (
	"context"
	"errors"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/rewrite"
	"github.com/svmctl/svmctl/internal/storedversions"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/expect"
)

// relate makes sure that this etcd is the one of this apiserver where no write has shown it: that nothing is stale in the etcd of
// another cluster says nothing about this one. Where it cannot be told, there is no Complete.
func (m *migration) relate(ctx context.Context) error {
	if m.related || m.newest > 0 || m.DryRun == ClientDryRun {
		return nil
	}
	kin, err := m.kinship(ctx)
	if err != nil {
		return err
	}
	doubt := ""
	switch kin {
	case expect.Same:
		m.related = true
	case expect.Alike:
		doubt = expect.AlikeDoubt
	case expect.Copy:
		doubt = expect.CopyDoubt
	case expect.Foreign:
		return ErrForeignEtcd
	case expect.NotTold:
		if m.report.Before.Totals.Keys > 0 {
			doubt = "nothing shows that this etcd is the one of this apiserver: the verb get on namespaces, or patch on the resource, would"
		}
	}
	if doubt != "" {
		m.report.Reasons = append(m.report.Reasons, audit.Reason{Code: verify.NotConfirmed, Severity: verify.Warning, Message: doubt})
	}
	return nil
}

// kinship finds out whose etcd this is: by a definition, by the namespace of the system, or by a patch that is only tried.
func (m *migration) kinship(ctx context.Context) (expect.Kinship, error) {
	roots := m.report.Before.Roots
	for _, t := range m.targets {
		if t.definition == nil {
			continue
		}
		d, err := m.Definitions.Get(ctx, t.definition.Name)
		if err != nil {
			continue
		}
		_, _, err = storedversions.Locate(ctx, m.Store, roots, d)
		switch {
		case err == nil:
			return expect.Fresh(ctx, m.Config, m.Store.Revision), nil
		case errors.Is(err, storedversions.ErrForeignEtcd):
			return expect.Foreign, nil
		}
	}
	if kin := expect.SameStore(ctx, m.Config, roots, etcdscan.Payload(m.Store, m.Opener), m.Store.Revision); kin != expect.NotTold {
		return kin, nil
	}
	kin, err := m.kinshipByPatch(ctx)
	if kin == expect.Alike {
		kin = expect.Fresh(ctx, m.Config, m.Store.Revision)
	}
	return kin, err
}

func (m *migration) modRevision(ctx context.Context, k string) (int64, bool, error) {
	kv, found, err := m.Store.Look(ctx, k)
	return kv.ModRevision, found, err
}

// kinshipByPatch has the apiserver try a patch of one object as etcd has it: the verb that a migration has anyway.
func (m *migration) kinshipByPatch(ctx context.Context) (expect.Kinship, error) {
	for _, t := range m.targets {
		if t.refused != "" {
			continue
		}
		found, kv, err := m.firstObject(ctx, t.Resource)
		if err != nil {
			continue // none in etcd: whether the API has any was asked when that was judged
		}
		object := key.Parse(found.root, kv.Key)
		opts := m.Rewrite
		opts.DryRun, opts.MaxOutage, opts.Gate, opts.QPS, opts.Subresource = true, conversionPatience, nil, 0, ""
		patcher, err := rewrite.NewPatcher(m.Config, t.Resource, opts)
		if err != nil {
			return expect.NotTold, err
		}
		one := func(yield func(rewrite.Object, error) bool) {
			yield(rewrite.Object{Namespace: object.Namespace, Name: object.Name, Revision: kv.ModRevision}, nil)
		}
		var answer rewrite.Result
		if err := patcher.Run(ctx, one, func(res rewrite.Result) error { answer = res; return nil }); err != nil || answer.Status == rewrite.Failed {
			break
		}
		if now, _, err := m.modRevision(ctx, kv.Key); err != nil || now != kv.ModRevision {
			break // written meanwhile
		}
		if answer.Status != rewrite.Accepted && len(m.report.Before.Roots) > 1 {
			break // it may be another control plane's in the same etcd
		}
		if answer.Status != rewrite.Accepted {
			return expect.Foreign, nil
		}
		return expect.Alike, nil
	}
	return expect.NotTold, nil
}
