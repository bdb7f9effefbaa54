package expect

import (
	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
)

// CurrentKey is the key that a KMS v2 plugin encrypts with, as it says itself.
type CurrentKey struct {
	KeyID   string // as atrest.ShowKeyID writes it; empty if it is not known
	Unknown string // why not, in fixed words
}

// Configured is what an EncryptionConfiguration expects: each resource under the key that writes it, and what no rule covers in
// plaintext. Current has the keys of the KMS v2 plugins, by the names of their providers. Roots are the storage roots of the
// apiserver that has the file; none: all.
func Configured(c *encryption.Configuration, current map[string]CurrentKey, roots []string) verify.Expectations {
	var es verify.Expectations
	everything := false
	for _, p := range c.Patterns() {
		everything = everything || p == encryption.Everything
		e := verify.Expectation{Resource: verify.Resource{Group: p.Group, Name: p.Resource}, From: verify.FromConfig}
		e.Value, e.Configured = written(c, c.Writes(p.Group, p.Resource), current)
		es = append(es, e)
	}
	if !everything {
		es = append(es, verify.Expectation{Resource: verify.AnyResource, From: verify.FromConfig, Value: verify.Value{Provider: string(atrest.Identity)},
			Configured: verify.Configured{Asked: true, Uncovered: true}})
	}
	for i := range es {
		es[i].Configured.Roots = roots
	}
	return es
}

// Candidate is what an EncryptionConfiguration that is not in force yet would expect.
func Candidate(c *encryption.Configuration, current map[string]CurrentKey, roots []string) verify.Expectations {
	es := Configured(c, current, roots)
	for i := range es {
		es[i].Configured.Candidate = true
	}
	return es
}

func written(c *encryption.Configuration, k encryption.Key, current map[string]CurrentKey) (verify.Value, verify.Configured) {
	v := verify.Value{Provider: string(k.Provider), Key: k.Name}
	configured := verify.Configured{Asked: true, Writes: true, Twin: k.Twin, Version: k.Version}
	if k.Provider == atrest.KMS && k.Version == atrest.V2 {
		now := current[k.Name]
		if v.KeyID = now.KeyID; v.KeyID == "" {
			configured.KeyIDUnknown = now.Unknown
			if configured.KeyIDUnknown == "" {
				configured.KeyIDUnknown = "it was not asked"
			}
		}
	}
	return v, configured
}
