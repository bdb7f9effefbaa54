package kms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	secretSize = 32 // AES-256
	// idLimit is what the apiserver takes as a key ID, in bytes.
	idLimit = 1 << 10
	// idPrefix begins the IDs that are given to keys by themselves, before a number.
	idPrefix = "kek-"
)

var (
	// ErrNoKey is returned for a key that there never was, or that was dropped.
	ErrNoKey = errors.New("no such key")
	// ErrDamaged is returned for what no key opens. It is all there is to say about it.
	ErrDamaged = errors.New("damaged ciphertext, or sealed under another key")
)

// Keyring holds the keys that wrap others (KEKs), one of them current. A file keeps them, so that the next plugin opens
// what this one sealed. It may be used by several goroutines, and its file by one Keyring at a time.
type Keyring struct {
	path string

	mu   sync.Mutex
	ring ring
}

// ring is what the file holds.
type ring struct {
	Current string `json:"current"`
	Keys    []kek  `json:"keys"`
}

type kek struct {
	ID string `json:"id"`
	// Secret is empty when the key was dropped. Its entry stays, so that no other key ever gets its ID.
	Secret []byte `json:"secret,omitempty"`
}

// OpenKeyring reads the file, or makes it with one random key. FirstID is the ID of that key, kek-1 when empty.
func OpenKeyring(path, firstID string) (*Keyring, error) {
	k := &Keyring{path: path}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, k.Rotate(firstID)
	}
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	if err := json.Unmarshal(data, &k.ring); err != nil {
		return nil, fmt.Errorf("parsing %s: %w", path, err)
	}
	for _, key := range k.ring.Keys {
		if len(key.Secret) != 0 && len(key.Secret) != secretSize {
			return nil, fmt.Errorf("parsing %s: key %q has %d bytes, want %d", path, key.ID, len(key.Secret), secretSize)
		}
	}
	if _, err := k.ring.secret(k.ring.Current); err != nil {
		return nil, fmt.Errorf("parsing %s: current key %q: %w", path, k.ring.Current, err)
	}
	return k, nil
}

// IDs are the current key's, and those of all keys that were not dropped, oldest first.
func (k *Keyring) IDs() (current string, all []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.ring.Keys {
		if len(key.Secret) > 0 {
			all = append(all, key.ID)
		}
	}
	return k.ring.Current, all
}

// Rotate makes a new random key the current one. An empty ID is the next of kek-1, kek-2 and so on.
func (k *Keyring) Rotate(id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if id == "" {
		id = k.ring.next()
	}
	switch {
	case len(id) > idLimit:
		return fmt.Errorf("key ID has %d bytes, and the apiserver takes %d", len(id), idLimit)
	case !utf8.ValidString(id):
		return fmt.Errorf("key ID %q is not UTF-8", id)
	case slices.ContainsFunc(k.ring.Keys, func(key kek) bool { return key.ID == id }):
		return fmt.Errorf("key %q: there is or was one with that ID", id)
	}
	secret := make([]byte, secretSize)
	rand.Read(secret)
	return k.replace(ring{Current: id, Keys: append(slices.Clone(k.ring.Keys), kek{ID: id, Secret: secret})})
}

// Drop destroys a key other than the current one: what was sealed under it never opens again.
func (k *Keyring) Drop(id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, err := k.ring.secret(id); err != nil {
		return fmt.Errorf("key %q: %w", id, err)
	}
	if id == k.ring.Current {
		return fmt.Errorf("key %q is the current one: rotate first", id)
	}
	keys := slices.Clone(k.ring.Keys)
	for i := range keys {
		if keys[i].ID == id {
			keys[i].Secret = nil
		}
	}
	return k.replace(ring{Current: k.ring.Current, Keys: keys})
}

// seal encrypts under the current key, whose ID it returns. Additional is authenticated only.
func (k *Keyring) seal(plaintext, additional []byte) (ciphertext []byte, id string, err error) {
	k.mu.Lock()
	id = k.ring.Current
	secret, err := k.ring.secret(id)
	k.mu.Unlock()
	if err != nil {
		return nil, "", err
	}
	aead, err := newAEAD(secret)
	if err != nil {
		return nil, "", err
	}
	return aead.Seal(nil, nil, plaintext, additional), id, nil
}

// open decrypts what was sealed under a key, and returns ErrNoKey or ErrDamaged when it cannot.
func (k *Keyring) open(id string, ciphertext, additional []byte) ([]byte, error) {
	k.mu.Lock()
	secret, err := k.ring.secret(id)
	k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(secret)
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, nil, ciphertext, additional)
	if err != nil {
		return nil, ErrDamaged
	}
	return plaintext, nil
}

// openUnderAny decrypts what does not say its key, and returns ErrDamaged when it cannot.
func (k *Keyring) openUnderAny(ciphertext []byte) ([]byte, error) {
	_, ids := k.IDs()
	for _, id := range slices.Backward(ids) {
		if plaintext, err := k.open(id, ciphertext, nil); err == nil {
			return plaintext, nil
		}
	}
	return nil, ErrDamaged
}

// replace changes the file, and then the keys in use.
func (k *Keyring) replace(changed ring) error {
	data, err := json.MarshalIndent(changed, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding keys: %w", err)
	}
	if err := os.WriteFile(k.path+".new", append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing keys: %w", err)
	}
	if err := os.Rename(k.path+".new", k.path); err != nil {
		return fmt.Errorf("writing keys: %w", err)
	}
	k.ring = changed
	return nil
}

func (r ring) secret(id string) ([]byte, error) {
	for _, key := range r.Keys {
		if key.ID == id && len(key.Secret) > 0 {
			return key.Secret, nil
		}
	}
	return nil, ErrNoKey
}

// next is the ID after the highest number that was ever given.
func (r ring) next() string {
	highest := 0
	for _, key := range r.Keys {
		if digits, ok := strings.CutPrefix(key.ID, idPrefix); ok {
			if number, err := strconv.Atoi(digits); err == nil {
				highest = max(highest, number)
			}
		}
	}
	return idPrefix + strconv.Itoa(highest+1)
}

// newAEAD puts a random nonce in front of each ciphertext.
func newAEAD(secret []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
