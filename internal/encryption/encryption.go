// Package encryption is what an EncryptionConfiguration says, without its key material: which keys each resource is read with,
// and which one writes it. It reads no file and opens nothing.
package encryption

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
)

// Configuration is an EncryptionConfiguration as an apiserver understands it.
type Configuration struct {
	Path string
	Hash string // sha256:… of the file's bytes, as an apiserver's metrics have it
	Keys []Key  // each once, in the order of the file
	// Rules are in the order of the file. No resource is in a rule that a wildcard of an earlier one masks: the apiserver
	// refuses that.
	Rules []Rule
}

// Key is one key of the file, or a KMS provider. It is comparable.
type Key struct {
	Provider atrest.Provider
	Version  string // V1 or V2; empty for identity
	Name     string // of the key, or of the KMS provider; empty for identity
	Twin     int    // tells keys of one provider and name apart that have other material: 0 for the first
	Endpoint string // of a KMS plugin
}

// Identity is the key of resources that are not encrypted.
var Identity = Key{Provider: atrest.Identity}

// Claims tells whether a value's transformer prefix is that of the key.
func (k Key) Claims(e atrest.Encryption) bool {
	return k.Provider == e.Provider && k.Version == e.Version && k.Name == e.Key
}

// AtRest is how the prefix of a value under the key is read.
func (k Key) AtRest() atrest.Encryption {
	return atrest.Encryption{Provider: k.Provider, Version: k.Version, Key: k.Name}
}

// Pattern is a resource of a rule: one of a group, all of a group, or all there are.
type Pattern struct{ Group, Resource string }

// Everything is *.*.
var Everything = Pattern{Group: "*", Resource: "*"}

// Wildcard tells whether a pattern stands for more than one resource.
func (p Pattern) Wildcard() bool { return p.Resource == "*" }

// String writes it as the file does.
func (p Pattern) String() string {
	switch {
	case p.Group != "":
		return p.Resource + "." + p.Group
	case p.Wildcard():
		return "*."
	}
	return p.Resource
}

// Rule is one entry of the file.
type Rule struct {
	Patterns []Pattern
	Keys     []int // places in Configuration.Keys, in the order in which they are tried: the first one writes
}

// For lists the keys that a resource is read with, in their order; the first one writes. None: the resource is not covered, and
// is read and written in plaintext. Its own entries count, else those of its group, else those of *.*; several that name the
// same are taken together, as the apiserver does:
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/server/options/encryptionconfig/config.go (transformerFromOverrides)
func (c *Configuration) For(group, resource string) []int {
	for _, p := range []Pattern{{group, resource}, {group, "*"}, Everything} {
		if keys := c.of(p); len(keys) > 0 {
			return keys
		}
	}
	return nil
}

func (c *Configuration) of(p Pattern) []int {
	var keys []int
	for _, r := range c.Rules {
		if slices.Contains(r.Patterns, p) {
			keys = append(keys, r.Keys...)
		}
	}
	return keys
}

// Writes is the key that a resource is written with.
func (c *Configuration) Writes(group, resource string) Key {
	if keys := c.For(group, resource); len(keys) > 0 {
		return c.Keys[keys[0]]
	}
	return Identity
}

// Patterns lists what the file names, each once, in its order.
func (c *Configuration) Patterns() []Pattern {
	var patterns []Pattern
	for _, r := range c.Rules {
		for _, p := range r.Patterns {
			if !slices.Contains(patterns, p) {
				patterns = append(patterns, p)
			}
		}
	}
	return patterns
}

// WrittenWith lists the patterns whose resources a key writes.
func (c *Configuration) WrittenWith(key int) []Pattern {
	return slices.DeleteFunc(c.Patterns(), func(p Pattern) bool { return c.of(p)[0] != key })
}

// ReadWith lists the patterns whose resources are read with a key.
func (c *Configuration) ReadWith(key int) []Pattern {
	return slices.DeleteFunc(c.Patterns(), func(p Pattern) bool { return !slices.Contains(c.of(p), key) })
}

// Names are the key names of the file.
func (c *Configuration) Names() atrest.Names {
	var known []atrest.Encryption
	for _, k := range c.Keys {
		known = append(known, k.AtRest())
	}
	return atrest.NewNames(known)
}

// KeyIDHash is how an apiserver's metrics write a KMS v2 keyID, given as atrest.ShowKeyID writes it.
func KeyIDHash(shown string) string {
	id := shown
	if raw, ok := strings.CutPrefix(shown, "hex:"); ok {
		if b, err := hex.DecodeString(raw); err == nil {
			id = string(b)
		}
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(id)))
}
