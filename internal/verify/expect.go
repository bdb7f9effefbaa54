package verify

import (
	"fmt"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
)

// Encrypted is the provider of an expectation that any cipher meets.
const Encrypted = "encrypted"

// Value is how something is expected to be encrypted: PROVIDER[:KEY[:KEYID]]. The zero value expects nothing.
type Value struct {
	Provider string // a provider of atrest, or Encrypted
	Key      string // key name, or KMS provider name; empty matches any
	KeyID    string // KMS v2 only; empty matches any
}

// ParseValue reads PROVIDER[:KEY[:KEYID]]. Only KMS has a KEYID: the key names of the other providers may hold colons.
func ParseValue(s string) (Value, error) {
	provider, keyName, hasKey := strings.Cut(s, ":")
	v := Value{Provider: provider, Key: keyName}
	switch provider {
	case Encrypted, string(atrest.Identity):
		if hasKey {
			return Value{}, fmt.Errorf("%q: %s takes no key", s, provider)
		}
	case string(atrest.AESCBC), string(atrest.AESGCM), string(atrest.Secretbox):
	case string(atrest.KMS):
		v.Key, v.KeyID, _ = strings.Cut(keyName, ":")
		if strings.HasSuffix(keyName, ":") {
			return Value{}, fmt.Errorf("%q: the key ID after the last colon is empty", s)
		}
	default:
		return Value{}, fmt.Errorf("%q: the provider is one of identity, encrypted, aescbc, aesgcm, secretbox, kms", s)
	}
	if hasKey && v.Key == "" {
		return Value{}, fmt.Errorf("%q: the key name after the colon is empty", s)
	}
	return v, nil
}

func (v Value) String() string {
	s := v.Provider
	if v.Key != "" {
		s += ":" + v.Key
	}
	if v.KeyID != "" {
		s += ":" + v.KeyID
	}
	return s
}

// Describe names how a value is encrypted, in the form of an expectation.
func Describe(e atrest.Encryption) string {
	return Value{Provider: string(e.Provider), Key: e.Key, KeyID: e.KeyID}.String()
}

// Resource is a group-resource as kubectl writes it: secrets, deployments.apps. The name "*" stands for all of a group.
type Resource struct{ Group, Name string }

// AnyResource is the expectation that covers every API resource without one of its own.
var AnyResource = Resource{Group: "*", Name: "*"}

// Wildcard tells whether it stands for more than one resource.
func (r Resource) Wildcard() bool { return r.Name == "*" }

// Covers tells whether another resource is it, or one of those that it stands for.
func (r Resource) Covers(other Resource) bool {
	return r == other || r == AnyResource || r.Wildcard() && r.Group == other.Group
}

// ParseResource reads RESOURCE or RESOURCE.GROUP. A built-in resource may be named without its group. As in an
// EncryptionConfiguration "*.apps" stands for a group and "*." for the core group; "*" is everything.
func ParseResource(s string) (Resource, error) {
	if s == "*" || s == "*.*" {
		return AnyResource, nil
	}
	if group, ok := strings.CutPrefix(s, "*."); ok && !strings.ContainsAny(group, "/=* ") {
		return Resource{Group: group, Name: "*"}, nil
	}
	name, group, _ := strings.Cut(s, ".")
	if name == "" || strings.ContainsAny(s, "/=* ") || strings.HasSuffix(s, ".") {
		return Resource{}, fmt.Errorf("%q is not a resource such as secrets or deployments.apps", s)
	}
	if group == "" {
		if builtin, ok := key.GroupOf(name); ok {
			group = builtin
		}
	}
	group, name = key.Canonical(group, name)
	return Resource{Group: group, Name: name}, nil
}

func (r Resource) String() string {
	switch {
	case r == AnyResource:
		return "*"
	case r.Group != "":
		return r.Name + "." + r.Group
	case r.Wildcard():
		return "*."
	}
	return r.Name
}

// From tells where an expectation comes from.
type From string

const (
	FromFlag   From = "flag"
	FromConfig From = "config"
	FromProbe  From = "probe"
)

// Expectation is what one resource should look like.
type Expectation struct {
	Resource   Resource
	Value      Value  // zero: nothing expected
	Version    string // apiVersion, such as apps/v1; empty: nothing expected
	From       From
	Declared   Declared
	Configured Configured
}

// Expectations hold at most one Expectation per resource.
type Expectations []Expectation

// ParseExpectations merges RESOURCE=VALUE and RESOURCE=APIVERSION arguments; two different answers for one resource are
// an error.
func ParseExpectations(values, versions []string) (Expectations, error) {
	var es Expectations
	for _, arg := range values {
		resource, text, err := cutArgument(arg)
		if err != nil {
			return nil, err
		}
		v, err := ParseValue(text)
		if err != nil {
			return nil, err
		}
		e := es.add(resource)
		if e.Value != (Value{}) && e.Value != v {
			return nil, fmt.Errorf("%s is expected as %s and as %s", resource, e.Value, v)
		}
		e.Value = v
	}
	for _, arg := range versions {
		resource, version, err := cutArgument(arg)
		if err != nil {
			return nil, err
		}
		e := es.add(resource)
		if e.Version != "" && e.Version != version {
			return nil, fmt.Errorf("%s is expected at %s and at %s", resource, e.Version, version)
		}
		e.Version = version
	}
	return es, nil
}

func cutArgument(arg string) (Resource, string, error) {
	name, text, ok := strings.Cut(arg, "=")
	if !ok || text == "" {
		return Resource{}, "", fmt.Errorf("%q is not of the form RESOURCE=…", arg)
	}
	resource, err := ParseResource(name)
	return resource, text, err
}

func (es *Expectations) add(r Resource) *Expectation {
	for i := range *es {
		if (*es)[i].Resource == r {
			return &(*es)[i]
		}
	}
	*es = append(*es, Expectation{Resource: r, From: FromFlag})
	return &(*es)[len(*es)-1]
}

// For is the expectation of a resource: its own where there is one, each missing half from that of its group, or else from "*".
func (es Expectations) For(r Resource) (Expectation, bool) {
	var own, group, any Expectation
	for _, e := range es {
		switch e.Resource {
		case r:
			own = e
		case AnyResource:
			any = e
		case Resource{Group: r.Group, Name: "*"}:
			group = e
		}
	}
	for _, wider := range []Expectation{group, any} {
		if own.Value == (Value{}) {
			own.Value, own.Configured = wider.Value, wider.Configured
		}
		if own.Version == "" {
			own.Version = wider.Version
		}
		if own.From == "" {
			own.From = wider.From
		}
	}
	if !own.Declared.Asked && !any.Declared.Exhaustive {
		own.Declared.Asked = any.Declared.Asked // and not answered
	}
	own.Resource = r
	return own, own.Value != (Value{}) || own.Version != "" || own.Declared.Asked
}
