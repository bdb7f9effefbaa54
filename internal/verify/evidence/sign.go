package evidence

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// bundleMediaType is that of a Sigstore bundle with a DSSE envelope and a public key:
// https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto
const bundleMediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// SigstoreBundle is statement.sigstore.json.
type SigstoreBundle struct {
	MediaType            string               `json:"mediaType"`
	VerificationMaterial VerificationMaterial `json:"verificationMaterial"`
	Envelope             Envelope             `json:"dsseEnvelope"`
}

// VerificationMaterial names the key to verify with.
type VerificationMaterial struct {
	PublicKey PublicKeyHint `json:"publicKey"`
}

// PublicKeyHint tells keys apart.
type PublicKeyHint struct {
	Hint string `json:"hint"`
}

// Envelope is a DSSE envelope.
type Envelope struct {
	Payload     string      `json:"payload"`
	PayloadType string      `json:"payloadType"`
	Signatures  []Signature `json:"signatures"`
}

// Signature over the pre-authentication encoding of the payload.
type Signature struct {
	Sig   string `json:"sig"`
	KeyID string `json:"keyid,omitempty"`
}

// SigningKey signs statements: ECDSA with P-256 and SHA-256, or Ed25519.
type SigningKey struct{ signer crypto.Signer }

// errKeyForm says what a signing key is, and nothing of what the file holds.
var errKeyForm = errors.New("it is no PKCS #8 private key in PEM, unencrypted, for ECDSA P-256 or Ed25519")

// ParseSigningKey reads a PEM file. Its errors hold no byte of it.
func ParseSigningKey(text []byte) (*SigningKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errKeyForm
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errKeyForm
	}
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		if k.Curve != elliptic.P256() {
			return nil, errKeyForm
		}
		return &SigningKey{k}, nil
	case ed25519.PrivateKey:
		return &SigningKey{k}, nil
	}
	return nil, errKeyForm
}

// ParsePublicKey reads the key to verify with.
func ParsePublicKey(text []byte) (*PublicKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("it is no public key in PEM")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errors.New("it is no public key in PEM")
	}
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return &PublicKey{k, block.Bytes}, nil
		}
	case ed25519.PublicKey:
		return &PublicKey{k, block.Bytes}, nil
	}
	return nil, errors.New("it is no key for ECDSA P-256 or Ed25519")
}

// PublicKey verifies signatures.
type PublicKey struct {
	key crypto.PublicKey
	der []byte
}

// Fingerprint is the SHA-256 of the key's DER.
func (k *PublicKey) Fingerprint() string {
	sum := sha256.Sum256(k.der)
	return "SHA256:" + hex.EncodeToString(sum[:])
}

func (k *SigningKey) publicKey() *PublicKey {
	der, err := x509.MarshalPKIXPublicKey(k.signer.Public())
	if err != nil {
		panic(err) // it was read from a file that had just these
	}
	return &PublicKey{k.signer.Public(), der}
}

// public is signing-key.pub.
func (k *SigningKey) public() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.publicKey().der})
}

func (k *SigningKey) described() *Signer {
	s := &Signer{Algorithm: "Ed25519", Fingerprint: k.publicKey().Fingerprint()}
	if _, ok := k.signer.(*ecdsa.PrivateKey); ok {
		s.Algorithm = "ECDSA P-256"
	}
	return s
}

// Sign implements dsse.Signer.
func (k *SigningKey) Sign(_ context.Context, data []byte) ([]byte, error) {
	if _, ok := k.signer.(ed25519.PrivateKey); ok {
		return k.signer.Sign(rand.Reader, data, crypto.Hash(0))
	}
	sum := sha256.Sum256(data)
	return k.signer.Sign(rand.Reader, sum[:], crypto.SHA256)
}

// KeyID implements dsse.Signer. It stays empty: cosign takes one only in the form of an SSH fingerprint, and the key is named by the
// hint of the bundle.
func (k *SigningKey) KeyID() (string, error) { return "", nil }

// sign makes statement.sigstore.json.
func (k *SigningKey) sign(statement []byte) ([]byte, error) {
	signer, err := dsse.NewEnvelopeSigner(k)
	if err != nil {
		return nil, err
	}
	envelope, err := signer.SignPayload(context.Background(), payloadType, statement)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	b := SigstoreBundle{MediaType: bundleMediaType, Envelope: Envelope{Payload: envelope.Payload, PayloadType: envelope.PayloadType}}
	b.VerificationMaterial.PublicKey.Hint = k.publicKey().Fingerprint()
	for _, s := range envelope.Signatures {
		b.Envelope.Signatures = append(b.Envelope.Signatures, Signature{Sig: s.Sig})
	}
	return encode(b)
}

// Verify implements dsse.Verifier.
func (k *PublicKey) Verify(_ context.Context, data, sig []byte) error {
	ok := false
	switch key := k.key.(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(data)
		ok = ecdsa.VerifyASN1(key, sum[:], sig)
	case ed25519.PublicKey:
		ok = ed25519.Verify(key, data, sig)
	}
	if !ok {
		return errSignature
	}
	return nil
}

// KeyID implements dsse.Verifier. A bundle that was signed elsewhere names its key as it likes: whose it is the signature shows.
func (k *PublicKey) KeyID() (string, error) { return "", nil }

// Public implements dsse.Verifier.
func (k *PublicKey) Public() crypto.PublicKey { return k.key }

var errSignature = errors.New("the signature was not made with this key")

// checkSignature tells whether a Sigstore bundle is a signature of a statement with a key.
func checkSignature(text, statement []byte, key *PublicKey) error {
	var b SigstoreBundle
	if err := json.Unmarshal(text, &b); err != nil {
		return errors.New("it is no Sigstore bundle")
	}
	if !strings.HasPrefix(b.MediaType, "application/vnd.dev.sigstore.bundle") {
		return errors.New("it is no Sigstore bundle")
	}
	payload, err := base64.StdEncoding.Strict().DecodeString(b.Envelope.Payload)
	if err != nil || b.Envelope.PayloadType != payloadType {
		return errors.New("it holds no in-toto statement")
	}
	if !bytes.Equal(payload, statement) {
		return errors.New("it was made for another statement")
	}
	verifier, err := dsse.NewEnvelopeVerifier(key)
	if err != nil {
		return err
	}
	envelope := &dsse.Envelope{PayloadType: b.Envelope.PayloadType, Payload: b.Envelope.Payload}
	for _, s := range b.Envelope.Signatures {
		envelope.Signatures = append(envelope.Signatures, dsse.Signature{Sig: s.Sig})
	}
	if _, err := verifier.Verify(context.Background(), envelope); err != nil {
		return errSignature
	}
	return nil
}
