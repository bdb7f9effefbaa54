package crd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// TestClientOnPlane needs a real apiserver, which is the only one that keeps preconditions and status apart from the rest.
func TestClientOnPlane(t *testing.T) {
	if *plane == "" {
		t.Skip("no -plane")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(*plane, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := newRecorder(t)
	const crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	const many = 120 // so that the list takes three pages
	for i := range many {
		asJSON, err := yaml.YAMLToJSON(fmt.Appendf(nil, twoVersions, fmt.Sprintf("plane%03d", i)))
		if err != nil {
			t.Fatal(err)
		}
		if code, answer := p.do(ctx, t, http.MethodPost, crds, "application/json", asJSON); code != http.StatusCreated && code != http.StatusConflict {
			t.Fatalf("creating: %d %s", code, answer)
		}
	}
	seen := make(map[string]bool)
	for d, err := range client.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[d.Name] {
			t.Errorf("%s was listed twice", d.Name)
		}
		seen[d.Name] = true
		if d.Object() == nil || d.ResourceVersion == "" || d.UID == "" {
			t.Errorf("%s lacks its schemas, resourceVersion or UID", d.Name)
		}
	}
	for i := range many {
		if name := fmt.Sprintf("things.plane%03d.example.com", i); !seen[name] {
			t.Errorf("%s was not listed", name)
		}
	}
	const name = "things.plane000.example.com"
	var d *Definition
	for d == nil || !d.Established {
		if d, err = client.Get(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	more, err := client.SetStoredVersions(ctx, d, []string{"v1", "v2"})
	if err != nil || !slices.Equal(more.StoredVersions, []string{"v1", "v2"}) || more.ResourceVersion == d.ResourceVersion {
		t.Fatalf("got %+v, %v", more, err)
	}
	if _, err := client.SetStoredVersions(ctx, d, []string{"v2"}); !errors.Is(err, ErrConflict) {
		t.Errorf("writing over a change: %v, want ErrConflict", err)
	}
	less, err := client.SetStoredVersions(ctx, more, []string{"v2"})
	if err != nil || !slices.Equal(less.StoredVersions, []string{"v2"}) {
		t.Errorf("got %v, %v", less, err)
	}
	if _, err := client.Get(ctx, "none.plane.example.com"); !errors.Is(err, ErrNotFound) {
		t.Errorf("reading none: %v, want ErrNotFound", err)
	}
	cfg = rest.CopyConfig(cfg)
	cfg.Impersonate.UserName = "nobody"
	powerless, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var refused *RefusedError
	if _, err := powerless.SetStoredVersions(ctx, less, []string{"v2"}); !errors.As(err, &refused) || !refused.Forbidden() || strings.Contains(err.Error(), "nobody") {
		t.Errorf("without permission: %v", err)
	}
	if _, err := powerless.Get(ctx, name); !errors.As(err, &refused) || refused.Reason != "Forbidden" {
		t.Errorf("without permission: %v", err)
	}
}

const twoVersions = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.%[1]s.example.com}
spec:
  group: %[1]s.example.com
  names: {kind: Thing, plural: things}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: false, deprecated: true, schema: {openAPIV3Schema: {type: object}}}
  - {name: v2, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object}}}
