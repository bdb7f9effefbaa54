package evidence

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/svmctl/svmctl/internal/verify"
)

func TestSignedBundle(t *testing.T) {
	t.Parallel()
	o := rich(t, start(t), Names)
	for _, algorithm := range []string{"ECDSA P-256", "Ed25519"} {
		signer, private := newKey(t, algorithm)
		dir, doc := write(t, o, Options{Signer: signer})
		key, err := ParsePublicKey(file(t, dir, PublicKeyFile))
		if err != nil {
			t.Fatal(err)
		}
		if doc.Signer.Algorithm != algorithm || doc.Signer.Fingerprint != key.Fingerprint() || key.Fingerprint() != fmt.Sprintf("SHA256:%x", sha256.Sum256(key.der)) {
			t.Errorf("%s: the signer is %+v", algorithm, doc.Signer)
		}
		v := check(t, dir, key)
		if v.Verdict != verify.Complete || v.Signature != (SignatureState{Signed: true, Fingerprint: key.Fingerprint(), Trusted: true}) {
			t.Errorf("%s: it is %s, %+v: %q", algorithm, v.Verdict, v.Signature, v.problems())
		}
		if v := sound(t, dir); v.Signature.Trusted || v.Signature.Fingerprint != key.Fingerprint() {
			t.Errorf("%s: by the enclosed key the signature is %+v", algorithm, v.Signature)
		}
		other, _ := newKey(t, algorithm)
		if v := check(t, dir, other.publicKey()); v.Verdict != verify.Incomplete || v.Signature.Fingerprint != "" {
			t.Errorf("%s: by another key it is %s, %+v", algorithm, v.Verdict, v.Signature)
		}
		caught(t, dir, other.publicKey(), SignatureFile, "not made with this key")
		caught(t, dir, other.publicKey(), PublicKeyFile, "another key")
		// A signature and a key of somebody else's, in place of both.
		put(t, dir, PublicKeyFile, other.public())
		signature, err := other.sign(file(t, dir, StatementFile))
		if err != nil {
			t.Fatal(err)
		}
		put(t, dir, SignatureFile, signature)
		resum(t, dir)
		caught(t, dir, key, SignatureFile, "not made with this key")
		for _, name := range names(t, dir) {
			if bytes.Contains(file(t, dir, name), private[40:60]) {
				t.Errorf("%s: the private key is in %s", algorithm, name)
			}
		}
	}
}

// Nothing that is said of a key that is refused tells what is in its file.
func TestRefusedKeys(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	good := pkcs8(t, p256)
	block, _ := pem.Decode(good)
	as := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	for name, text := range map[string][]byte{
		"RSA": pkcs8(t, rsaKey), "P-384": pkcs8(t, p384), "SEC 1": as("EC PRIVATE KEY", sec1), "encrypted": as("ENCRYPTED PRIVATE KEY", block.Bytes),
		"encrypted by cosign": as("ENCRYPTED SIGSTORE PRIVATE KEY", block.Bytes), "DER": block.Bytes, "cut off": as("PRIVATE KEY", block.Bytes[:len(block.Bytes)-1]),
		"text": []byte("hunter2-hunter2-hunter2"), "nothing": nil, "PEM cut off": good[:len(good)-20],
	} {
		key, err := ParseSigningKey(text)
		if err == nil {
			t.Errorf("%s is taken for %T", name, key.signer)
			continue
		}
		for i := 0; i+6 <= len(text); i++ {
			if part := string(text[i : i+6]); strings.Contains(err.Error(), part) && !strings.Contains("-----BEGIN PRIVATE KEY-----", part) && !strings.Contains("-----END PRIVATE KEY-----", part) {
				t.Errorf("%s: the error shows %q: %v", name, part, err)
				break
			}
		}
	}
	public := func(key any) []byte {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return as("PUBLIC KEY", der)
	}
	for name, text := range map[string][]byte{
		"RSA": public(&rsaKey.PublicKey), "P-384": public(&p384.PublicKey), "a private key": good, "two keys": append(public(&p256.PublicKey), public(&p256.PublicKey)...),
		"text behind it": append(public(&p256.PublicKey), "x"...), "text": []byte("x"), "nothing": nil,
	} {
		if _, err := ParsePublicKey(text); err == nil {
			t.Errorf("%s is a public key", name)
		}
	}
	if _, err := ParsePublicKey(public(&p256.PublicKey)); err != nil {
		t.Error(err)
	}
}

// A Sigstore bundle is taken for what it signs, and for nothing else.
func TestForgedSignature(t *testing.T) {
	signer, _ := newKey(t, "Ed25519")
	statement := []byte(`{"_type":"x"}`)
	good, err := signer.sign(statement)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkSignature(good, statement, signer.publicKey()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*SigstoreBundle){
		"no signature":            func(b *SigstoreBundle) { b.Envelope.Signatures = nil },
		"an empty signature":      func(b *SigstoreBundle) { b.Envelope.Signatures[0].Sig = "" },
		"a signature of the same": func(b *SigstoreBundle) { b.Envelope.Signatures[0].Sig = b.Envelope.Payload },
		"another payload type":    func(b *SigstoreBundle) { b.Envelope.PayloadType = "text/plain" },
		"another payload":         func(b *SigstoreBundle) { b.Envelope.Payload = base64.StdEncoding.EncodeToString([]byte("{}")) },
		"no payload":              func(b *SigstoreBundle) { b.Envelope.Payload = "" },
		"a payload that is none":  func(b *SigstoreBundle) { b.Envelope.Payload = "!" },
	} {
		var b SigstoreBundle
		if err := json.Unmarshal(good, &b); err != nil {
			t.Fatal(err)
		}
		change(&b)
		text, err := encode(b)
		if err != nil {
			t.Fatal(err)
		}
		if checkSignature(text, statement, signer.publicKey()) == nil {
			t.Errorf("%s: it is a signature", name)
		}
	}
	for _, text := range []string{"", "{}", "[]", "null"} {
		if checkSignature([]byte(text), statement, signer.publicKey()) == nil || checkSignature([]byte(text), nil, signer.publicKey()) == nil {
			t.Errorf("%q is a signature", text)
		}
	}
}

// The statement is one by in-toto's own rules, and the numbers in it are exact.
func TestStatementIsInToto(t *testing.T) {
	t.Parallel()
	server := start(t)
	for _, mode := range []Mode{Names, HMAC, Counts} {
		o := rich(t, server, mode)
		o.Previous = &Previous{SHA256: strings.Repeat("ab", 32), Revision: 1, ScannedAt: noon}
		dir, doc := write(t, o, Options{})
		var s intoto.Statement
		if err := protojson.Unmarshal(file(t, dir, StatementFile), &s); err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		if len(s.GetSubject()) != len(doc.Files)-2 {
			t.Errorf("%s: of %v it speaks of %d", mode, doc.Files, len(s.GetSubject()))
		}
		for _, subject := range s.GetSubject() {
			if got := fmt.Sprintf("%x", sha256.Sum256(file(t, dir, subject.GetName()))); got != subject.GetDigest()["sha256"] {
				t.Errorf("%s: %s has the digest %s", mode, subject.GetName(), got)
			}
		}
		asOf := s.GetPredicate().GetFields()["asOf"].GetStructValue().GetFields()["etcdRevision"].GetStringValue()
		if asOf != fmt.Sprint(o.Report.Source.Revision) {
			t.Errorf("%s: the revision is %q", mode, asOf)
		}
	}
}
