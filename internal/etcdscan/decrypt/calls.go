package decrypt

import (
	"context"
	"crypto/sha256"
	"sync"

	"google.golang.org/protobuf/proto"
	kmstypes "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/v2"

	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
)

// UnaskedCalls is how many data keys each KMS plugin is asked for when nobody says to ask for more.
const UnaskedCalls = 1000

// Closed is an opener that reads the key names of the file and opens nothing.
func (r *Keyring) Closed() etcdscan.Opener { return closed{r} }

type closed struct{ *Keyring }

// Calls implements etcdscan.Asker: nobody is asked about what stays closed.
func (closed) Calls(context.Context, etcdscan.Reading) (map[string]int64, error) { return nil, nil }

func (c closed) Open(ctx context.Context, o key.Object, k string, value []byte, v atrest.Value) etcdscan.Opening {
	if v.Encryption.Provider != atrest.Identity {
		return etcdscan.Opening{AtRest: v.Encryption, Twins: c.twins(v.Encryption)}
	}
	return c.Keyring.Open(ctx, o, k, value, v)
}

// Limit bounds the calls to each KMS plugin; 0 for no bound. It is to be called before anything is opened.
func (r *Keyring) Limit(calls int64) {
	for _, p := range r.plugins {
		p.limit = calls
	}
}

// Plugins lists the KMS providers, in the order of the file.
func (r *Keyring) Plugins() []encryption.Key {
	var keys []encryption.Key
	for _, k := range r.config.Keys {
		if k.Provider == atrest.KMS {
			keys = append(keys, k)
		}
	}
	return keys
}

// Current asks each KMS v2 plugin for the key that it encrypts with, by the name of the provider.
func (r *Keyring) Current(ctx context.Context) map[string]State {
	states := make(map[string]State)
	for _, l := range r.locks {
		if l == nil {
			continue
		}
		if plugin, ok := l.cipher.(*kmsV2); ok {
			states[l.key.Name] = plugin.current(ctx)
		}
	}
	return states
}

// Calls counts what opening a scope would ask of each KMS plugin, by the name of the provider: once for each encrypted data
// key that is not known yet, and never more than its limit. It reads the scope, and opens nothing.
func (r *Keyring) Calls(ctx context.Context, reading etcdscan.Reading) (map[string]int64, error) {
	if len(r.plugins) == 0 {
		return nil, nil
	}
	c := &callCounter{Keyring: r, seen: make(map[*plugin]map[digest]struct{})}
	reading.Opener, reading.Announce = c, nil
	if _, err := etcdscan.Scan(ctx, reading, c); err != nil {
		return nil, err
	}
	calls := make(map[string]int64)
	for p, seen := range c.seen {
		n := int64(len(seen))
		if p.limit > 0 {
			n = min(n, p.limit)
		}
		calls[p.key.Name] += n
	}
	return calls, nil
}

// maxCounted bounds the data keys that are told apart while counting, some 50 MiB of them.
const maxCounted = 1 << 19

// callCounter is a sink that wants nothing but the values, which it sees as an opener.
type callCounter struct {
	*Keyring
	mu   sync.Mutex
	seen map[*plugin]map[digest]struct{}
}

func (c *callCounter) Begin() { clear(c.seen) }

func (c *callCounter) Take(*etcdscan.Record, *etcdscan.Entry) error { return nil }

// Open opens nothing.
func (c *callCounter) Open(_ context.Context, _ key.Object, _ string, _ []byte, v atrest.Value) etcdscan.Opening {
	p := c.plugins[encryption.Key{Provider: v.Encryption.Provider, Version: v.Encryption.Version, Name: v.Encryption.Key}.AtRest()]
	if p == nil {
		return etcdscan.Opening{}
	}
	id, ok := digestOf(v)
	if !ok || p.holds(id) {
		return etcdscan.Opening{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[p] == nil {
		c.seen[p] = make(map[digest]struct{})
	}
	if len(c.seen[p]) < maxCounted {
		c.seen[p][id] = struct{}{}
	}
	return etcdscan.Opening{}
}

func digestOf(v atrest.Value) (digest, bool) {
	if v.Encryption.Version == atrest.V1 {
		encrypted, _, ok := envelopeV1(v.Payload)
		return sha256.Sum256(encrypted), ok
	}
	o := new(kmstypes.EncryptedObject)
	if proto.Unmarshal(v.Payload, o) != nil {
		return digest{}, false
	}
	return digestV2(o), true
}

var _ etcdscan.Asker = (*Keyring)(nil)
