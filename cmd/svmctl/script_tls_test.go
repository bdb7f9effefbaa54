package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// writeCertificates makes tls/ca.crt, and server, client and expired with .crt and .key signed by it; other-ca.crt, and
// other.crt and other.key signed by that one.
func writeCertificates(ts *testscript.TestScript) {
	ts.Check(os.MkdirAll(ts.MkAbs("tls"), 0o755))
	write := func(name string, c certificate) {
		key, err := x509.MarshalECPrivateKey(c.key)
		ts.Check(err)
		for file, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: c.raw}, ".key": {Type: "EC PRIVATE KEY", Bytes: key}} {
			ts.Check(os.WriteFile(filepath.Join(ts.MkAbs("tls"), name+file), pem.EncodeToMemory(block), 0o600))
		}
	}
	year := 365 * 24 * time.Hour
	ca, other := issue(ts, "ca", nil, year), issue(ts, "other ca", nil, year)
	write("ca", ca)
	write("other-ca", other)
	write("server", issue(ts, "server", &ca, year))
	write("client", issue(ts, "client", &ca, year))
	write("expired", issue(ts, "expired", &ca, -time.Hour))
	write("other", issue(ts, "other client", &other, year))
}

type certificate struct {
	*x509.Certificate
	raw []byte
	key *ecdsa.PrivateKey
}

// issue makes a certificate for 127.0.0.1, or an authority when nobody signs it.
func issue(ts *testscript.TestScript, name string, signer *certificate, valid time.Duration) certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(valid),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signedBy := template, key
	if signer == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		template.IPAddresses, template.ExtKeyUsage = nil, nil
	} else {
		parent, signedBy = signer.Certificate, signer.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signedBy)
	ts.Check(err)
	parsed, err := x509.ParseCertificate(raw)
	ts.Check(err)
	return certificate{parsed, raw, key}
}
