package apiservers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// TestNames asks apiservers whose certificates hold one name each.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		name     string
		names    []string
		server   string // tls-server-name of the kubeconfig
		given    bool
		answered bool
	}{
		{name: "an endpoint under the cluster's name", names: []string{clusterName}, answered: true},
		{name: "an endpoint under its address, as a kubelet has it", names: []string{"127.0.0.1"}},
		{name: "an endpoint under the kubeconfig's name", names: []string{"api.example.com"}, server: "api.example.com", answered: true},
		{name: "an endpoint not under the kubeconfig's name", names: []string{clusterName}, server: "api.example.com"},
		{name: "given, under its address", names: []string{"127.0.0.1"}, given: true, answered: true},
		{name: "given, under the cluster's name", names: []string{clusterName}, given: true, answered: true},
		{name: "given, under another name", names: []string{"node-1"}, given: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlane(t, 2)
			p.servers[0].names = []string{"127.0.0.1", "api.example.com"}
			p.servers[1].names = c.names
			p.endpoints = p.endpoints[1:]
			cfg := p.config()
			cfg.TLSClientConfig.ServerName = c.server
			req := Request{Config: cfg}
			if c.given {
				req.Addresses = []string{"https://" + p.servers[1].address + "/"}
			}
			s := Ask(t.Context(), req)
			server := find(t, s, p.servers[1].address)
			if server.Answered != c.answered {
				t.Errorf("answered %t: %s", server.Answered, server.Problem)
			}
			if !c.answered && (server.Problem != "its certificate is for other names" || p.servers[1].heard != nil) {
				t.Errorf("problem %q, heard %v", server.Problem, p.servers[1].heard)
			}
		})
	}
}

func TestForeignCA(t *testing.T) {
	p, foreign := newPlane(t, 1), newPlane(t, 1)
	s := Ask(t.Context(), Request{Config: p.config(), Addresses: []string{foreign.servers[0].address}})
	if server := find(t, s, foreign.servers[0].address); server.Answered || foreign.servers[0].heard != nil {
		t.Errorf("%+v answered %v", server, foreign.servers[0].heard)
	}
}

// TestConfig sends a request through each apiserver with the kubeconfig's impersonation.
func TestConfig(t *testing.T) {
	p := newPlane(t, 2)
	p.servers[1].names = []string{clusterName}
	cfg := p.config()
	cfg.Impersonate = rest.ImpersonationConfig{UserName: "jane"}
	cfg.QPS, cfg.Timeout = 0.001, time.Nanosecond
	s := Ask(t.Context(), Request{Config: cfg})
	for _, a := range p.servers {
		way := s.Config(find(t, s, a.address))
		if way == nil {
			t.Fatalf("no way to %s", a.address)
		}
		c, err := rest.HTTPClientFor(way)
		if err != nil {
			t.Fatal(err)
		}
		a.heard = nil
		resp, err := c.Get(way.Host + "/api")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || a.heard.Get("Impersonate-User") != "jane" {
			t.Errorf("%s heard %v", a.address, a.heard)
		}
	}
	if cfg.Timeout != time.Nanosecond || cfg.TLSClientConfig.ServerName != "" {
		t.Error("the caller's configuration was changed")
	}
	if s.Config(Server{Address: nowhere}) != nil {
		t.Error("a way to an apiserver that nobody knows")
	}
}

// TestKubeconfigDown reads the leases through a given apiserver.
func TestKubeconfigDown(t *testing.T) {
	p := newPlane(t, 2)
	cfg := p.config()
	cfg.Host = "https://" + nowhere
	s := Ask(t.Context(), Request{Config: cfg, Addresses: p.endpoints})
	if a := s.Agreement(Question{Resources: []schema.GroupResource{requests}, Matter: StorageVersion | Encryption}); word(a.Agree) != "yes" || a.Asked != 2 {
		t.Errorf("%+v", a)
	}
}

// TestNow: leases are judged by the apiserver's clock, unless the caller has one.
func TestNow(t *testing.T) {
	p := newPlane(t, 1)
	ask := func(ahead time.Duration) Lease {
		return Ask(t.Context(), Request{Config: p.config(), Addresses: []string{nowhere}, Now: func() time.Time { return time.Now().Add(ahead) }}).Leases[0]
	}
	p.servers[0].identity = "another" // so that its answer keeps no lease alive
	if !ask(time.Minute).Live || ask(3*time.Minute).Live || !ask(-time.Hour).Live {
		t.Error("a lease lives for 2 minutes")
	}
}

