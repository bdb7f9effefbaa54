package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
)

func TestIssuedPairServesMutualTLS(t *testing.T) {
	dir := t.TempDir()
	authority, err := OpenAuthority(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	serverFiles, err := authority.Issue(Leaf{Name: "server", CommonName: "server", Hosts: []string{"127.0.0.1", "localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	clientFiles, err := authority.Issue(Leaf{Name: "client", CommonName: "root", Organizations: []string{"system:masters"}})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	bundle, err := os.ReadFile(authority.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	roots.AppendCertsFromPEM(bundle)

	var name string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		name = r.TLS.PeerCertificates[0].Subject.CommonName
	}))
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{load(t, serverFiles)},
		ClientCAs:    roots,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}
	server.StartTLS()
	defer server.Close()

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs:      roots,
		Certificates: []tls.Certificate{load(t, clientFiles)},
	}}}
	response, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if name != "root" {
		t.Errorf("the server saw the client %q, want root", name)
	}
}

func TestFilesAreKeptOverRuns(t *testing.T) {
	dir := t.TempDir()
	read := func() []byte {
		authority, err := OpenAuthority(dir, "ca")
		if err != nil {
			t.Fatal(err)
		}
		files, err := authority.Issue(Leaf{Name: "server", CommonName: "server", Hosts: []string{"127.0.0.1"}})
		if err != nil {
			t.Fatal(err)
		}
		public, private, err := OpenKeyPair(dir, "service-account")
		if err != nil {
			t.Fatal(err)
		}
		var all []byte
		for _, path := range []string{authority.CertFile, files.Cert, files.Key, public, private} {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, data...)
		}
		return all
	}
	if first, second := read(), read(); !bytes.Equal(first, second) {
		t.Error("a second run replaced files of the first")
	}
}

func TestKeysAreForTheOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	authority, err := OpenAuthority(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	files, err := authority.Issue(Leaf{Name: "client", CommonName: "client"})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(files.Key)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode of %s is %o, want 600", files.Key, mode)
	}
}

func load(t *testing.T, files Files) tls.Certificate {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
