package live

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// UnreachableError tells, per endpoint, why no connection came about.
type UnreachableError struct {
	Endpoints []string
	Errs      []error
}

func (e *UnreachableError) Error() string {
	var reasons []string
	for i, ep := range e.Endpoints {
		reasons = append(reasons, fmt.Sprintf("%s: %v", ep, e.Errs[i]))
	}
	return "connecting to etcd: " + strings.Join(reasons, "; ")
}

func (e *UnreachableError) Unwrap() []error { return e.Errs }

// probe opens a connection to each endpoint by itself, because the etcd client reports every cause as a deadline. It
// fails only when no endpoint can be reached at all.
func probe(ctx context.Context, endpoints []string, tlsConfig *tls.Config, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	results := make([]chan error, len(endpoints))
	for i, ep := range endpoints {
		results[i] = make(chan error, 1)
		go func() { results[i] <- probeOne(ctx, ep, tlsConfig) }()
	}
	unreachable := &UnreachableError{Endpoints: endpoints}
	for i := range endpoints {
		err := <-results[i]
		if err == nil {
			return nil
		}
		unreachable.Errs = append(unreachable.Errs, err)
	}
	return unreachable
}

func probeOne(ctx context.Context, endpoint string, tlsConfig *tls.Config) error {
	network, address, host, secure := parseEndpoint(endpoint)
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		var opErr *net.OpError
		if errors.As(err, &opErr) {
			err = opErr.Err
		}
		return err
	}
	defer conn.Close()
	if !secure || tlsConfig == nil {
		return nil
	}
	cfg := tlsConfig.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	cfg.NextProtos = []string{"h2"}
	tlsConn := tls.Client(conn, cfg)
	if err := tlsConn.HandshakeContext(ctx); err != nil {
		return err
	}
	// A client certificate that the server does not take shows only with the first bytes it sends.
	tlsConn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	var one [1]byte
	_, err = tlsConn.Read(one[:])
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" {
		return fmt.Errorf("%w: %w", ErrClientCertificate, alert.Err)
	}
	return nil
}

// ErrWantsTLS is returned by Open when an endpoint without TLS was given for a server that speaks TLS.
var ErrWantsTLS = errors.New("this endpoint speaks TLS, and was named without it")

// plainOverTLS finds out whether nobody answered because a plain request met a TLS server, and otherwise returns err.
func plainOverTLS(ctx context.Context, endpoints []string, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, ep := range endpoints {
		network, address, _, secure := parseEndpoint(ep)
		if secure || network != "tcp" {
			continue
		}
		// Nothing is sent over this connection; whose certificate it is does not matter.
		dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		conn, dialErr := dialer.DialContext(ctx, network, address)
		var alert tls.AlertError
		if dialErr == nil {
			conn.Close()
		}
		if dialErr == nil || errors.As(dialErr, &alert) {
			return fmt.Errorf("%s: %w", ep, ErrWantsTLS)
		}
	}
	return err
}

// parseEndpoint reads an endpoint as the etcd client does: scheme optional, unix sockets allowed. The certificate for a
// socket is made out to the name of its file.
func parseEndpoint(endpoint string) (network, address, host string, secure bool) {
	if path, ok := strings.CutPrefix(endpoint, "unix:"); ok {
		return "unix", strings.TrimPrefix(path, "//"), "", false
	}
	if path, ok := strings.CutPrefix(endpoint, "unixs:"); ok {
		path = strings.TrimPrefix(path, "//")
		host, _, err := net.SplitHostPort(filepath.Base(path))
		if err != nil {
			host = filepath.Base(path)
		}
		return "unix", path, host, true
	}
	secure = true
	address = endpoint
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		address, secure = u.Host, u.Scheme != "http"
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
		address = net.JoinHostPort(strings.Trim(address, "[]"), "2379")
	}
	return "tcp", address, host, secure
}
