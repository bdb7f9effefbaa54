// Package kms is a plugin for Kubernetes' KMS API, v2 or v1, whose keys lie in a file and which fails on request. What it
// answers never holds a key, and its errors hold no data.
package kms

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/kms/apis/v1beta1"
	"k8s.io/kms/apis/v2"

	"github.com/svmctl/svmctl/playground/outage"
)

// healthy is the one text by which Status says that all is well.
const healthy = "ok"

// Settings do not change while a plugin runs.
type Settings struct {
	// Name is what the plugin calls itself. No version of the API makes anything of it.
	Name string
	// Annotate has each Encrypt of v2 return an annotation, which Decrypt wants back.
	Annotate bool
}

// State is what a plugin has done so far, and its keys.
type State struct {
	// Encrypt, Decrypt and Status count the calls that were answered. Version of v1 counts as Status.
	Encrypt int `json:"encrypt"`
	Decrypt int `json:"decrypt"`
	Status  int `json:"status"`
	// Failed counts those that got an error, asked for or not.
	Failed int `json:"failed"`
	// KeyID is the current key's, and KeyIDs those of all keys it has.
	KeyID  string   `json:"keyID"`
	KeyIDs []string `json:"keyIDs"`
}

// Plugin is served twice: by Server to an apiserver, and as an HTTP handler to whoever steers it. That answers
//
//	POST /rotate?id=kek-7          has a new key be the current one; without id the next of kek-1, kek-2, …
//	POST /drop?id=kek-1            forgets a key that is not the current one, for good
//	POST /fail?for=10s&first=3     Unavailable from now on for 10 s, or for 3 calls; for=0s ends it
//	POST /delay?of=2s              wait so long before each call; of=0s ends it
//	POST /healthz?text=sick        what Status says; "ok" when empty
//	GET  /counts                   State, as do all the others
type Plugin struct {
	settings Settings
	keys     *Keyring
	outage   *outage.Outage
	mux      *http.ServeMux

	mu      sync.Mutex
	delay   time.Duration
	healthz string
	counts  State // without the keys
}

// New returns a plugin with these keys. The clock is time.Now but for tests.
func New(settings Settings, keys *Keyring, now func() time.Time) *Plugin {
	p := &Plugin{
		settings: settings,
		keys:     keys,
		outage:   outage.New(outage.Plan{}, now),
		mux:      http.NewServeMux(),
		healthz:  healthy,
	}
	for pattern, set := range map[string]func(*http.Request) error{
		"POST /rotate":  func(r *http.Request) error { return p.keys.Rotate(r.URL.Query().Get("id")) },
		"POST /drop":    func(r *http.Request) error { return p.keys.Drop(r.URL.Query().Get("id")) },
		"POST /fail":    func(r *http.Request) error { return p.outage.Set(r.URL.Query()) },
		"POST /delay":   func(r *http.Request) error { return p.setDelay(r.URL.Query().Get("of")) },
		"POST /healthz": func(r *http.Request) error { p.setHealthz(r.URL.Query().Get("text")); return nil },
		"GET /counts":   func(*http.Request) error { return nil },
	} {
		p.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := set(r); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(p.State())
		})
	}
	return p
}

func (p *Plugin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mux.ServeHTTP(w, r)
}

// Server serves one version of the API.
func (p *Plugin) Server(version Version) *grpc.Server {
	server := grpc.NewServer(grpc.UnaryInterceptor(p.intercept))
	if version == V1 {
		v1beta1.RegisterKeyManagementServiceServer(server, &serviceV1{plugin: p})
	} else {
		v2.RegisterKeyManagementServiceServer(server, &serviceV2{plugin: p})
	}
	return server
}

// State is a copy.
func (p *Plugin) State() State {
	p.mu.Lock()
	state := p.counts
	p.mu.Unlock()
	state.KeyID, state.KeyIDs = p.keys.IDs()
	return state
}

// intercept delays, fails and counts the calls of both versions.
func (p *Plugin) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	response, err := p.answer(ctx, request, handler)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch method := path.Base(info.FullMethod); {
	case err != nil:
		p.counts.Failed++
		return nil, err
	case method == "Encrypt":
		p.counts.Encrypt++
	case method == "Decrypt":
		p.counts.Decrypt++
	default:
		p.counts.Status++
	}
	return response, nil
}

func (p *Plugin) answer(ctx context.Context, request any, handler grpc.UnaryHandler) (any, error) {
	p.mu.Lock()
	delay := p.delay
	p.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	case <-time.After(delay):
	}
	if p.outage.Review() {
		return nil, status.Error(codes.Unavailable, "failing on request")
	}
	return handler(ctx, request)
}

func (p *Plugin) setDelay(value string) error {
	delay, err := time.ParseDuration(value)
	if err != nil || delay < 0 {
		return fmt.Errorf("of: not a duration: %q", value)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
	return nil
}

func (p *Plugin) setHealthz(text string) {
	if text == "" {
		text = healthy
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.healthz = text
}
