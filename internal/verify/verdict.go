// Package verify judges what a scan saw against what was expected. It is pure: it reads nothing, asks nobody and knows
// no time.
package verify

import "fmt"

// Verdict is the answer to "is everything as expected". The zero value means that nothing was judged.
type Verdict int

const (
	NotJudged     Verdict = iota
	Complete              // everything was looked at and is as expected
	Indeterminate         // something could not be looked at or understood, and nothing was found wrong
	Incomplete            // something is not as expected
)

func (v Verdict) String() string {
	switch v {
	case NotJudged:
		return ""
	case Complete:
		return "Complete"
	case Indeterminate:
		return "Indeterminate"
	case Incomplete:
		return "Incomplete"
	}
	panic(fmt.Sprintf("verify: unknown verdict %d", int(v)))
}

// MarshalJSON writes null for NotJudged.
func (v Verdict) MarshalJSON() ([]byte, error) {
	if v == NotJudged {
		return []byte("null"), nil
	}
	return []byte(`"` + v.String() + `"`), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *Verdict) UnmarshalJSON(text []byte) error {
	for _, known := range []Verdict{NotJudged, Complete, Indeterminate, Incomplete} {
		if written, _ := known.MarshalJSON(); string(written) == string(text) {
			*v = known
			return nil
		}
	}
	return fmt.Errorf("%q is no verdict", text)
}

// Worse is the verdict over two parts: Incomplete outranks Indeterminate, which outranks Complete.
func (v Verdict) Worse(other Verdict) Verdict { return max(v, other) }

// Severity tells what a finding does to a verdict.
type Severity string

const (
	Error   Severity = "error"   // not as expected: Incomplete
	Warning Severity = "warning" // not looked at or not understood: Indeterminate
	Info    Severity = "info"    // nothing
)

// Verdict is the best that can be said beside a finding of this severity; NotJudged if it does not matter.
func (s Severity) Verdict() Verdict {
	switch s {
	case Error:
		return Incomplete
	case Warning:
		return Indeterminate
	}
	return NotJudged
}

// Code names a kind of finding.
type Code string

const (
	StaleKey              Code = "StaleKey"
	Plaintext             Code = "Plaintext"
	EncryptedUnexpectedly Code = "EncryptedUnexpectedly"
	StaleVersion          Code = "StaleVersion"
	UnservedVersion       Code = "UnservedVersion"  // stored at an apiVersion that the API does not serve
	OrphanedResource      Code = "OrphanedResource" // no API serves the resource
	UnknownVersion        Code = "UnknownVersion"   // nobody says at which apiVersion the resource should be stored
	WouldPrune            Code = "WouldPrune"       // a rewrite drops fields that the schema does not know
	StoredVersions        Code = "StoredVersions"   // status.storedVersions does not name what etcd holds
	LateWrite             Code = "LateWrite"        // written after a migration as before it
	NotConverged          Code = "NotConverged"     // the apiservers do not agree, or not all of them were asked
	UnknownTransformer    Code = "UnknownTransformer"
	Undecodable           Code = "Undecodable"
	Empty                 Code = "Empty"
	CannotOpen            Code = "CannotOpen"          // an apiserver with the EncryptionConfiguration could not read it
	CandidateCannotRead   Code = "CandidateCannotRead" // an apiserver with the candidate could not read it
	CandidateRewrites     Code = "CandidateRewrites"   // an apiserver with the candidate would write it otherwise
	Unauthenticated       Code = "Unauthenticated"     // opened by a cipher that does not vouch for what comes out
	Uncovered             Code = "Uncovered"           // the EncryptionConfiguration leaves a sensitive resource in plaintext
	WrongPlace            Code = "WrongPlace"
	AmbiguousKey          Code = "AmbiguousKey" // the end of the key name cannot be told without a configuration
	UnknownKeyID          Code = "UnknownKeyID" // KMS: which KEK is meant was not said, or cannot be seen
	NotOpened             Code = "NotOpened"    // an apiVersion was expected of ciphertext
	UnknownKey            Code = "UnknownKey"   // an etcd key that fits no resource
	NothingFound          Code = "NothingFound" // a resource was expected and has no key
	NotConfirmed          Code = "NotConfirmed" // the target was seen, not given
	NotRead               Code = "NotRead"      // the scan could not be finished
)

// Fault is one thing that is the matter with all objects of a group.
type Fault struct {
	Code            Code
	Severity        Severity
	Expected, Found string
	Message         string
}
