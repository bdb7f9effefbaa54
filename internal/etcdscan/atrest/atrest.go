// Package atrest reads how a stored value is encrypted, from its transformer prefix and the frame behind it.
// It never decrypts, and of a value it shows nothing but the names that an apiserver writes in clear.
package atrest

import (
	"bytes"
)

// Provider is the kind of transformer that wrote a value. The zero value claims nothing.
type Provider string

const (
	Identity  Provider = "identity" // no transformer: the value is plaintext
	AESCBC    Provider = "aescbc"
	AESGCM    Provider = "aesgcm"
	Secretbox Provider = "secretbox"
	KMS       Provider = "kms"
	Unknown   Provider = "unknown" // behind the reserved prefix, but none of the above
)

// Versions of the transformer prefixes. Identity and Unknown have none.
const (
	V1 = "v1"
	V2 = "v2" // KMS alone
)

// Encryption is what a value claims about its transformer. It is comparable. A prefix is a claim: only opening the value tests it.
type Encryption struct {
	Provider Provider `json:"provider"`
	Version  string   `json:"version"`
	// Key is the name of the key, or of the KMS provider; printable ASCII unless it is one of Names.
	Key string `json:"key"`
	// KeyID is the key encryption key's ID under KMS v2, as ShowKeyID writes it.
	KeyID string `json:"keyID"`
	// KeyInferred is true when the end of Key had to be chosen among several ':'.
	KeyInferred bool `json:"keyInferred"`
}

// Prefix is the transformer prefix that a value of this encryption starts with; "" for Identity and Unknown.
func (e Encryption) Prefix() string {
	if e.Key == "" {
		return ""
	}
	return string(reserved) + string(e.Provider) + ":" + e.Version + ":" + e.Key + ":"
}

// Value is a stored value, taken apart.
type Value struct {
	// Encryption.Key is the longest candidate name.
	Encryption Encryption
	// Ends are the ends (exclusive offsets in Encryption.Key, ascending) of the shorter candidate names; nil when there is one candidate.
	Ends []int
	// Payload is the plaintext under Identity, nil under Unknown and when there is no key name, and otherwise what follows the
	// shortest candidate name and its ':'. It shares the bytes of the value. See Body.
	Payload []byte
	// Fault is a fixed text that says why no apiserver could have written these bytes; "" when they are plausible.
	Fault string
}

// Body is the part of the value behind the key name, once the name is known: e is v.Encryption with Key cut at one of v.Ends, or uncut.
func (v Value) Body(e Encryption) []byte {
	shortest := len(v.Encryption.Key)
	if len(v.Ends) > 0 {
		shortest = v.Ends[0]
	}
	if skip := len(e.Key) - shortest; skip > 0 && skip <= len(v.Payload) {
		return v.Payload[skip:]
	}
	return v.Payload
}

// Faults. A value with one of them is not to be trusted with anything but the provider.
const (
	FaultEmpty           = "empty value"
	FaultUnknown         = "unknown transformer behind the reserved prefix k8s:enc:"
	FaultNoKeyName       = "no printable key name behind the transformer prefix"
	FaultAESCBCLength    = "ciphertext length is impossible for aescbc"
	FaultAESGCMLength    = "ciphertext length is impossible for aesgcm"
	FaultSecretboxLength = "ciphertext length is impossible for secretbox"
	FaultKMSv1Frame      = "no KMS v1 envelope behind the provider name"
	FaultKMSv2Frame      = "no KMS v2 encrypted object behind the provider name"
)

// reserved starts every encrypted value and no other:
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/storage/value/encrypt/identity/identity.go
var reserved = []byte("k8s:enc:")

