package evidence

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan/key"
)

// minRedactionKey is how many bytes a redaction key has at least: names are guessable, and so would be a short key.
const minRedactionKey = 32

// sealBlock hides how long an etcd key is: what is sealed is filled up to a multiple of it.
const sealBlock = 64

// Redactor hides the names of objects, and salts the leaves of the tree. All that it makes follows from its key and the etcd key alone,
// so that the same object can be followed from one bundle to the next.
// It is not safe for concurrent use.
type Redactor struct {
	mode  Mode
	key   []byte
	keyed hash.Hash // HMAC with the key
	aead  cipher.AEAD
	made  bool // for one bundle: nobody has the key
}

// NewRedactor works with the key in a file's content, white space around it left out. Without one, names in clear are salted with a
// key that nobody keeps; the other modes need one.
func NewRedactor(mode Mode, keyFile []byte) (*Redactor, error) {
	switch mode {
	case Names, HMAC, Counts:
	default:
		return nil, fmt.Errorf("%q is none of names, hmac and counts", mode)
	}
	key := bytes.TrimSpace(keyFile)
	switch {
	case keyFile == nil && mode == Names:
		key = make([]byte, minRedactionKey)
		_, _ = rand.Read(key) // it never fails
	case keyFile == nil:
		return nil, fmt.Errorf("%s needs a redaction key: without it nobody could ever tell which record is which object's", mode)
	case len(key) < minRedactionKey:
		return nil, fmt.Errorf("a redaction key has %d bytes at least, and this one %d", minRedactionKey, len(key))
	}
	r := &Redactor{mode: mode, key: key, keyed: hmac.New(sha256.New, key), made: keyFile == nil}
	block, err := aes.NewCipher(r.derive("seal", ""))
	if err != nil {
		return nil, err
	}
	r.aead, err = cipher.NewGCM(block)
	return r, err
}

// twin is one that does the same, for another goroutine.
func (r *Redactor) twin() *Redactor {
	t := *r
	t.keyed = hmac.New(sha256.New, r.key)
	return &t
}

// derive is a keyed hash for one purpose.
func (r *Redactor) derive(purpose, etcdKey string) []byte {
	r.keyed.Reset()
	_, _ = io.WriteString(r.keyed, "svmctl "+purpose+" v1\x00"+etcdKey) // it never fails
	return r.keyed.Sum(nil)
}

// described tells of the redaction what a bundle says.
func (r *Redactor) described() Redaction {
	d := Redaction{Mode: r.mode, Algorithm: "HMAC-SHA-256"}
	if !r.made {
		d.KeyID = r.keyID()
	}
	return d
}

func (r *Redactor) keyID() string { return hex.EncodeToString(r.derive("key ID", "")[:8]) }

// saltLength is the same for every record, so that nobody can tell where else the salt of a leaf might end.
const saltLength = 16

// salt keeps the leaves beside one that is handed out from being guessed.
func (r *Redactor) salt(etcdKey string) []byte { return r.derive("salt", etcdKey)[:saltLength] }

// opening is what makes a redacted name checkable by whoever is told the name and the opening of this one object.
func (r *Redactor) opening(etcdKey string) []byte { return r.derive("name", etcdKey) }

const hmacPrefix = "hmac:"

// hidden is a name as a keyed hash.
func hidden(opening []byte, etcdKey string) string {
	h := hmac.New(sha256.New, opening)
	h.Write([]byte(etcdKey))
	return hmacPrefix + hex.EncodeToString(h.Sum(nil))
}

// hide is a short text as a keyed hash, for names outside of records.
func (r *Redactor) hide(text string) string {
	if text == "" || r.mode == Names {
		return text
	}
	return hmacPrefix + hex.EncodeToString(r.derive("text", text))
}

// seal encrypts an etcd key for whoever has the redaction key: it tells the operator which object a record is. The nonce follows from
// the key, so that the same key is always sealed alike, and two never share one.
func (r *Redactor) seal(etcdKey string) string {
	text := binary.AppendUvarint(nil, uint64(len(etcdKey)))
	text = append(text, etcdKey...)
	text = append(text, make([]byte, (sealBlock-len(text)%sealBlock)%sealBlock)...)
	nonce := r.derive("nonce", etcdKey)[:12]
	return base64.StdEncoding.EncodeToString(r.aead.Seal(nonce, nonce, text, nil))
}

var errSealed = errors.New("the record is not sealed with this redaction key")

// unseal tells the etcd key of a record.
func (r *Redactor) unseal(sealed string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil || len(raw) < 12 {
		return "", errSealed
	}
	text, err := r.aead.Open(nil, raw[:12], raw[12:], nil)
	if err != nil {
		return "", errSealed
	}
	n, skip := binary.Uvarint(text)
	if skip <= 0 || n > uint64(len(text)-skip) {
		return "", errSealed
	}
	return string(text[skip : skip+int(n)]), nil
}

// ErrPrefixNames means that a prefix would show what is to be hidden.
var ErrPrefixNames = errors.New("a prefix names more than a resource, and names are to be hidden")

// tellsNoNames tells whether the scope, which every bundle shows, names no more than resources where names are hidden.
func (o *Observed) tellsNoNames() error {
	if o.Redactor.mode == Names {
		return nil
	}
	for _, p := range o.Report.Scope.Prefixes {
		for _, e := range o.Report.Entries {
			if e.Resource == "" || e.Root == "" {
				continue
			}
			dir := e.Root + "/" + key.DirIn(e.Root, e.Group.Group, e.Resource)
			if strings.HasPrefix(p, dir) && p != dir {
				return ErrPrefixNames
			}
		}
	}
	return nil
}