func TestAllResources(t *testing.T) {
	p := newPlane(t, 1)
	server := Ask(t.Context(), Request{Config: p.config()}).Servers[0]
	for _, gr := range []schema.GroupResource{requests, secrets} {
		if hash, there, problem := server.StorageVersionHash(gr); !there || hash == "" || problem != "" {
			t.Errorf("%s: %q %t %q", gr, hash, there, problem)
		}
	}
	if _, _, problem := server.StorageVersionHash(schema.GroupResource{Resource: "pods"}); problem == "" {
		t.Error("pods are known though nobody spoke of them")
	}
	if _, _, problem := (Server{}).StorageVersionHash(secrets); problem == "" {
		t.Error("a server that nobody asked is known to serve no secrets")
	}
	if _, problem := (Server{}).Encryption(); problem == "" {
		t.Error("a server that nobody asked is known to have no EncryptionConfiguration")
	}
	if a := new(Survey).Agreement(Question{Resources: []schema.GroupResource{secrets}, Matter: StorageVersion}); a.Agree != nil {
		t.Error("nobody was asked, and all agree")
	}
}

func TestInterrupted(t *testing.T) {
	p := newPlane(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a := Ask(ctx, Request{Config: p.config(), Addresses: p.endpoints}).Agreement(Question{Matter: Encryption}); word(a.Agree) == "yes" {
		t.Errorf("%+v", a)
	}
	if _, _, err := WaitConverged(ctx, Request{Config: p.config()}, Question{Matter: Encryption}, 0, time.Hour, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestWaitConverged(t *testing.T) {
	p := newPlane(t, 2)
	p.servers[1].config = "older"
	req := Request{Config: p.config()}
	looks := 0
	_, a, err := WaitConverged(t.Context(), req, Question{Matter: Encryption}, time.Millisecond, time.Minute, func(a Agreement) {
		if looks++; looks == 5 {
			p.servers[1].config = "new"
		}
	})
	if err != nil || word(a.Agree) != "yes" || looks != 6 {
		t.Errorf("agree %s after %d looks, error %v", word(a.Agree), looks, err)
	}
	p.servers[1].config = "older"
	if _, a, err := WaitConverged(t.Context(), req, Question{Matter: Encryption}, time.Millisecond, 50*time.Millisecond, nil); err != nil || word(a.Agree) != "no" {
		t.Errorf("agree %s in the end, error %v", word(a.Agree), err)
	}
	p.refuse[leasesPath], p.servers[1].config, looks = 403, "new", 0
	if _, a, err := WaitConverged(t.Context(), req, Question{Matter: Encryption}, time.Millisecond, time.Minute, func(Agreement) { looks++ }); err != nil || a.Agree != nil || looks != hopeless {
		t.Errorf("agree %s after %d looks, error %v", word(a.Agree), looks, err)
	}
}

// TestKeep reads metrics that are too long, and such as break off.
func TestKeep(t *testing.T) {
	many := strings.Repeat("apiserver_request_duration_seconds_bucket{verb=\"GET\",le=\"1\"} 1\n", 10_000)
	kept, err := keep(strings.NewReader(many+buildInfo+"{git_version=\"v1\"} 1\n"+many), nil)
	if err != nil || string(kept) != buildInfo+"{git_version=\"v1\"} 1\n" {
		t.Errorf("kept %d bytes, error %v", len(kept), err)
	}
	if _, err := keep(strings.NewReader(strings.Repeat(configInfo+"{a=\"b\"} 1\n", maxKept/20)), nil); !errors.Is(err, errTooLong) {
		t.Errorf("error %v", err)
	}
	if _, err := keep(strings.NewReader(strings.Repeat("x", maxLine+1)), nil); !errors.Is(err, errStrange) {
		t.Errorf("error %v", err)
	}
	if _, err := keep(io.MultiReader(strings.NewReader(buildInfo+" 1\n"), iotest.ErrReader(io.ErrUnexpectedEOF)), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1:6443": "10.0.0.1:6443", "https://API.example.com": "api.example.com:443", "https://h:1/a/": "h:1/a", "[::1]:6443": "[::1]:6443",
		"http://10.0.0.1:8080": "", "10.0.0.1": "", "": "", "https://u:p@h": "", ":6443": "", "h:1/a": "", "https://h?x=y": "",
	} {
		if got, err := ParseAddress(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func find(t *testing.T, s *Survey, address string) Server {
	t.Helper()
	for _, server := range s.Servers {
		if server.Address == address {
			return server
		}
	}
	t.Fatalf("%s is not in %+v", address, s.Servers)
	return Server{}
}
