package etcdscan

import (
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
	Key    string
	Object key.Object
	AtRest atrest.Encryption
	Ends   []int // where the key name may end as well, when its end is ambiguous
	Stored stored.Type
	Opened Opened
	Fault  Fault
	Note   string // fixed text

	Terminating bool // deleted, and kept by its finalizers; only known of plaintext

	CreateRevision, ModRevision, Version, Lease int64
	Size                                        int64 // bytes of the value
}

// classify reads one key and its value, and hands back the payload where it is that of an object.
func classify(root string, kv *KeyValue, census *atrest.Census) (Record, []byte) {
	r := Record{
		Key: kv.Key, Object: key.Parse(root, kv.Key), Opened: NotTried,
		CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version, Lease: kv.Lease,
		Size: int64(len(kv.Value)),
	}
	value := atrest.Parse(kv.Value)
	census.Add(value)
	r.AtRest, r.Ends, r.Note = value.Encryption, value.Ends, r.Object.Note
	if r.Object.Internal() {
		if value.Encryption.Provider == atrest.Identity {
			if header, err := stored.Parse(value.Payload); err == nil {
				r.Stored = header.Type
			}
		}
		return r, nil
	}
	switch {
	case len(kv.Value) == 0:
		r.Fault = Empty
	case value.Encryption.Provider == atrest.Unknown:
		r.Fault = UnknownTransformer
	case value.Fault != "":
		r.Fault, r.Opened = Undecodable, Failed
		r.Note = join(r.Note, value.Fault)
	case value.Encryption.Provider == atrest.Identity:
		if r.open(value.Payload) {
			return r, value.Payload
		}
	}
	return r, nil
}

// open reads the header of a plaintext payload and tells whether it is an object of the API.
func (r *Record) open(payload []byte) bool {
	header, err := stored.Parse(payload)
	if err != nil {
		r.Fault, r.Opened = Undecodable, Failed
		r.Note = join(r.Note, err.Error())
		return false
	}
	r.Stored, r.Terminating = header.Type, header.Terminating
	switch {
	case r.Object.Resource == "":
	case header.Name == r.Object.Name && header.Namespace == r.Object.Namespace:
		r.Opened = Verified
	default:
		r.Fault, r.Opened = WrongPlace, Failed
	}
	return r.Object.Resource != ""
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
