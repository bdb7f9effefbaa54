package rewrite

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// An answer that is lost after the write leaves a conflict of our own making.
func TestAnswerLostAfterTheWrite(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		t.Run(fmt.Sprintf("http2=%v", http2), func(t *testing.T) {
			f := newFake(t, func(name string, attempt int) reply {
				return reply{abort: name == "o1" && attempt == 1}
			})
			cfg, _ := f.listen(http2)
			results, err := runAll(t, mustPatcher(t, cfg, Options{Concurrency: 2}), named(5))
			if err != nil || count(results, Rewritten) != 4 {
				t.Fatalf("%v %+v", err, results)
			}
			if r := results["o1"]; r.Status != Conflict || !r.Uncertain || r.Attempts != 2 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestConnectionLostBeforeTheWrite(t *testing.T) {
	f := newFake(t, func(name string, attempt int) reply {
		if attempt == 1 {
			return reply{err: errRefused}
		}
		return reply{}
	})
	cfg, _ := f.listen(true)
	results, err := runAll(t, mustPatcher(t, cfg, Options{Concurrency: 2}), named(2))
	if err != nil || count(results, Rewritten) != 2 {
		t.Fatalf("%v %+v", err, results)
	}
}

func TestTransportReasons(t *testing.T) {
	f := newFake(t, func(string, int) reply { return reply{delay: 10 * time.Second} })
	cfg, server := f.listen(true)
	reason := func(cfg *rest.Config) Failure {
		t.Helper()
		p := mustPatcher(t, cfg, Options{MaxOutage: 500 * time.Millisecond, AttemptTimeout: 100 * time.Millisecond})
		results, err := runAll(t, p, named(1))
		r := results["o0"]
		if err == nil || r.Failure == nil {
			t.Fatalf("%v %+v", err, r)
		}
		return *r.Failure
	}
	if got := reason(cfg); got.Reason != ReasonTimeout || got.Kind != KindOutage {
		t.Errorf("%+v", got)
	}
	untrusted := rest.CopyConfig(cfg)
	untrusted.CAData = nil
	if got := reason(untrusted); got.Reason != ReasonCertificate {
		t.Errorf("%+v", got)
	}
	server.Close()
	if got := reason(cfg); got.Reason != ReasonRefused {
		t.Errorf("%+v", got)
	}
	nowhere := rest.CopyConfig(cfg)
	nowhere.Host = "https://svmctl.invalid"
	if got := reason(nowhere); got.Reason != ReasonLookup && got.Reason != ReasonTimeout {
		t.Errorf("%+v", got)
	}
}

// A redirect must not turn a patch into a GET of the object.
func TestRedirectIsNotFollowed(t *testing.T) {
	f := newFake(t, func(string, int) reply {
		return reply{code: http.StatusFound, body: "x", header: map[string]string{"Location": "/api/v1/namespaces/ns/secrets/o0"}}
	})
	cfg, _ := f.listen(true)
	results, err := runAll(t, mustPatcher(t, cfg, Options{}), named(1))
	if err != nil || f.total != 1 || results["o0"].Failure.Code != 302 {
		t.Errorf("%v, %d requests, %+v", err, f.total, results["o0"].Failure)
	}
}

func TestUserAgentAndWarnings(t *testing.T) {
	f := newFake(t, func(string, int) reply {
		return reply{header: map[string]string{"Warning": `299 - "` + canary + `"`}}
	})
	cfg, _ := f.listen(true)
	cfg.WarningHandler = warned{t}
	if _, err := runAll(t, mustPatcher(t, cfg, Options{}), named(1)); err != nil {
		t.Fatal(err)
	}
	if got := f.last.UserAgent(); got != "svmctl/test" {
		t.Errorf("user agent %s", got)
	}
	if f.last.ProtoMajor != 2 {
		t.Errorf("protocol %s", f.last.Proto)
	}
}

type warned struct{ t *testing.T }

func (w warned) HandleWarningHeader(int, string, string) { w.t.Error("a warning was handled") }

// What is read of an answer is bounded, whatever a server sends.
func TestEndlessAnswers(t *testing.T) {
	var sent atomic.Int64
	endless := func(code int, start string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			n, err := io.WriteString(w, start)
			chunk := strings.Repeat(canary+",", 4096)
			for sent.Add(int64(n)); err == nil; sent.Add(int64(n)) {
				n, err = io.WriteString(w, chunk)
			}
		}
	}
	for _, tt := range []struct {
		name  string
		code  int
		start string
		kind  Kind
	}{
		{"answer", 200, `{"kind":"Secret","data":{"a":"`, KindAnswer},
		{"refusal", 422, `{"kind":"Status","status":"Failure","message":"`, KindInvalid},
		{"array", 200, `{"kind":"Secret","data":[`, KindAnswer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sent.Store(0)
			s := httptest.NewUnstartedServer(endless(tt.code, tt.start))
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.EnableHTTP2 = true
			s.StartTLS()
			defer s.Close()
			results, err := runAll(t, mustPatcher(t, serverConfig(s), Options{}), named(1))
			if err != nil || results["o0"].Failure.Kind != tt.kind {
				t.Errorf("%v %+v", err, results["o0"].Failure)
			}
			if sent.Load() > 2*maxAnswer {
				t.Errorf("%d bytes were taken", sent.Load())
			}
		})
	}
}

func TestConnections(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config func(f *fake, conns *connections) *rest.Config
		most   int64
	}{
		{"one for HTTP/2", func(f *fake, c *connections) *rest.Config { return c.serve(f, true, true) }, 1},
		{"as many as workers for HTTP/1", func(f *fake, c *connections) *rest.Config { return c.serve(f, true, false) }, 40},
		{"as many as workers without TLS", func(f *fake, c *connections) *rest.Config { return c.serve(f, false, false) }, 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, func(string, int) reply { return reply{delay: time.Millisecond} })
			var c connections
			p := mustPatcher(t, tt.config(f, &c), Options{Concurrency: 40})
			if results, err := runAll(t, p, named(2000)); err != nil || count(results, Rewritten) != 2000 {
				t.Fatal(err)
			}
			// A connection may be dialled for a request that then finds another one free.
			if got := c.opened.Load(); got > 2*tt.most {
				t.Errorf("%d connections", got)
			}
			if tt.most == 1 && f.most < 20 {
				t.Errorf("%d at once", f.most)
			}
		})
	}
}

