package live

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.uber.org/zap"
)

// Config says how to reach etcd, in etcdctl's terms.
type Config struct {
	Endpoints    []string
	CACert       string // files in PEM
	Cert, Key    string
	User         string
	PasswordFile string // holds the password alone; a trailing newline is dropped
	DialTimeout  time.Duration
	ForcePaging  bool          // never use RangeStream
	MaxPageBytes int           // aim for pages of this many bytes of values; 0 = 2 MiB
	Timeout      time.Duration // of one request, and of the silence in a stream; 0 = 15 s, or Patience if that is less
	Patience     time.Duration // how long a request that fails is tried again; 0 = 30 s
}

func (cfg Config) tls() (*tls.Config, error) {
	secure := cfg.CACert != "" || cfg.Cert != "" || cfg.Key != ""
	for _, ep := range cfg.Endpoints {
		secure = secure || strings.HasPrefix(ep, "https://") || strings.HasPrefix(ep, "unixs:")
	}
	if !secure {
		return nil, nil
	}
	if (cfg.Cert == "") != (cfg.Key == "") {
		return nil, ErrHalfKeyPair
	}
	for _, file := range nonEmpty(cfg.CACert, cfg.Cert, cfg.Key) {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, &FileError{Path: file, Err: errors.Unwrap(err)}
		}
		if block, _ := pem.Decode(content); block == nil {
			return nil, &FileError{Path: file, Err: errNotPEM}
		}
	}
	info := transport.TLSInfo{TrustedCAFile: cfg.CACert, CertFile: cfg.Cert, KeyFile: cfg.Key, Logger: zap.NewNop()}
	tlsConfig, err := info.ClientConfig()
	if err != nil {
		// The inner error is dropped: a parser's message could quote the key file.
		return nil, &FileError{Path: strings.Join(nonEmpty(cfg.CACert, cfg.Cert, cfg.Key), ", "), Err: errNotPEM}
	}
	return tlsConfig, nil
}

func (cfg Config) password() (string, error) {
	if cfg.PasswordFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(cfg.PasswordFile)
	if err != nil {
		return "", &FileError{Path: cfg.PasswordFile, Err: err}
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

func nonEmpty(ss ...string) []string {
	var out []string
	for _, s := range ss {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// ClientCertificate is the DER of the certificate by which etcd is asked; nil for none.
func (cfg Config) ClientCertificate() []byte {
	if cfg.Cert == "" {
		return nil
	}
	content, err := os.ReadFile(cfg.Cert)
	if err != nil {
		return nil
	}
	block, _ := pem.Decode(content)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil
	}
	return block.Bytes
}
