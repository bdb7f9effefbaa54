package verify_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/expect"
)

var (
	key1    = encryption.Key{Provider: atrest.AESCBC, Version: "v1", Name: "key1"}
	key2    = encryption.Key{Provider: atrest.AESCBC, Version: "v1", Name: "key2"}
	vaultV1 = encryption.Key{Provider: atrest.KMS, Version: "v1", Name: "vault"}
	again   = encryption.Key{Provider: atrest.AESCBC, Version: "v1", Name: "key2", Twin: 1}
	vault   = encryption.Key{Provider: atrest.KMS, Version: "v2", Name: "vault"}
)

// rule is one entry of a file; keys are those of the file as they are numbered below.
func rule(keys []int, patterns ...encryption.Pattern) encryption.Rule {
	return encryption.Rule{Patterns: patterns, Keys: keys}
}

// allKeys are those that the rules of the tests number.
func allKeys() []encryption.Key {
	return []encryption.Key{key2, key1, encryption.Identity, vault}
}

// seen is an entry of a scan that opened what it could.
type seen struct {
	resource string // with its group
	key      encryption.Key
	keyID    string
	fault    etcdscan.Fault
	obstacle etcdscan.Obstacle
	closed   bool
	twins    int // how many keys of the file bear the name
}

func (s seen) entry(t *testing.T) etcdscan.Entry {
	t.Helper()
	r, err := verify.ParseResource(s.resource)
	if err != nil {
		t.Fatal(err)
	}
	e := etcdscan.Entry{Objects: 1, Group: etcdscan.Group{Root: "/registry", Group: r.Group, Resource: r.Name, AtRest: s.key.AtRest(), Twin: s.key.Twin, Twins: s.twins,
		Fault: s.fault, Obstacle: s.obstacle, Opened: etcdscan.Verified, Authenticated: true, Stored: stored.Type{APIVersion: "v1", Kind: "Thing"}}}
	e.AtRest.KeyID = s.keyID
	if s.closed {
		e.Opened, e.Stored = etcdscan.NotTried, stored.Type{}
	}
	return e
}

