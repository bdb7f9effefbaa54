package etcdscan

import (
	"context"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
)

// Opener opens values as an apiserver with some EncryptionConfiguration would. It is safe for concurrent use.
type Opener interface {
	// Parse is atrest.Parse with the key names of the configuration.
	Parse(value []byte) atrest.Value
	// Open opens the value of an object, and tells whether an apiserver could. v is what Parse made of it, without a Fault.
	Open(ctx context.Context, o key.Object, k string, value []byte, v atrest.Value) Opening
}

// Asker is an Opener that has to ask somebody else about many of the values.
type Asker interface {
	Opener
	// Calls counts what opening everything would ask of each KMS plugin, by the name of its provider. It opens nothing, and
	// announces nothing.
	Calls(ctx context.Context, r Reading) (map[string]int64, error)
}

// Opening is what came of one value.
type Opening struct {
	Tried         bool
	Payload       []byte        // of a value that was encrypted and is open; whoever asked for it clears it
	Header        stored.Header // of Payload
	Undecodable   error         // why Payload has no header; a fixed text
	AtRest        atrest.Encryption
	Twin          int  // which of several keys of that name opened it, from 0
	Twins         int  // how many keys of the configuration bear that name
	Authenticated bool // the cipher vouches for the payload
	Obstacle      Obstacle
	Already       bool // the obstacle is none that a candidate brings: it is there now
}

// Obstacle is why an apiserver with the configuration could not read a value: a fixed text. The zero value: it could.
type Obstacle string

const (
	NoObstacle    Obstacle = ""
	NoSuchKey     Obstacle = "there is no such key in the file"
	OtherResource Obstacle = "the file has this key, and not for this resource"
	NoIdentity    Obstacle = "plaintext, and the file has no identity provider for this resource"
	OtherMaterial Obstacle = "the file has a key of this name, with other material, or the value is damaged from its beginning on"
	Damaged       Obstacle = "the key fits, and the value is damaged"
	Moved         Obstacle = "the key fits, and the value was encrypted for another etcd key"
	PluginSilent  Obstacle = "the KMS plugin does not answer"
	PluginRefused Obstacle = "the KMS plugin refuses to decrypt the data key"
)

// Unknown tells that nobody could look, so that the value may be as it should be.
func (o Obstacle) Unknown() bool { return o == PluginSilent || o == PluginRefused }

// Looker can be asked for single keys.
type Looker interface {
	Look(ctx context.Context, key string) (kv KeyValue, found bool, err error)
}

// Payload reads single keys as they are now, and opens what is encrypted if there is an opener that can: else the value is as it
// is stored. Whoever is given a value keeps it nowhere.
func Payload(store Looker, opener Opener) func(ctx context.Context, k string) (value []byte, revision int64, found bool, err error) {
	return func(ctx context.Context, k string) ([]byte, int64, bool, error) {
		kv, found, err := store.Look(ctx, k)
		if err != nil || !found || opener == nil {
			return kv.Value, kv.ModRevision, found, err
		}
		root, _ := key.Root(k)
		c := classify(ctx, root, &kv, opener, true)
		if c.Opened == Verified && c.payload != nil {
			return c.payload, kv.ModRevision, true, nil
		}
		c.clear()
		return kv.Value, kv.ModRevision, true, nil
	}
}
