package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/expect"
)

// UncheckedError refuses a resource of which nobody can tell what a rewrite would drop.
type UncheckedError struct {
	Resource string
	Err      error
}

func (e *UncheckedError) Error() string {
	if errors.Is(e.Err, crd.ErrNotFound) {
		return fmt.Sprintf("migrating %s: no CustomResourceDefinition declares it, so that nobody can tell which fields a rewrite would drop", e.Resource)
	}
	return fmt.Sprintf("migrating %s: its CustomResourceDefinition, which tells what a rewrite would drop, could not be read: %v", e.Resource, e.Err)
}

func (e *UncheckedError) Unwrap() error { return e.Err }

// VersionError tells that a version was expected that the definition does not have, so that nothing could be stored at it.
type VersionError struct {
	Resource, Version string
	Readable          []string // the apiVersions that it has
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("migrating %s: its CustomResourceDefinition has no %s", e.Resource, e.Version)
}

// Custom tells whether a resource is one that a CustomResourceDefinition has to declare.
func Custom(r verify.Resource) bool { return !key.Builtin(r.Group, r.Name) }

// declare adds to what is expected at which versions the API stores things: of everything with AllStale, else of the custom
// resources that were named without another target.
func (m *migration) declare(ctx context.Context) error {
	if m.AllStale {
		m.Progress.begin("asking for the storage versions")
		declared, gaps, err := expect.Declared(ctx, m.Config, m.Definitions.All(ctx))
		if err != nil {
			return err
		}
		m.report.Warnings = append(m.report.Warnings, gaps...)
		m.Expectations = m.Expectations.With(declared)
		return nil
	}
	var declared verify.Expectations
	for _, r := range m.Resources {
		name := Name(r)
		want, _ := m.Expectations.For(name)
		if !Custom(name) || want.Value != (verify.Value{}) && want.Version == "" && want.From != verify.FromConfig {
			continue
		}
		d, err := m.Definitions.Get(ctx, name.String())
		if err != nil {
			return &UncheckedError{Resource: name.String(), Err: err}
		}
		e := expect.Custom(d)
		if want.Version != "" && !slices.Contains(e.Declared.Readable, want.Version) {
			return &VersionError{Resource: name.String(), Version: want.Version, Readable: e.Declared.Readable}
		}
		e.Declared.Named = true
		declared = append(declared, e)
	}
	m.Expectations = m.Expectations.With(declared)
	return nil
}

// define gives a custom resource its definition, and the version through which its objects are patched: one conversion
// less, and the schema that prunes is the one that was looked at.
func (m *migration) define(ctx context.Context, t *target) error {
	if !Custom(t.name) {
		if !strings.Contains(t.name.Group, ".") {
			return nil // no CustomResourceDefinition can have such a group
		}
		if _, err := m.Definitions.Get(ctx, t.name.String()); err == nil {
			return &UncheckedError{Resource: t.name.String(), Err: errors.New("it bears the name of one of Kubernetes' own resources")}
		}
		return nil
	}
	d, err := m.Definitions.Get(ctx, t.name.String())
	if err != nil {
		return &UncheckedError{Resource: t.name.String(), Err: err}
	}
	if d.Through() == "" {
		return &UncheckedError{Resource: t.name.String(), Err: errors.New("it serves no version")}
	}
	t.definition = d
	t.Resource = t.Resource.At(d.Through())
	t.Kind, t.Custom = d.Kind, true
	return nil
}

// migrates tells whether a resource, by its name in etcd, is among those that are written again.
func (m *migration) migrates(resource string) bool {
	return slices.ContainsFunc(m.targets, func(t target) bool { return t.name.String() == resource && t.refused == "" })
}

// aims lists what the targets are to become.
func (m *migration) aims() []Target {
	aims := []Target{}
	for _, e := range m.Expectations {
		if m.migrates(e.Resource.String()) || !e.Declared.Asked || e.Declared.Named {
			if whole, ok := m.Expectations.For(e.Resource); ok && e.Resource != verify.AnyResource {
				e.Value = whole.Value // also where '*' gives it
			}
			aims = append(aims, targetOf(e))
		}
	}
	return aims
}
