package stored

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// Bounds of names in the API.
// https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/util/validation/validation.go
const (
	maxVersion = 63
	maxGroup   = 253
	maxKind    = 253
)

var apiVersions, kinds interned

// typeNames checks apiVersion and kind, because they are shown and ill-formed ones could be any byte of a value.
func typeNames(apiVersion, kind []byte) (Type, error) {
	v, ok := apiVersions.intern(apiVersion, validAPIVersion)
	if !ok {
		return Type{}, ErrType
	}
	k, ok := kinds.intern(kind, validKind)
	if !ok {
		return Type{}, ErrType
	}
	return Type{APIVersion: v, Kind: k}, nil
}

// interned keeps one string for each valid name, because a scan meets the same few in every value. Reading takes no lock. It holds
// at most maxInterned names for the life of the process; further ones are allocated each time.
type interned struct {
	seen atomic.Pointer[map[string]string]
	mu   sync.Mutex // held while replacing seen
}

const maxInterned = 1024

func (in *interned) intern(b []byte, valid func(string) bool) (string, bool) {
	if m := in.seen.Load(); m != nil {
		if s, ok := (*m)[string(b)]; ok {
			return s, true
		}
	}
	s := string(b)
	if !valid(s) {
		return "", false
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	next := map[string]string{s: s}
	if m := in.seen.Load(); m != nil {
		if len(*m) >= maxInterned {
			return s, true
		}
		maps.Copy(next, *m)
	}
	in.seen.Store(&next)
	return s, true
}

// validAPIVersion tells whether s is [group/]version: a DNS subdomain and a DNS label that does not start with a digit.
func validAPIVersion(s string) bool {
	group, version, grouped := strings.Cut(s, "/")
	if !grouped {
		group, version = "", s
	}
	if grouped && (group == "" || len(group) > maxGroup) {
		return false
	}
	for label := range strings.SplitSeq(group, ".") {
		if grouped && !hyphenated(label) {
			return false
		}
	}
	return hyphenated(version) && len(version) <= maxVersion && (version[0] < '0' || version[0] > '9')
}

// validKind tells whether s is a kind: a letter, then letters, digits and, as custom resources may have them, hyphens.
func validKind(s string) bool {
	return s != "" && len(s) <= maxKind && (s[0] < '0' || s[0] > '9') && hyphenated(strings.ToLower(s))
}

// hyphenated tells whether s is lower-case letters, digits and hyphens, with no hyphen at either end.
func hyphenated(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
