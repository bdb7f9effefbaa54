package apiservers

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"k8s.io/client-go/rest"
)

// clusterName is in the certificate of every kube-apiserver that pods can use; the addresses of the EndpointSlice need
// not be.
const clusterName = "kubernetes.default.svc"

// ParseAddress reads the address of an apiserver: host:port, or an https URL. What it gives back is in the form of
// Server.Address. Other schemes are refused: credentials would go over the wire in the clear.
func ParseAddress(text string) (string, error) {
	t := text
	if !strings.Contains(t, "://") {
		host, port, err := net.SplitHostPort(t)
		if err != nil || host == "" || port == "" || strings.Contains(t, "/") {
			return "", errAddress(text)
		}
		t = "https://" + t
	}
	u, err := url.Parse(t)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errAddress(text)
	}
	return hostPort(u) + strings.TrimRight(u.Path, "/"), nil
}

// errAddress does not repeat what may hold a password.
func errAddress(text string) error {
	if strings.ContainsAny(text, "@?") {
		return errors.New("parsing an apiserver's address: want host:port or an https URL, without credentials and query")
	}
	return fmt.Errorf("parsing the apiserver's address %q: want host:port or an https URL", text)
}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return strings.ToLower(u.Host)
	}
	port := "443"
	if u.Scheme == "http" {
		port = "80"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// target is one address to ask, in the ways that may reach it.
type target struct {
	server Server
	ways   []*rest.Config // tried in turn while the certificate is for other names
}

// ownTarget is the kubeconfig's own address.
func ownTarget(cfg *rest.Config) target {
	t := target{server: Server{Own: true, Address: cfg.Host}, ways: []*rest.Config{quiet(cfg)}}
	if base, _, err := rest.DefaultServerUrlFor(cfg); err == nil {
		t.server.Address = hostPort(base) + strings.TrimRight(base.Path, "/")
	}
	return t
}

// endpointTarget is an address of the EndpointSlice. It is asked under clusterName and no other, since who may write
// the slice would else choose who gets the credentials: kubelets hold certificates of the same CA for their addresses.
func endpointTarget(cfg *rest.Config, address string) target {
	name := cfg.TLSClientConfig.ServerName
	if name == "" {
		name = clusterName
	}
	return target{server: Server{Address: address}, ways: []*rest.Config{through(cfg, address, name)}}
}

// givenTarget is an address that the request has.
func givenTarget(cfg *rest.Config, text string) target {
	address, err := ParseAddress(text)
	if err != nil {
		return target{server: Server{Address: text, Problem: "the address cannot be understood"}}
	}
	t := target{server: Server{Address: address}}
	t.ways = append(t.ways, through(cfg, address, cfg.TLSClientConfig.ServerName))
	if cfg.TLSClientConfig.ServerName != clusterName {
		t.ways = append(t.ways, through(cfg, address, clusterName))
	}
	return t
}

// through is cfg with another address. An empty name: the certificate has to be for the address's host.
func through(cfg *rest.Config, address, name string) *rest.Config {
	cfg = quiet(cfg)
	cfg.Host = "https://" + address
	if !cfg.TLSClientConfig.Insecure {
		cfg.TLSClientConfig.ServerName = name
	}
	return cfg
}

// quiet is cfg without what a caller may have set for requests of its own.
func quiet(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.APIPath, cfg.GroupVersion, cfg.NegotiatedSerializer = "", nil, nil
	cfg.QPS, cfg.RateLimiter, cfg.Timeout = -1, nil, 0
	cfg.WarningHandler, cfg.WarningHandlerWithContext = rest.NoWarnings{}, nil
	return cfg
}
