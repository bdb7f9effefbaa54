package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/migrate"
	"github.com/svmctl/svmctl/internal/rewrite"
	"github.com/svmctl/svmctl/internal/verify"
)

// migrateFlags are those of migrate that decide what is done to what.
type migrateFlags struct {
	to                         string
	expected, expectedVersions []string
	backend, dryRun            string
	subresource                string
	allStale                   bool
	configured                 bool // there is an EncryptionConfiguration
	yes                        bool
}

// intent is what the flags ask for, once they are known to make sense.
type intent struct {
	to           verify.Value
	expectations verify.Expectations
	backend      migrate.Backend
	dryRun       migrate.DryRun
	allStale     bool
	yes          bool
}

func (f migrateFlags) check(args []string, canAsk bool) (intent, error) {
	var in intent
	var err error
	if in.expectations, err = verify.ParseExpectations(f.expected, f.expectedVersions); err != nil {
		return in, usageError(err)
	}
	if f.to != "" {
		if in.to, err = verify.ParseValue(f.to); err != nil {
			return in, usageError(fmt.Errorf("--to %w", err))
		}
		if in.to.Provider == verify.Encrypted || (in.to.Key == "" && in.to.Provider != "identity") {
			return in, usageError(fmt.Errorf("--to %s: name the key that is to encrypt, such as aescbc:key2", f.to))
		}
		if len(args) == 0 {
			return in, usageError(errors.New("--to needs a RESOURCE"), "svmctl migrate secrets --to "+f.to)
		}
	}
	for _, e := range in.expectations {
		// An expectation may come from an audit's command line; to take encryption away is asked for by name.
		if e.Value.Provider == "identity" && in.to.Provider != "identity" {
			return in, usageError(fmt.Errorf("--expect %s=identity would have plaintext written, which only --to identity asks for", e.Resource),
				fmt.Sprintf("svmctl migrate %s --to identity", e.Resource))
		}
	}
	switch in.backend = migrate.Backend(f.backend); in.backend {
	case migrate.Patch, migrate.SVM:
	default:
		return in, usageError(fmt.Errorf("--backend is patch or svm, not %q", f.backend))
	}
	switch f.dryRun {
	case "none":
	case string(migrate.ClientDryRun), string(migrate.ServerDryRun):
		in.dryRun = migrate.DryRun(f.dryRun)
	default:
		return in, usageError(fmt.Errorf("--dry-run is none, client or server, not %q", f.dryRun))
	}
	if f.subresource != "" && f.subresource != "status" {
		return in, usageError(fmt.Errorf("--subresource is status, not %q", f.subresource))
	}
	if f.subresource != "" && in.backend == migrate.SVM {
		return in, usageError(errors.New("the in-tree controller patches the object itself: --subresource goes with --backend patch alone"))
	}
	if in.dryRun == migrate.ServerDryRun && in.backend == migrate.SVM {
		return in, usageError(errors.New("--dry-run=server tries patches: it goes with --backend patch alone"))
	}
	in.allStale, in.yes = f.allStale, f.yes
	for _, arg := range args {
		// What is no resource of Kubernetes' own by this name is judged once discovery has resolved it.
		if r, err := verify.ParseResource(arg); err == nil && f.to == "" && !f.configured && !migrate.Custom(r) {
			if err := in.targetOf(r, in.expectations); err != nil {
				return in, err
			}
		}
	}
	switch {
	case f.allStale && len(args) > 0:
		return in, usageError(errors.New("--all-stale-versions takes every resource: name none"))
	case len(args) == 0 && len(in.expectations) == 0 && !f.allStale && !f.configured:
		return in, usageError(errors.New("name a RESOURCE, what is expected, or an EncryptionConfiguration"), "svmctl migrate secrets --to aescbc:key2")
	case in.dryRun == migrate.NoDryRun && !f.yes && !canAsk:
		return in, usageError(errors.New("there is no terminal to ask on"), "--yes goes on without asking; --dry-run shows the plan")
	}
	return in, nil
}

// checkTarget tells whether what is still to be found out may be found out: the definition of a custom resource names its
// version, anything else is seen in what an apiserver writes.
func (in intent) checkTarget(resources []rewrite.Resource, expectations verify.Expectations) error {
	for _, r := range resources {
		if err := in.targetOf(migrate.Name(r), expectations); err != nil {
			return err
		}
	}
	return nil
}

func (in intent) targetOf(r verify.Resource, expectations verify.Expectations) error {
	_, known := expectations.For(r)
	switch {
	case known || migrate.Custom(r):
		return nil
	case in.dryRun != migrate.NoDryRun:
		return usageError(errors.New("a dry run writes nothing, and so it cannot find out the target"), "name it with --to or --expect")
	case in.yes:
		return usageError(errors.New("--yes needs a target that somebody named"), "name it with --to or --expect")
	}
	return nil
}

// resolve finds what the arguments name and what is expected of it: by a person, or else by the EncryptionConfiguration.
func resolve(ctx context.Context, cfg *rest.Config, args []string, in intent, unlocked *unlocked) ([]rewrite.Resource, verify.Expectations, error) {
	if len(args) == 0 {
		return nil, unlocked.expected(in.expectations), nil
	}
	configured := unlocked.expected(nil)
	var resources []rewrite.Resource
	var expectations verify.Expectations
	for _, arg := range args {
		r, err := migrate.Resolve(ctx, cfg, arg)
		var unknown *rewrite.UnknownResourceError
		if errors.As(err, &unknown) {
			return nil, nil, &exitError{code: exitUsage, err: err}
		}
		if err != nil {
			return nil, nil, err
		}
		name := migrate.Name(r)
		if slices.ContainsFunc(resources, func(seen rewrite.Resource) bool { return migrate.Name(seen) == name }) {
			continue
		}
		e, known := in.expectations.For(name)
		if in.to != (verify.Value{}) {
			if e.Value != (verify.Value{}) && e.Value != in.to {
				return nil, nil, usageError(fmt.Errorf("%s is to become %s and is expected as %s", name, in.to, e.Value))
			}
			e.Value, e.From, known = in.to, verify.FromFlag, true
		}
		e.Resource = name
		e = e.Meant(configured)
		if c, ok := configured.For(name); ok && e.Value == (verify.Value{}) && !c.Configured.Uncovered {
			if c.Value.Provider == "identity" {
				return nil, nil, usageError(fmt.Errorf("%s would be written in plaintext, as the EncryptionConfiguration has it", name),
					fmt.Sprintf("svmctl migrate %s --to identity, if that is what you want", name))
			}
			e.Value, e.From, e.Configured, known = c.Value, c.From, c.Configured, true
		}
		resources = append(resources, r)
		if known {
			expectations = append(expectations, e)
		}
	}
	for _, e := range in.expectations {
		named := slices.ContainsFunc(resources, func(r rewrite.Resource) bool { return migrate.Name(r) == e.Resource })
		if !named && e.Resource != verify.AnyResource {
			return nil, nil, usageError(fmt.Errorf("%s is expected and not named to be migrated", e.Resource), "name every RESOURCE, or none: then all that is expected is migrated")
		}
	}
	for _, r := range resources {
		if _, known := expectations.For(migrate.Name(r)); !known && !migrate.Custom(migrate.Name(r)) && len(in.expectations) > 0 {
			return nil, nil, usageError(errors.New("not every RESOURCE has a target"), "name it with --to or --expect")
		}
	}
	return resources, expectations, nil
}
