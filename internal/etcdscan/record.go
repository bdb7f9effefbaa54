package etcdscan

import (
	"context"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
)

// Fault is what is wrong with the bytes of a value whatever anybody expects of it. The zero value means nothing.
type Fault string

const (
	NoFault            Fault = ""
	Empty              Fault = "Empty"              // a key without a value
	UnknownTransformer Fault = "UnknownTransformer" // the reserved prefix k8s:enc: with a provider that is not known
	Undecodable        Fault = "Undecodable"        // bytes that no apiserver could have written
	CannotOpen         Fault = "CannotOpen"         // an apiserver with the configuration could not read it
	WrongPlace         Fault = "WrongPlace"         // the object's own metadata names another key
)

// Opened tells how far the plaintext of a value was reached.
type Opened string

const (
	NotTried Opened = "notTried" // ciphertext, or no API object
	Verified Opened = "verified" // header parsed, and the metadata names the key it lies under
	Failed   Opened = "failed"
)

// Record is what a scan knows of one key. It holds no byte of the value but the type in its header.
type Record struct {
	Key           string
	Object        key.Object
	AtRest        atrest.Encryption
	Ends          []int // where the key name may end as well, when its end is ambiguous
	Twin          int   // which of several keys of that name opened it, from 0
	Twins         int   // how many keys bear that name, where a configuration tells
	Stored        stored.Type
	Opened        Opened
	Authenticated bool // the cipher vouches for the value
	Fault         Fault
	Obstacle      Obstacle // of CannotOpen
	Already       bool     // the obstacle is none that a candidate brings: it is there now
	Note          string   // fixed text

	Terminating bool // deleted, and kept by its finalizers; only known of what was opened

	CreateRevision, ModRevision, Version, Lease int64
	Size                                        int64 // bytes of the value
}

// classified is a record with what it was made of.
type classified struct {
	Record
	value   atrest.Value
	payload []byte // of an object of the API; nil where it is not known
	secret  bool   // the payload was decrypted: it is to be cleared
}

// clear wipes a payload that was decrypted.
func (c *classified) clear() {
	if c.secret {
		clear(c.payload)
	}
	c.payload = nil
}

// classify reads one key and its value, and opens it if it has an opener.
func classify(ctx context.Context, root string, kv *KeyValue, opener Opener, open bool) classified {
	var c classified
	c.classify(ctx, root, kv, opener, open)
	return c
}

// classify is the function of that name for a zero value, of which a scan has many.
func (c *classified) classify(ctx context.Context, root string, kv *KeyValue, opener Opener, open bool) {
	c.Key, c.Object, c.Opened = kv.Key, key.Parse(root, kv.Key), NotTried
	c.CreateRevision, c.ModRevision, c.Version, c.Lease = kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease
	c.Size = int64(len(kv.Value))
	if opener != nil {
		c.value = opener.Parse(kv.Value)
	} else {
		c.value = atrest.Parse(kv.Value)
	}
	c.AtRest, c.Ends, c.Note = c.value.Encryption, c.value.Ends, c.Object.Note
	identity := c.AtRest.Provider == atrest.Identity
	if c.Object.Internal() {
		if identity {
			if header, err := stored.Parse(c.value.Payload); err == nil {
				c.Stored = header.Type
			}
		}
		return
	}
	switch {
	case len(kv.Value) == 0:
		c.Fault = Empty
	case c.AtRest.Provider == atrest.Unknown:
		c.Fault = UnknownTransformer
	case c.value.Fault != "":
		c.Fault, c.Opened = Undecodable, Failed
		c.Note = join(c.Note, c.value.Fault)
	case identity:
		header, err := stored.Parse(c.value.Payload)
		c.read(c.value.Payload, header, err)
		if opener != nil && c.Fault == NoFault {
			c.hinder(opener.Open(ctx, c.Object, kv.Key, kv.Value, c.value))
		}
	case opener != nil && open:
		c.decrypt(opener.Open(ctx, c.Object, kv.Key, kv.Value, c.value))
	}
}

// decrypt takes over what came of opening the value.
func (c *classified) decrypt(o Opening) {
	c.Twins = o.Twins
	if !o.Tried {
		return
	}
	if o.Payload != nil {
		c.AtRest, c.Twin, c.Authenticated, c.secret = o.AtRest, o.Twin, o.Authenticated, true
		c.Ends, c.value.Ends, c.value.Encryption = nil, nil, o.AtRest
		c.read(o.Payload, o.Header, o.Undecodable)
		if c.payload == nil {
			clear(o.Payload)
		}
		if o.Twin > 0 {
			c.Note = join(c.Note, noteTwin)
		}
	} else {
		c.Opened = Failed
	}
	if c.Fault == NoFault {
		c.hinder(o)
	}
}

const noteTwin = "opened with a further key of that name"

func (c *classified) hinder(o Opening) {
	if o.Obstacle != NoObstacle {
		c.Fault, c.Obstacle, c.Already, c.Note = CannotOpen, o.Obstacle, o.Already, join(c.Note, string(o.Obstacle))
	}
}

// read takes over the header of a payload, and keeps the payload of an object of the API.
func (c *classified) read(payload []byte, header stored.Header, err error) {
	if err != nil {
		c.Fault, c.Opened = Undecodable, Failed
		c.Note = join(c.Note, err.Error())
		return
	}
	c.Stored, c.Terminating = header.Type, header.Terminating
	switch {
	case c.Object.Resource == "":
		return
	case header.Name == c.Object.Name && header.Namespace == c.Object.Namespace:
		c.Opened = Verified
	default:
		c.Fault, c.Opened = WrongPlace, Failed
	}
	c.payload = payload
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
