// Package decrypt opens stored values with the keys of an EncryptionConfiguration, by the apiserver's own transformers. It is
// the one package that holds key material. It never encrypts, never shows a byte of a key or a value, and never logs.
package decrypt

import (
	"context"
	"errors"
	"slices"

	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
)

// Keyring holds the keys of one EncryptionConfiguration. It is safe for concurrent use, and implements etcdscan.Opener.
type Keyring struct {
	config  *encryption.Configuration
	names   atrest.Names
	locks   []*lock                       // as config.Keys; nil for identity
	plugins map[atrest.Encryption]*plugin // as encryption.Key.AtRest
	close   context.CancelFunc
}

// lock is one key, with what it opens.
type lock struct {
	index  int // in Configuration.Keys
	key    encryption.Key
	prefix string
	cipher cipher
}

// cipher opens what follows the key name in a value.
type cipher interface {
	// open decrypts body for an etcd key. vouched tells that the cipher authenticated the plaintext.
	open(ctx context.Context, body []byte, etcdKey string) (payload []byte, vouched bool, err error)
	// peek decrypts without authenticating anything, for telling why open failed. nil: it cannot.
	peek(ctx context.Context, body []byte) []byte
	// bound tells whether the etcd key is authenticated.
	bound() bool
}

// The ways in which a cipher fails that are not the value's own.
var (
	errSilent   = errors.New(string(etcdscan.PluginSilent))
	errRefused  = errors.New(string(etcdscan.PluginRefused))
	errNotAsked = errors.New("the KMS plugin is not asked for so many data keys unless told to")
)

// Configuration is what the file says, without its key material.
func (r *Keyring) Configuration() *encryption.Configuration { return r.config }

// Close ends the connections to KMS plugins.
func (r *Keyring) Close() { r.close() }

// Parse implements etcdscan.Opener.
func (r *Keyring) Parse(value []byte) atrest.Value { return r.names.Parse(value) }

// Open implements etcdscan.Opener. The keys of the resource come first, as an apiserver tries no others; the rest of the file
// tells what the value is all the same.
func (r *Keyring) Open(ctx context.Context, o key.Object, k string, value []byte, v atrest.Value) etcdscan.Opening {
	opening := r.open(ctx, o, k, value, v)
	opening.Twins = r.twins(opening.AtRest)
	return opening
}

// twins counts the keys that bear a name.
func (r *Keyring) twins(e atrest.Encryption) int {
	n := 0
	for _, k := range r.config.Keys {
		if k.Claims(e) {
			n++
		}
	}
	return n
}

func (r *Keyring) open(ctx context.Context, o key.Object, k string, value []byte, v atrest.Value) etcdscan.Opening {
	own, covered := r.keysOf(o)
	if v.Encryption.Provider == atrest.Identity {
		if covered && !slices.Contains(own, r.identity()) {
			return etcdscan.Opening{Tried: true, AtRest: v.Encryption, Obstacle: etcdscan.NoIdentity}
		}
		return etcdscan.Opening{Tried: true, AtRest: v.Encryption}
	}
	var failed []*lock // claimed by the prefix, and did not open it
	var garbled *etcdscan.Opening
	unknown := etcdscan.NoObstacle
	for _, l := range r.claimed(value, own) {
		body := value[len(l.prefix):]
		payload, vouched, err := l.cipher.open(ctx, body, k)
		switch {
		case errors.Is(err, errNotAsked):
			return etcdscan.Opening{AtRest: v.Encryption}
		case errors.Is(err, errSilent):
			unknown = etcdscan.PluginSilent
			continue
		case errors.Is(err, errRefused):
			unknown = etcdscan.PluginRefused
			continue
		case err != nil && candidate(v, l.key.Name):
			failed = append(failed, l)
			continue
		case err != nil:
			continue // the length of the ciphertext rules this name out
		}
		opening := etcdscan.Opening{Tried: true, Payload: payload, AtRest: l.atRest(v.Encryption), Twin: l.key.Twin, Authenticated: vouched}
		opening.Header, opening.Undecodable = stored.Parse(payload)
		if !slices.Contains(own, l.index) && o.Resource != "" {
			opening.Obstacle = etcdscan.OtherResource
		}
		switch {
		case opening.Undecodable == nil:
			return opening
		case vouched:
			garbled = &opening
		default: // padding alone is no proof: a wrong key passes it in one of 256 values
			clear(payload)
			if candidate(v, l.key.Name) {
				failed = append(failed, l)
			}
		}
	}
	switch {
	case garbled != nil:
		return *garbled
	case len(failed) > 0:
		return etcdscan.Opening{Tried: true, AtRest: v.Encryption, Obstacle: diagnose(ctx, failed, o, k, value)}
	case unknown != etcdscan.NoObstacle:
		return etcdscan.Opening{Tried: true, AtRest: v.Encryption, Obstacle: unknown}
	}
	return etcdscan.Opening{Tried: true, AtRest: v.Encryption, Obstacle: etcdscan.NoSuchKey}
}

// candidate tells whether a name is one of those that the value may bear.
func candidate(v atrest.Value, name string) bool {
	return name == v.Encryption.Key || slices.ContainsFunc(v.Ends, func(end int) bool { return name == v.Encryption.Key[:end] })
}

// keysOf are the keys that an apiserver reads an object with. What is none may be any resource's.
func (r *Keyring) keysOf(o key.Object) (keys []int, covered bool) {
	if o.Resource == "" {
		for i := range r.config.Keys {
			keys = append(keys, i)
		}
		return keys, false
	}
	keys = r.config.For(o.Group, o.Resource)
	return keys, len(keys) > 0
}

func (r *Keyring) identity() int { return slices.Index(r.config.Keys, encryption.Identity) }

// claimed are the keys whose transformer prefix a value begins with: a longer name before one that it begins with, as the
// shorter one fits by chance, and of one name the resource's own before others.
func (r *Keyring) claimed(value []byte, own []int) []*lock {
	var locks []*lock
	for _, l := range r.locks {
		if l != nil && len(value) > len(l.prefix) && string(value[:len(l.prefix)]) == l.prefix {
			locks = append(locks, l)
		}
	}
	if len(locks) < 2 {
		return locks
	}
	place := func(l *lock) int {
		if i := slices.Index(own, l.index); i >= 0 {
			return i
		}
		return len(own) + l.index
	}
	slices.SortStableFunc(locks, func(a, b *lock) int {
		if len(a.prefix) != len(b.prefix) {
			return len(b.prefix) - len(a.prefix)
		}
		return place(a) - place(b)
	})
	return locks
}

// atRest is how a value is encrypted that the key has opened.
func (l *lock) atRest(claimed atrest.Encryption) atrest.Encryption {
	if !l.key.Claims(claimed) {
		return l.key.AtRest()
	}
	claimed.KeyInferred = false
	return claimed
}

var _ etcdscan.Opener = (*Keyring)(nil)