`

// client gives a Client of a server whose answers no apiserver gives on demand.
func client(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	c, err := NewClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRefusals(t *testing.T) {
	const secret = "hunter2"
	for _, c := range []struct {
		name   string
		code   int
		body   string
		is     error
		want   RefusedError
		sends  int
		header string
	}{
		{name: "gone", code: 404, body: `{"kind":"Status","reason":"NotFound","details":{"name":"a.example.com"}}`, is: ErrNotFound, sends: 1},
		{name: "no such API", code: 404, body: `{"kind":"Status","reason":"NotFound","details":{}}`, want: RefusedError{404, "NotFound"}, sends: 1},
		{name: "a proxy's 404", code: 404, body: `<html>`, want: RefusedError{Code: 404}, sends: 1},
		{name: "changed", code: 409, body: `{"kind":"Status","reason":"Conflict"}`, is: ErrConflict, sends: 1},
		{name: "somebody's words", code: 403, body: `{"kind":"Status","reason":"` + secret + `","message":"` + secret + `"}`, want: RefusedError{Code: 403}, sends: 1},
		{name: "failing", code: 500, body: `{"kind":"Status","reason":"InternalError","message":"` + secret + `"}`, want: RefusedError{500, "InternalError"}, sends: 1},
		{name: "put off", code: 429, body: `{"kind":"Status","reason":"TooManyRequests"}`, want: RefusedError{429, "TooManyRequests"}, sends: attempts},
		{name: "sent elsewhere", code: 302, header: "/elsewhere", want: RefusedError{Code: 302}, sends: 1},
		{name: "no JSON", code: 200, body: secret, is: errAnswer, sends: 1},
		{name: "cut off", code: 200, body: `{"metadata":{"name":"` + secret, is: io.ErrUnexpectedEOF, sends: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sent := 0
			cl := client(t, func(w http.ResponseWriter, r *http.Request) {
				sent++
				if c.header != "" {
					w.Header().Set("Location", c.header)
				}
				w.WriteHeader(c.code)
				_, _ = io.WriteString(w, c.body)
			})
			_, err := cl.Get(t.Context(), "a.example.com")
			var refused *RefusedError
			switch {
			case c.is != nil && !errors.Is(err, c.is):
				t.Errorf("got %v, want %v", err, c.is)
			case c.is == nil && (!errors.As(err, &refused) || *refused != c.want):
				t.Errorf("got %v, want %v", err, &c.want)
			case strings.Contains(err.Error(), secret):
				t.Errorf("%v quotes the answer", err)
			case sent != c.sends:
				t.Errorf("sent %d times, want %d", sent, c.sends)
			}
		})
	}
}

func TestAnswersAreBounded(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"items":["`+strings.Repeat("x", 2000)+`"]}`)
	})
	c.limit = 1000
	for _, err := range c.All(t.Context()) {
		if err == nil || !strings.Contains(err.Error(), "longer than 1000 bytes") {
			t.Errorf("got %v", err)
		}
	}
}

func TestAllEndsWithTheFirstError(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("continue") {
		case "":
			_, _ = io.WriteString(w, `{"metadata":{"continue":"more"},"items":[{"metadata":{"name":"first"}}]}`)
		default:
			w.WriteHeader(http.StatusGone)
			_, _ = io.WriteString(w, `{"kind":"Status","reason":"Expired"}`)
		}
	})
	var names []string
	var errs []error
	for d, err := range c.All(t.Context()) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		names = append(names, d.Name)
	}
	var refused *RefusedError
	if !slices.Equal(names, []string{"first"}) || len(errs) != 1 || !errors.As(errs[0], &refused) || refused.Reason != "Expired" {
		t.Errorf("got %q and %v; a list that was not finished must not look like one that was", names, errs)
	}
}

func TestCancellation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "10")
		w.WriteHeader(http.StatusTooManyRequests)
		cancel()
	})
	start := time.Now()
	if _, err := c.Get(ctx, "a.example.com"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestStoredVersionsThatWouldLockTheDefinition(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was sent", r.Method, r.URL.Path)
	})
	d := parseOne(t, fmt.Appendf(nil, twoVersions, "a"))
	if _, err := c.SetStoredVersions(t.Context(), d, []string{"v2"}); err == nil {
		t.Error("a definition out of a file was written to a cluster")
	}
	d.ResourceVersion = "1"
	for _, versions := range [][]string{nil, {}, {"v1"}, {"v2", "v3"}, {"v2", "v2"}} {
		if _, err := c.SetStoredVersions(t.Context(), d, versions); err == nil {
			t.Errorf("%q was accepted", versions)
		}
	}
}