func TestConfigured(t *testing.T) {
	secrets, configmaps := encryption.Pattern{Resource: "secrets"}, encryption.Pattern{Resource: "configmaps"}
	rotating := encryption.Configuration{Keys: allKeys(), Rules: []encryption.Rule{rule([]int{0, 1, 2}, secrets)}}
	wide := encryption.Configuration{Keys: allKeys(), Rules: []encryption.Rule{rule([]int{1}, encryption.Pattern{Group: "apps", Resource: "*"}), rule([]int{0, 2}, encryption.Everything)}}
	core := encryption.Configuration{Keys: allKeys(), Rules: []encryption.Rule{rule([]int{0, 2}, encryption.Pattern{Resource: "*"})}}
	kms := encryption.Configuration{Keys: allKeys(), Rules: []encryption.Rule{rule([]int{3}, secrets)}}
	twins := encryption.Configuration{Keys: []encryption.Key{key2, again}, Rules: []encryption.Rule{rule([]int{1, 0}, secrets)}}
	undone := encryption.Configuration{Keys: allKeys(), Rules: []encryption.Rule{rule([]int{2, 0}, secrets)}}
	both := encryption.Configuration{Keys: allKeys(), Rules: []encryption.Rule{rule([]int{0, 2}, secrets, configmaps)}}
	for _, c := range []struct {
		name    string
		config  encryption.Configuration
		current map[string]expect.CurrentKey
		roots   []string
		expect  []string // as given by a person
		seen    []seen
		verdict verify.Verdict
		reasons []string
	}{
		{name: "all under the write key", config: rotating, seen: []seen{{resource: "secrets", key: key2}}, verdict: verify.Complete},
		{name: "stale", config: rotating, seen: []seen{{resource: "secrets", key: key1}}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets"}},
		{name: "plaintext", config: rotating, seen: []seen{{resource: "secrets", key: encryption.Identity}}, verdict: verify.Incomplete, reasons: []string{"Plaintext error secrets"}},
		{
			name: "what no rule covers is plaintext", config: rotating,
			seen:    []seen{{resource: "secrets", key: key2}, {resource: "pods", key: encryption.Identity}, {resource: "configmaps", key: encryption.Identity}},
			verdict: verify.Complete, reasons: []string{"Uncovered info configmaps"},
		},
		{
			name: "and must not be encrypted", config: rotating, seen: []seen{{resource: "secrets", key: key2}, {resource: "pods", key: key2, fault: etcdscan.CannotOpen, obstacle: etcdscan.OtherResource}},
			verdict: verify.Incomplete, reasons: []string{"CannotOpen error pods", "EncryptedUnexpectedly error pods"},
		},
		{
			name: "a group and the rest", config: wide,
			seen:    []seen{{resource: "deployments.apps", key: key1}, {resource: "secrets", key: key2}, {resource: "widgets.example.com", key: key2}},
			verdict: verify.Complete,
		},
		{
			name: "a group under the key of the rest", config: wide, seen: []seen{{resource: "deployments.apps", key: key2}, {resource: "secrets", key: key1}},
			verdict: verify.Incomplete, reasons: []string{"StaleKey error deployments.apps", "StaleKey error secrets"},
		},
		{
			name: "the core group", config: core, seen: []seen{{resource: "secrets", key: key1}, {resource: "deployments.apps", key: encryption.Identity}},
			verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets"},
		},
		{name: "nothing of a wildcard", config: core, seen: []seen{{resource: "deployments.apps", key: encryption.Identity}}, verdict: verify.Complete},
		{
			name: "nothing of a resource that is named", config: both, seen: []seen{{resource: "secrets", key: key2}},
			verdict: verify.Indeterminate, reasons: []string{"NothingFound warning configmaps"},
		},
		{
			name: "under the key, with other material", config: rotating,
			seen:    []seen{{resource: "secrets", key: key2}, {resource: "secrets", key: key2, fault: etcdscan.CannotOpen, obstacle: etcdscan.OtherMaterial, closed: true}},
			verdict: verify.Incomplete, reasons: []string{"CannotOpen error secrets"},
		},
		{
			name: "nobody could look", config: kms, current: map[string]expect.CurrentKey{"vault": {KeyID: "kek-1"}},
			seen:    []seen{{resource: "secrets", key: vault, keyID: "kek-1", fault: etcdscan.CannotOpen, obstacle: etcdscan.PluginSilent, closed: true}},
			verdict: verify.Indeterminate, reasons: []string{"CannotOpen warning secrets"},
		},
		{
			name: "the plugin's key", config: kms, current: map[string]expect.CurrentKey{"vault": {KeyID: "kek-1"}},
			seen: []seen{{resource: "secrets", key: vault, keyID: "kek-1"}}, verdict: verify.Complete,
		},
		{
			name: "the plugin's key has changed", config: kms, current: map[string]expect.CurrentKey{"vault": {KeyID: "kek-2"}},
			seen: []seen{{resource: "secrets", key: vault, keyID: "kek-1"}}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets"},
		},
		{
			name: "the plugin's key is not known", config: kms, current: map[string]expect.CurrentKey{"vault": {Unknown: "the KMS plugin does not answer"}},
			seen: []seen{{resource: "secrets", key: vault, keyID: "kek-1"}}, verdict: verify.Indeterminate, reasons: []string{"UnknownKeyID warning secrets"},
		},
		{name: "the plugin was not asked", config: kms, seen: []seen{{resource: "secrets", key: vault, keyID: "kek-1"}}, verdict: verify.Indeterminate, reasons: []string{"UnknownKeyID warning secrets"}},
		{
			name: "another apiserver's root", config: rotating, roots: []string{"/kubernetes.io"}, seen: []seen{{resource: "secrets", key: key1}, {resource: "routes.route.openshift.io", key: key1}},
			verdict: verify.Complete,
		},
		{name: "the apiserver's own root", config: rotating, roots: []string{"/registry"}, seen: []seen{{resource: "secrets", key: key1}}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets"}},
		{name: "closed", config: rotating, seen: []seen{{resource: "secrets", key: key2, closed: true}}, verdict: verify.Complete, reasons: []string{"NotOpened info "}},
		{name: "the second of two keys of one name writes", config: twins, seen: []seen{{resource: "secrets", key: again, twins: 2}}, verdict: verify.Complete},
		{
			name: "also where a person names it", config: twins, expect: []string{"secrets=aescbc:key2"}, seen: []seen{{resource: "secrets", key: again, twins: 2}, {resource: "secrets", key: key2, twins: 2}},
			verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets"},
		},
		{
			name: "or for everything", config: twins, expect: []string{"*=aescbc:key2"}, seen: []seen{{resource: "secrets", key: key2, twins: 2}},
			verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets"},
		},
		{
			name: "where the file has another write", config: twins, expect: []string{"configmaps=aescbc:key2"}, seen: []seen{{resource: "secrets", key: again, twins: 2}, {resource: "configmaps", key: key2, twins: 2}},
			verdict: verify.Indeterminate, reasons: []string{"AmbiguousKey warning configmaps"},
		},
		{
			name: "KMS v1 where the file writes with v2", config: kms, current: map[string]expect.CurrentKey{"vault": {KeyID: "kek-2"}},
			seen: []seen{{resource: "secrets", key: vaultV1}}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets"},
		},
		{
			name: "also where the plugin is silent", config: kms, current: map[string]expect.CurrentKey{"vault": {Unknown: "the KMS plugin does not answer"}},
			seen: []seen{{resource: "secrets", key: vaultV1}}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets"},
		},
		{name: "and the first is stale", config: twins, seen: []seen{{resource: "secrets", key: key2, twins: 2}}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets"}},
		{name: "which nobody can tell unopened", config: twins, seen: []seen{{resource: "secrets", key: key2, closed: true, twins: 2}}, verdict: verify.Indeterminate, reasons: []string{"AmbiguousKey warning secrets", "NotOpened info "}},
		{name: "identity first", config: undone, seen: []seen{{resource: "secrets", key: key2}}, verdict: verify.Incomplete, reasons: []string{"EncryptedUnexpectedly error secrets"}},
		{
			name: "a person outweighs the file", config: rotating, expect: []string{"secrets=aescbc:key1"}, seen: []seen{{resource: "secrets", key: key1}},
			verdict: verify.Complete,
		},
		{
			name: "also for everything", config: rotating, expect: []string{"*=encrypted"}, seen: []seen{{resource: "secrets", key: key1}, {resource: "pods", key: encryption.Identity}},
			verdict: verify.Incomplete, reasons: []string{"Plaintext error pods"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			given, err := verify.ParseExpectations(c.expect, nil)
			if err != nil {
				t.Fatal(err)
			}
			var entries []etcdscan.Entry
			for _, s := range c.seen {
				entries = append(entries, s.entry(t))
			}
			verdict, reasons := given.WithConfigured(expect.Configured(&c.config, c.current, c.roots)).Check(verify.Evidence{Entries: entries})
			var got []string
			for _, r := range reasons {
				got = append(got, fmt.Sprintf("%s %s %s", r.Code, r.Severity, r.Resource))
			}
			slices.Sort(got)
			if verdict != c.verdict || !slices.Equal(got, c.reasons) {
				t.Errorf("%s with %q, want %s with %q", verdict, got, c.verdict, c.reasons)
			}
		})
	}
}

func TestWildcardResources(t *testing.T) {
	for text, want := range map[string]verify.Resource{
		"*": verify.AnyResource, "*.*": verify.AnyResource, "*.": {Name: "*"}, "*.apps": {Group: "apps", Name: "*"},
	} {
		if r, err := verify.ParseResource(text); err != nil || r != want {
			t.Errorf("%q: %v %v", text, r, err)
		}
	}
	for r, covered := range map[verify.Resource][3]bool{
		verify.AnyResource: {true, true, true}, {Name: "*"}: {true, false, false}, {Group: "apps", Name: "*"}: {false, true, false}, {Name: "secrets"}: {true, false, false},
	} {
		for i, other := range []verify.Resource{{Name: "secrets"}, {Group: "apps", Name: "deployments"}, {Group: "example.com", Name: "widgets"}} {
			if r.Covers(other) != covered[i] {
				t.Errorf("%s covers %s: %t", r, other, !covered[i])
			}
		}
	}
}

// TestCandidateWhosePluginIsSilent has no object that it could not read, and could not be loaded.
func TestCandidateWhosePluginIsSilent(t *testing.T) {
	config := encryption.Configuration{Keys: []encryption.Key{vault, encryption.Identity}, Rules: []encryption.Rule{rule([]int{0, 1}, encryption.Pattern{Resource: "secrets"})}}
	entries := []etcdscan.Entry{seen{resource: "secrets", key: encryption.Identity}.entry(t)}
	for _, c := range []struct {
		current expect.CurrentKey
		want    verify.Verdict
	}{{expect.CurrentKey{KeyID: "kek-1"}, verify.Complete}, {expect.CurrentKey{Unknown: "the KMS plugin does not answer"}, verify.Indeterminate}} {
		es := verify.Expectations(nil).WithConfigured(expect.Candidate(&config, map[string]expect.CurrentKey{"vault": c.current}, nil))
		if verdict, reasons := es.Check(verify.Evidence{Entries: entries}); verdict != c.want {
			t.Errorf("%+v: %s, want %s: %+v", c.current, verdict, c.want, reasons)
		}
	}
}

// TestCandidate judges a file: what it could not read is wrong with it, and what it would write otherwise is not.
func TestCandidate(t *testing.T) {
	config := encryption.Configuration{Keys: allKeys(), Rules: []encryption.Rule{rule([]int{0, 2}, encryption.Pattern{Resource: "secrets"})}}
	lost := seen{resource: "secrets", key: key1, fault: etcdscan.CannotOpen, obstacle: etcdscan.NoSuchKey}
	for _, c := range []struct {
		name    string
		seen    seen
		already bool
		verdict verify.Verdict
		reasons []string
	}{
		{name: "as it is", seen: seen{resource: "secrets", key: key2}, verdict: verify.Complete},
		{name: "written otherwise", seen: seen{resource: "secrets", key: encryption.Identity}, verdict: verify.Complete, reasons: []string{"CandidateRewrites info secrets"}},
		{name: "not read any more, and so not written either", seen: lost, verdict: verify.Incomplete, reasons: []string{"CandidateCannotRead error secrets"}},
		{name: "not read now either", seen: lost, already: true, verdict: verify.Indeterminate, reasons: []string{"CandidateCannotRead warning secrets"}},
		{name: "nobody could look", seen: seen{resource: "secrets", key: key2, fault: etcdscan.CannotOpen, obstacle: etcdscan.PluginSilent, closed: true}, verdict: verify.Indeterminate, reasons: []string{"CandidateCannotRead warning secrets"}},
		{name: "nobody tried", seen: seen{resource: "secrets", key: key2, closed: true}, verdict: verify.Indeterminate, reasons: []string{"CandidateCannotRead warning secrets", "NotOpened info "}},
		{name: "a resource that is not covered", seen: seen{resource: "pods", key: key2, fault: etcdscan.CannotOpen, obstacle: etcdscan.OtherResource}, verdict: verify.Incomplete, reasons: []string{"CandidateCannotRead error pods"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := c.seen.entry(t)
			e.Already = c.already
			entries := []etcdscan.Entry{e, seen{resource: "secrets", key: key2}.entry(t)}
			verdict, reasons := verify.Expectations(nil).WithConfigured(expect.Candidate(&config, nil, nil)).Check(verify.Evidence{Entries: entries})
			var got []string
			for _, r := range reasons {
				got = append(got, fmt.Sprintf("%s %s %s", r.Code, r.Severity, r.Resource))
			}
			slices.Sort(got)
			if verdict != c.verdict || !slices.Equal(got, c.reasons) {
				t.Errorf("%s with %q, want %s with %q", verdict, got, c.verdict, c.reasons)
			}
		})
	}
}