// connections counts what a server accepts.
type connections struct{ opened atomic.Int64 }

func (c *connections) serve(f *fake, secure, http2 bool) *rest.Config {
	s := httptest.NewUnstartedServer(f)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			c.opened.Add(1)
		}
	}
	f.t.Cleanup(s.Close)
	if !secure {
		s.Start()
		return &rest.Config{Host: s.URL}
	}
	s.EnableHTTP2 = http2
	s.StartTLS()
	cfg := serverConfig(s)
	if !http2 {
		cfg.NextProtos = []string{"http/1.1"}
	}
	return cfg
}

func TestRestartOnTheSameAddress(t *testing.T) {
	f := newFake(t, func(string, int) reply { return reply{delay: 2 * time.Millisecond} })
	first := httptest.NewUnstartedServer(f)
	first.EnableHTTP2 = true
	first.StartTLS()
	cfg := serverConfig(first)
	addr := first.Listener.Addr().String()
	cert := first.TLS.Certificates
	go func() {
		time.Sleep(100 * time.Millisecond)
		first.CloseClientConnections()
		first.Listener.Close()
		first.CloseClientConnections()
		time.Sleep(700 * time.Millisecond)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		second := httptest.NewUnstartedServer(f)
		second.Listener.Close()
		second.Listener = l
		second.EnableHTTP2 = true
		second.TLS = &tls.Config{Certificates: cert}
		second.StartTLS()
		t.Cleanup(second.Close)
	}()
	p := mustPatcher(t, cfg, Options{Concurrency: 8, MaxOutage: 30 * time.Second})
	results, err := runAll(t, p, named(2000))
	if err != nil {
		t.Fatal(err)
	}
	conflicts := 0
	for _, r := range results {
		switch {
		case r.Status == Conflict && r.Uncertain:
			conflicts++
		case r.Status != Rewritten:
			t.Errorf("%+v %+v", r, r.Failure)
		}
	}
	if len(results) != 2000 || conflicts > 8 {
		t.Errorf("%d results, %d conflicts", len(results), conflicts)
	}
}
