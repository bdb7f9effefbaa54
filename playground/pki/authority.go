// Package pki makes the certificates and keys of a playground and keeps them in files.
// It never replaces a file that is already there, so a restarted plane keeps its identity.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"time"
)

// validity is long enough that nobody has to renew a certificate of a throw-away plane.
const validity = 10 * 365 * 24 * time.Hour

// Authority signs certificates with a self-signed root.
type Authority struct {
	// CertFile holds the root certificate, the bundle that peers verify against.
	CertFile string

	dir  string
	cert *x509.Certificate
	key  crypto.Signer
}

// Leaf describes a certificate to issue.
type Leaf struct {
	// Name is the base of the file names: NAME.crt and NAME.key.
	Name string
	// CommonName is what etcd and the apiserver take as the user of a client.
	CommonName    string
	Organizations []string
	// Hosts are the DNS names and IP addresses of a server; a leaf without hosts is a client only.
	Hosts []string
}

// Files are the two paths of an issued certificate.
type Files struct {
	Cert, Key string
}

// OpenAuthority loads the root NAME.crt and NAME.key from dir, or makes it there.
func OpenAuthority(dir, name string) (*Authority, error) {
	files := pair(dir, name)
	if exists(files.Cert) && exists(files.Key) {
		cert, err := readCertificate(files.Cert)
		if err != nil {
			return nil, err
		}
		key, err := readKey(files.Key)
		if err != nil {
			return nil, err
		}
		return &Authority{CertFile: files.Cert, dir: dir, cert: cert, key: key}, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating key of %s: %w", name, err)
	}
	template, err := newTemplate(pkix.Name{CommonName: "playground-" + name})
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing certificate of %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parsing certificate of %s: %w", name, err)
	}
	if err := write(files, der, key); err != nil {
		return nil, err
	}
	return &Authority{CertFile: files.Cert, dir: dir, cert: cert, key: key}, nil
}

// Issue returns the files of the leaf, making them when they are missing.
func (a *Authority) Issue(leaf Leaf) (Files, error) {
	files := pair(a.dir, leaf.Name)
	if exists(files.Cert) && exists(files.Key) {
		return files, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Files{}, fmt.Errorf("generating key of %s: %w", leaf.Name, err)
	}
	template, err := newTemplate(pkix.Name{CommonName: leaf.CommonName, Organization: leaf.Organizations})
	if err != nil {
		return Files{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	// Servers are clients as well: an etcd member dials its peers with the certificate it serves.
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(leaf.Hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, host := range leaf.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return Files{}, fmt.Errorf("signing certificate of %s: %w", leaf.Name, err)
	}
	return files, write(files, der, key)
}

// OpenKeyPair returns the files of a bare key pair, as service account tokens are signed with:
// NAME.key and the public key NAME.pub. It makes them when they are missing.
func OpenKeyPair(dir, name string) (public, private string, err error) {
	public, private = filepath.Join(dir, name+".pub"), filepath.Join(dir, name+".key")
	if exists(public) && exists(private) {
		return public, private, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("generating key of %s: %w", name, err)
	}
	if err := writeKey(private, key); err != nil {
		return "", "", err
	}
	return public, private, writePublicKey(public, key.Public())
}

func newTemplate(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("choosing serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		// A clock that was set back a little must not make a new certificate unusable.
		NotBefore: now.Add(-time.Hour),
		NotAfter:  now.Add(validity),
	}, nil
}

func pair(dir, name string) Files {
	return Files{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
}
