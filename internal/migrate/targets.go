package migrate

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/rewrite"
	"github.com/svmctl/svmctl/internal/verify"
)

// chooseTargets takes the resources that were named, or else those in which something stale was found.
func (m *migration) chooseTargets(ctx context.Context) error {
	resources := m.Resources
	if len(resources) == 0 {
		found, err := m.staleResources(ctx)
		if err != nil {
			return err
		}
		resources = found
	}
	for _, r := range resources {
		t := target{Resource: r, name: Name(r)}
		err := m.define(ctx, &t)
		var unchecked *UncheckedError
		switch {
		case errors.As(err, &unchecked) && len(m.Resources) == 0:
			m.refuse(t, err.Error())
		case err != nil:
			return err
		default:
			m.targets = append(m.targets, t)
		}
	}
	m.report.Targets = m.aims()
	return nil
}

func targetOf(e verify.Expectation) Target {
	return Target{Resource: e.Resource.String(), Value: e.Value.String(), Version: e.Version, From: e.From, Reason: e.Declared.Reason}
}

func (m *migration) staleResources(ctx context.Context) ([]rewrite.Resource, error) {
	var found []rewrite.Resource
	seen := make(map[string]bool)
	for _, reason := range m.report.Before.Reasons {
		if !rewritable(reason.Code) || seen[reason.Resource] {
			continue
		}
		seen[reason.Resource] = true
		if name, err := verify.ParseResource(reason.Resource); err == nil && m.wouldDecrypt(name) {
			m.refuse(target{name: name}, fmt.Sprintf("%s would be written in plaintext, as the EncryptionConfiguration has it, and nobody asked for that: svmctl migrate %s --to identity does", name, name))
			continue
		}
		r, err := Resolve(ctx, m.Config, reason.Resource)
		var unknown *rewrite.UnknownResourceError
		var unpatchable *rewrite.UnpatchableError
		if errors.As(err, &unknown) || errors.As(err, &unpatchable) {
			name, parseErr := verify.ParseResource(reason.Resource)
			if parseErr != nil {
				return nil, err
			}
			m.refuse(target{name: name}, err.Error())
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, nil
}

// wouldDecrypt tells whether a rewrite would take encryption away although nobody named that as the target.
func (m *migration) wouldDecrypt(r verify.Resource) bool {
	e, ok := m.Expectations.For(r)
	return ok && e.From == verify.FromConfig && e.Value.Provider == "identity"
}

// refuse keeps a resource out of the migration; what is stale of it stays so, and the verdict tells.
func (m *migration) refuse(t target, why string) {
	t.refused = why
	m.targets = append(m.targets, t)
	m.report.Warnings = append(m.report.Warnings, why)
}

// Name is the name by which a resource is known in etcd, and so to expectations.
func Name(r rewrite.Resource) verify.Resource {
	group, name := key.Canonical(r.Group, r.Resource)
	return verify.Resource{Group: group, Name: name}
}

// Resolve finds the resource that kubectl would take an argument for.
func Resolve(ctx context.Context, cfg *rest.Config, arg string) (rewrite.Resource, error) {
	disco, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return rewrite.Resource{}, fmt.Errorf("resolving resource %q: %w", arg, err)
	}
	return rewrite.Resolve(ctx, disco, arg)
}

// rewritable tells whether a fault is one that a rewrite mends.
func rewritable(code verify.Code) bool {
	switch code {
	case verify.StaleKey, verify.Plaintext, verify.EncryptedUnexpectedly, verify.StaleVersion:
		return true
	}
	return false
}
