package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/rewrite"
	"github.com/svmctl/svmctl/internal/verify"
)

// ErrProbedIdentity refuses to take plaintext for a target because an apiserver happens to write it.
var ErrProbedIdentity = errors.New("the apiserver writes plaintext at present, and plaintext is no target that is taken unasked")

// probeTargets finds a target for each resource that has none: one object is patched and read back from etcd, which
// tells what this apiserver writes now. That proposes; it does not decide.
func (m *migration) probeTargets(ctx context.Context) error {
	for _, r := range m.Resources {
		name := Name(r)
		if _, ok := m.Expectations.For(name); ok {
			continue
		}
		if stop := m.disagreement(); stop != nil {
			return stop // before anything is written to find out what one of them writes
		}
		value, err := m.probe(ctx, r)
		if err != nil {
			return fmt.Errorf("probing what the apiserver writes for %s: %w", name, err)
		}
		m.Expectations = append(m.Expectations, verify.Expectation{Resource: name, Value: value, From: verify.FromProbe})
	}
	return nil
}

func (m *migration) probe(ctx context.Context, r rewrite.Resource) (verify.Value, error) {
	t, kv, err := m.firstObject(ctx, r)
	if err != nil {
		return verify.Value{}, err
	}
	object := key.Parse(t.root, kv.Key)
	if err := m.checkRoom(ctx); err != nil {
		return verify.Value{}, err
	}
	if err := m.ProbeConsent(ctx, r, object.Namespace, object.Name); err != nil {
		return verify.Value{}, err
	}
	if err := m.saveSnapshot(ctx); err != nil {
		return verify.Value{}, err
	}
	patcher, err := rewrite.NewPatcher(m.Config, r, rewrite.Options{MaxOutage: m.MaxOutage})
	if err != nil {
		return verify.Value{}, err
	}
	var answer rewrite.Result
	one := func(yield func(rewrite.Object, error) bool) {
		yield(rewrite.Object{Namespace: object.Namespace, Name: object.Name, Revision: kv.ModRevision}, nil)
	}
	if err := patcher.Run(ctx, one, func(res rewrite.Result) error { answer = res; return nil }); err != nil {
		return verify.Value{}, err
	}
	if answer.Status != rewrite.Rewritten && answer.Status != rewrite.Unchanged {
		if answer.Failure != nil {
			return verify.Value{}, answer.Failure
		}
		return verify.Value{}, fmt.Errorf("%q changed meanwhile, or lies in another etcd; try again", kv.Key)
	}
	written, found, err := m.Store.Look(ctx, kv.Key)
	switch {
	case err != nil:
		return verify.Value{}, err
	case !found || written.ModRevision != answer.Revision:
		return verify.Value{}, fmt.Errorf("%w: revision %d of %q is not in it", ErrForeignEtcd, answer.Revision, kv.Key)
	}
	entry := etcdscan.Inspect(ctx, t.root, &written, m.Opener)
	switch {
	case entry.AtRest.Provider == atrest.Identity:
		return verify.Value{}, ErrProbedIdentity
	case entry.AtRest.Provider == atrest.Unknown, len(entry.Candidates()) > 1:
		return verify.Value{}, fmt.Errorf("%q does not show which key it is under", kv.Key)
	}
	return verify.Value{Provider: string(entry.AtRest.Provider), Key: entry.AtRest.Key, KeyID: entry.AtRest.KeyID}, nil
}

// firstObject is the first object of a resource that lies in the scope.
func (m *migration) firstObject(ctx context.Context, r rewrite.Resource) (target, etcdscan.KeyValue, error) {
	roots, err := etcdscan.Roots(ctx, m.Store, 0)
	if err != nil {
		return target{}, etcdscan.KeyValue{}, err
	}
	scope := etcdscan.NewScope(m.Prefixes, roots)
	for _, root := range scope.Roots {
		dir := root + "/" + key.DirIn(root, r.Group, r.Resource)
		for _, part := range m.within(dir) {
			k, found, err := m.Store.First(ctx, part, 0)
			if err != nil {
				return target{}, etcdscan.KeyValue{}, err
			}
			if !found {
				continue
			}
			kv, found, err := m.Store.Look(ctx, k)
			if err == nil && found {
				return target{Resource: r, root: root}, kv, nil
			}
			if err != nil {
				return target{}, etcdscan.KeyValue{}, err
			}
		}
	}
	return target{}, etcdscan.KeyValue{}, fmt.Errorf("etcd holds no %s", r.Resource)
}

// within is the part of a directory that the prefixes of the request reach; all of it without prefixes.
func (m *migration) within(dir string) []etcdscan.Range {
	if len(m.Prefixes) == 0 {
		return []etcdscan.Range{etcdscan.Prefix(dir)}
	}
	var parts []etcdscan.Range
	for _, r := range etcdscan.NewScope(m.Prefixes, nil).Ranges {
		switch {
		case strings.HasPrefix(r.Start, dir):
			parts = append(parts, r)
		case strings.HasPrefix(dir, r.Start):
			parts = append(parts, etcdscan.Prefix(dir))
		}
	}
	return parts
}
