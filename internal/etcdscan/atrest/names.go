package atrest

import (
	"bytes"
	"cmp"
	"slices"
)

// Names are the key names that an EncryptionConfiguration has. They settle where the name in a transformer prefix ends: at the
// end of the longest one that the value begins with. The zero value knows none.
type Names struct{ known []Encryption } // the longer name first

// NewNames takes provider, version and key from each; an entry without a key is left out.
func NewNames(known []Encryption) Names {
	var n Names
	for _, e := range known {
		e = Encryption{Provider: e.Provider, Version: e.Version, Key: e.Key}
		if e.Key != "" && !slices.Contains(n.known, e) {
			n.known = append(n.known, e)
		}
	}
	slices.SortStableFunc(n.known, func(a, b Encryption) int { return cmp.Compare(len(b.Key), len(a.Key)) })
	return n
}

// Parse reads one stored value. A name that is known is the only candidate for its key, printable or not: of several the longest
// one that leaves a body which the transformer can have written. Every other value is read as Parse reads it.
func (n Names) Parse(value []byte) Value {
	if len(n.known) == 0 || !bytes.HasPrefix(value, reserved) {
		return Parse(value)
	}
	var first *Value
	for _, e := range n.known {
		body, ok := bodyOf(value, e)
		if !ok {
			continue
		}
		v := known(e, body)
		if v.Fault == "" {
			return v
		}
		if first == nil {
			first = &v
		}
	}
	if v := Parse(value); first == nil || v.Fault == "" {
		return v
	}
	return *first
}

// bodyOf is what follows the key name, if the value begins with that name's transformer prefix.
func bodyOf(value []byte, e Encryption) ([]byte, bool) {
	rest := value[len(reserved):]
	for _, part := range [...]string{string(e.Provider), e.Version, e.Key} {
		if len(rest) <= len(part) || string(rest[:len(part)]) != part || rest[len(part)] != ':' {
			return nil, false
		}
		rest = rest[len(part)+1:]
	}
	return rest, true
}

func known(e Encryption, body []byte) Value {
	v := Value{Encryption: e, Payload: body}
	if e.Provider == KMS && e.Version == V2 {
		var ok bool
		if v.Encryption.KeyID, ok = keyID(body); !ok {
			v.Fault = FaultKMSv2Frame
		}
		return v
	}
	for _, t := range transformers {
		if t.encryption.Provider == e.Provider && t.encryption.Version == e.Version && !t.possible(body) {
			v.Fault = t.fault
		}
	}
	return v
}

// ParseCut reads the beginning of a value whose end is missing, so that its length says nothing of where the name ends: that is the
// longest known one, or else the shortest.
func (n Names) ParseCut(value []byte) Encryption {
	if !bytes.HasPrefix(value, reserved) {
		return Encryption{Provider: Identity}
	}
	for _, e := range n.known {
		if body, ok := bodyOf(value, e); ok {
			if e.Provider == KMS && e.Version == V2 {
				e.KeyID, _ = keyID(body)
			}
			return e
		}
	}
	rest := value[len(reserved):]
	if bytes.HasPrefix(rest, []byte(kmsV2)) {
		return Parse(value).Encryption
	}
	for _, t := range transformers {
		if named, ok := bytes.CutPrefix(rest, []byte(t.prefix)); ok {
			v := parseNamed(t.encryption, named, func([]byte) bool { return true }, "")
			if len(v.Ends) > 0 {
				v.Encryption.Key = v.Encryption.Key[:v.Ends[0]]
			}
			return v.Encryption
		}
	}
	return Encryption{Provider: Unknown}
}
