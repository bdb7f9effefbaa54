package expect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/expect"
)

// api answers discovery, and the LIST of secrets with code and body. It stands for what an apiserver does not answer on
// demand; the real one is asked in e2e.
type api struct {
	code       int
	body       string
	list       []string // the queries of each LIST
	namespaces string   // the LIST of them; empty: none
}

var served = map[string]string{
	"/api":  `{"kind":"APIVersions","versions":["v1"]}`,
	"/apis": `{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"example.com","versions":[{"groupVersion":"example.com/v1","version":"v1"}],"preferredVersion":{"groupVersion":"example.com/v1","version":"v1"}}]}`,
	"/api/v1": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[` +
		`{"name":"secrets","singularName":"secret","namespaced":true,"kind":"Secret","verbs":["list"]}]}`,
	"/apis/example.com/v1": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"example.com/v1","resources":[` +
		`{"name":"widgets","singularName":"widget","shortNames":["wd"],"namespaced":true,"kind":"Widget","verbs":["list"]}]}`,
}

func (a *api) RoundTrip(r *http.Request) (*http.Response, error) {
	code, body := http.StatusOK, served[r.URL.Path]
	switch {
	case r.URL.Path == "/api/v1/secrets":
		a.list = append(a.list, r.Method+" "+r.URL.RawQuery)
		code, body = a.code, a.body
	case r.URL.Path == "/api/v1/namespaces" && a.namespaces != "":
		body = a.namespaces
	case body == "":
		code, body = http.StatusNotFound, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`
	}
	return &http.Response{StatusCode: code, Request: r, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// TestAbsent is for names that are known to be meant.
func TestAbsent(t *testing.T) {
	for _, c := range []struct {
		name      string
		resource  verify.Resource
		revisions []int64
		list      string
		want      bool
	}{
		{"not served", verify.Resource{Group: "example.com", Name: "gadgets"}, []int64{10, 20}, "15", true},
		{"served", verify.Resource{Group: "example.com", Name: "widgets"}, []int64{10, 20}, "15", false},
		{"by an apiserver of another etcd", verify.Resource{Group: "example.com", Name: "gadgets"}, []int64{10, 20}, "21", false},
		{"by one that does not list namespaces", verify.Resource{Group: "example.com", Name: "gadgets"}, []int64{10, 20}, "", false},
	} {
		a := &api{code: 200, body: `{}`}
		a.namespaces = ""
		if c.list != "" {
			a.namespaces = partial(c.list, `},"items":[]`)
		}
		revision := func(context.Context) (int64, error) {
			next := c.revisions[0]
			c.revisions = c.revisions[1:]
			return next, nil
		}
		if got := expect.Absent(t.Context(), &rest.Config{Host: "https://fake", Transport: a}, c.resource, revision); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func partial(revision, rest string) string {
	return fmt.Sprintf(`{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":%q%s}`, revision, rest)
}

func TestEmpty(t *testing.T) {
	secrets := verify.Resource{Name: "secrets"}
	lost := errors.New("lost")
	none := `},"items":[]`
	for _, c := range []struct {
		name      string
		api       api
		resource  verify.Resource
		revisions []any // what etcd answers, one after the other
		want      bool
	}{
		{"there is an object", api{code: 200, body: partial("15", `},"items":[{"metadata":{"name":"a"}}]`)}, secrets, []any{10, 20}, false},
		{"there is more to come", api{code: 200, body: partial("15", `,"continue":"next"},"items":[]`)}, secrets, []any{10, 20}, false},
		{"of an older etcd", api{code: 200, body: partial("9", none)}, secrets, []any{10, 20}, false},
		{"of a newer etcd", api{code: 200, body: partial("21", none)}, secrets, []any{10, 20}, false},
		{"of no revision", api{code: 200, body: partial("", none)}, secrets, []any{10, 20}, false},
		{"of a revision that is no number", api{code: 200, body: partial("x", none)}, secrets, []any{10, 20}, false},
		{"forbidden", api{code: 403, body: `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`}, secrets, []any{10, 20}, false},
		{"an error", api{code: 500, body: `{}`}, secrets, []any{10, 20}, false},
		{"no JSON", api{code: 200, body: `x`}, secrets, []any{10, 20}, false},
		{"etcd does not answer before", api{code: 200, body: partial("15", none)}, secrets, []any{lost}, false},
		{"etcd does not answer after", api{code: 200, body: partial("15", none)}, secrets, []any{10, lost}, false},
		{"not served", api{code: 200, body: partial("15", none)}, verify.Resource{Name: "secretz"}, []any{10, 20}, false},
		{"served in another group", api{code: 200, body: partial("15", none)}, verify.Resource{Group: "example.com", Name: "secrets"}, []any{10, 20}, false},
		{"by its kind", api{code: 200, body: partial("15", none)}, verify.Resource{Name: "secret"}, []any{10, 20}, false},
		{"by the name of a resource in another group", api{code: 200, body: partial("15", none)}, verify.Resource{Name: "widgets"}, []any{10, 20}, false},
		{"empty", api{code: 200, body: partial("15", none)}, secrets, []any{10, 20}, true},
		{"empty in an etcd where nothing happens", api{code: 200, body: partial("10", none)}, secrets, []any{10, 10}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			revision := func(context.Context) (int64, error) {
				next := c.revisions[0]
				c.revisions = c.revisions[1:]
				if err, failed := next.(error); failed {
					return 0, err
				}
				return int64(next.(int)), nil
			}
			if got := expect.Empty(t.Context(), &rest.Config{Host: "https://fake", Transport: &c.api}, c.resource, revision); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
			for _, query := range c.api.list {
				if query != "GET limit=1" {
					t.Errorf("%s: the LIST has to be a consistent one, of one object", query)
				}
			}
		})
	}
}