// transformers are the prefixes behind the reserved one:
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/server/options/encryptionconfig/config.go
var transformers = []struct {
	prefix     string
	encryption Encryption
	// possible tells whether a transformer can have written the bytes behind the key name.
	possible func(body []byte) bool
	fault    string
}{
	{"aescbc:v1:", Encryption{Provider: AESCBC, Version: V1}, possibleAESCBC, FaultAESCBCLength},
	{"aesgcm:v1:", Encryption{Provider: AESGCM, Version: V1}, possibleAESGCM, FaultAESGCMLength},
	{"secretbox:v1:", Encryption{Provider: Secretbox, Version: V1}, possibleSecretbox, FaultSecretboxLength},
	{"kms:v1:", Encryption{Provider: KMS, Version: V1}, possibleKMSv1, FaultKMSv1Frame},
}

const kmsV2 = "kms:v2:"

// Parse reads one stored value. It keeps no reference to it except Payload.
//
// A key name ends at a ':', and outside KMS v2 it may itself hold ':', so each ':' behind printable ASCII is a candidate for its end.
// Candidates that leave a body which the transformer cannot have written are dropped, as long as one is left; what remains ambiguous
// is for a Census to decide. A name of more than 253 bytes or outside printable ASCII is not recognised (FaultNoKeyName), though the
// API would accept it.
func Parse(value []byte) Value {
	if len(value) == 0 {
		return Value{Encryption: Encryption{Provider: Identity}, Fault: FaultEmpty}
	}
	if !bytes.HasPrefix(value, reserved) {
		return Value{Encryption: Encryption{Provider: Identity}, Payload: value}
	}
	rest := value[len(reserved):]
	if named, ok := bytes.CutPrefix(rest, []byte(kmsV2)); ok {
		return parseKMSv2(named)
	}
	for _, t := range transformers {
		if named, ok := bytes.CutPrefix(rest, []byte(t.prefix)); ok {
			return parseNamed(t.encryption, named, t.possible, t.fault)
		}
	}
	return Value{Encryption: Encryption{Provider: Unknown}, Fault: FaultUnknown}
}

// maxName bounds the candidate names. The API sets no bound; this one is far beyond the names that people and distributions give.
const maxName = 253

// parseNamed reads "<key name>:<body>".
func parseNamed(e Encryption, named []byte, possible func([]byte) bool, fault string) Value {
	// The first candidate is kept apart, so that the usual value, which has one, costs no slice.
	first, last, candidates := -1, -1, 0
	firstSeen := -1
	var ends []int
	for i := 0; i < len(named) && i <= maxName && printable(named[i]); i++ {
		if named[i] != ':' || i == 0 {
			continue
		}
		candidates++
		if firstSeen < 0 {
			firstSeen = i
		}
		if !possible(named[i+1:]) {
			continue
		}
		if first < 0 {
			first = i
		} else {
			ends = append(ends, last)
		}
		last = i
	}
	if firstSeen < 0 {
		return Value{Encryption: e, Fault: FaultNoKeyName}
	}
	v := Value{Encryption: e}
	if first < 0 {
		first, last, v.Fault = firstSeen, firstSeen, fault
	}
	v.Encryption.Key = names.intern(named[:last])
	v.Encryption.KeyInferred = candidates > 1
	v.Ends = ends
	v.Payload = named[first+1:]
	return v
}

// parseKMSv2 reads "<provider name>:<encrypted object>". Only here the API forbids ':' in names:
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/apis/apiserver/validation/validation_encryption.go
func parseKMSv2(named []byte) Value {
	v := Value{Encryption: Encryption{Provider: KMS, Version: V2}}
	end := bytes.IndexByte(named, ':')
	if end <= 0 || end > maxName || bytes.ContainsFunc(named[:end], unprintable) {
		v.Fault = FaultNoKeyName
		return v
	}
	v.Encryption.Key = names.intern(named[:end])
	v.Payload = named[end+1:]
	var ok bool
	if v.Encryption.KeyID, ok = keyID(v.Payload); !ok {
		v.Fault = FaultKMSv2Frame
	}
	return v
}

func printable(c byte) bool { return c >= 0x20 && c <= 0x7e }

func unprintable(r rune) bool { return r < 0x20 || r > 0x7e }
