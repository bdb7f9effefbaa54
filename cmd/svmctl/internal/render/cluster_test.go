package render_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
	"github.com/svmctl/svmctl/internal/migrate"
	"github.com/svmctl/svmctl/internal/rewrite"
	"github.com/svmctl/svmctl/internal/verify"
)

// cluster is an etcd in memory and the apiserver in front of it, so that reports come out of the engines themselves and
// every revision and time in them is the same each time.
type cluster struct {
	mu       sync.Mutex
	kvs      map[string]etcdscan.KeyValue
	revision int64
	writes   string            // the transformer that the apiserver encrypts with, e.g. aescbc:v1:key2
	refuses  map[string]string // name of an object → the apiserver's answer
	ignores  bool              // it takes patches and writes nothing
	now      time.Time
	stores   map[string]string // host of an apiserver → version that it stores selfierequests at
	late     map[string]func() // name of a definition → what happens right after its status was written, once
}

func newCluster() *cluster {
	return &cluster{kvs: make(map[string]etcdscan.KeyValue), now: time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC), writes: "aescbc:v1:key2"}
}

func (c *cluster) put(key, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revision++
	c.kvs[key] = etcdscan.KeyValue{Key: key, Value: []byte(value), ModRevision: c.revision, CreateRevision: c.revision, Version: 1}
}

func (c *cluster) get(key string) (etcdscan.KeyValue, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kv, found := c.kvs[key]
	return kv, found
}

func (c *cluster) clock() time.Time {
	c.now = c.now.Add(time.Second)
	return c.now
}

func (c *cluster) keys(r etcdscan.Range) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(c.kvs)), func(k string) bool { return k < r.Start || r.End != "" && k >= r.End })
}

func (c *cluster) Pin(context.Context, etcdscan.Range, int64) (etcdscan.Pin, error) {
	return etcdscan.Pin{Revision: c.revision, ClusterID: 0xcdf818194e3a8c32}, nil
}

func (c *cluster) Count(_ context.Context, r etcdscan.Range, _ int64) (int64, error) {
	return int64(len(c.keys(r))), nil
}

func (c *cluster) First(_ context.Context, r etcdscan.Range, _ int64) (string, bool, error) {
	if keys := c.keys(r); len(keys) > 0 {
		return keys[0], true, nil
	}
	return "", false, nil
}

func (c *cluster) Read(_ context.Context, r etcdscan.Range, _ int64) iter.Seq2[[]etcdscan.KeyValue, error] {
	return func(yield func([]etcdscan.KeyValue, error) bool) {
		for _, k := range c.keys(r) {
			if !yield([]etcdscan.KeyValue{c.kvs[k]}, nil) {
				return
			}
		}
	}
}

func (c *cluster) Look(_ context.Context, key string) (etcdscan.KeyValue, bool, error) {
	kv, found := c.get(key)
	return kv, found, nil
}

func (c *cluster) Revision(context.Context) (int64, error) { return c.revision, nil }

func (c *cluster) Health(context.Context) (live.Health, error) {
	return live.Health{Version: "3.7.3", DBSize: 25 << 20, Quota: 2 << 30}, nil
}

func (c *cluster) SaveSnapshot(_ context.Context, path string) (int64, [32]byte, error) {
	return snapshotFile(path)
}

// served is what discovery tells.
var served = map[string]string{
	"/api":  `{"kind":"APIVersions","versions":["v1"]}`,
	"/apis": `{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"stable.example.com","versions":[{"groupVersion":"stable.example.com/v2","version":"v2"},{"groupVersion":"stable.example.com/v1","version":"v1"}]}]}`,
	"/api/v1": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[` +
		`{"name":"secrets","singularName":"secret","namespaced":true,"kind":"Secret","verbs":["list","patch"]}]}`,
	"/apis/stable.example.com/v1": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"stable.example.com/v1","resources":[` +
		`{"name":"selfierequests","singularName":"selfierequest","namespaced":true,"kind":"SelfieRequest","verbs":["list","patch"]}]}`,
	"/apis/stable.example.com/v2": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"stable.example.com/v2","resources":[` +
		`{"name":"selfierequests","singularName":"selfierequest","namespaced":true,"kind":"SelfieRequest","verbs":["list","patch"]}]}`,
}

// RoundTrip answers discovery and the patch of a secret or a custom resource.
func (c *cluster) RoundTrip(r *http.Request) (*http.Response, error) {
	namespace, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"), "/secrets/")
	answer := func(code int, body string) (*http.Response, error) {
		return &http.Response{StatusCode: code, Proto: "HTTP/2.0", ProtoMajor: 2, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}, nil
	}
	if body, ok := c.answerAPIServers(r); ok {
		return answer(http.StatusOK, body)
	}
	if body, ok := served[r.URL.Path]; ok {
		return answer(http.StatusOK, body)
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/leases") && strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadataList"):
		return answer(http.StatusOK, fmt.Sprintf(`{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"%d"}}`, c.revision))
	case strings.HasPrefix(r.URL.Path, definitionsPath):
		code, body := c.answerDefinitions(r)
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		return answer(code, string(text))
	case r.Method == http.MethodGet:
		return answer(http.StatusNotFound, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":404,"reason":"NotFound"}`)
	case c.refuses[name] == "" && strings.HasPrefix(r.URL.Path, "/apis/stable.example.com/"):
		var revision int64
		if r.URL.Query().Get("dryRun") == "" {
			revision = c.patchSelfie(r.URL.Path)
		}
		return answer(http.StatusOK, fmt.Sprintf(patched, revision))
	}
	key := "/registry/secrets/" + namespace + "/" + name
	switch refusal := c.refuses[name]; {
	case refusal != "":
		var code int
		if _, err := fmt.Sscan(refusal, &code); err != nil {
			return nil, err
		}
		return answer(code, refusal[strings.Index(refusal, "{"):])
	case !c.ignores && r.URL.Query().Get("dryRun") == "":
		c.put(key, sealed(c.writes))
	}
	kv, _ := c.get(key)
	return answer(http.StatusOK, fmt.Sprintf(patched, kv.ModRevision))
}

const patched = `{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"%d"},"columnDefinitions":[],"rows":[]}`

// sealed is a value behind a transformer prefix.
func sealed(transformer string) string {
	return "k8s:enc:" + transformer + ":" + strings.Repeat("\xff\x00\xfe\x80", 12)
}

func plain(apiVersion, kind, namespace, name string) string {
	return fmt.Sprintf(`{"kind":%q,"apiVersion":%q,"metadata":{"name":%q,"namespace":%q}}`, kind, apiVersion, name, namespace)
}

// audit takes a look; expect is RESOURCE=VALUE, or "version RESOURCE=APIVERSION".
func (c *cluster) audit(t *testing.T, expect ...string) *audit.Report {
	t.Helper()
	report, err := audit.Run(t.Context(), audit.Request{
		Store: c, Origin: source(), Expectations: expectations(t, expect), Version: "v1.0.0", Now: c.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { report.Close() })
	return report
}

// migrate migrates the secrets to aescbc:key2; change alters the request.
func (c *cluster) migrate(t *testing.T, change func(*migrate.Request)) *migrate.Report {
	t.Helper()
	req := migrate.Request{
		Store: c, Origin: source(), Config: c.config(),
		Resources:    []rewrite.Resource{{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, Kind: "Secret", Namespaced: true}},
		Expectations: expectations(t, []string{"secrets=aescbc:key2"}), Definitions: c.definitions(t), Backend: migrate.Patch, Rewrite: rewrite.Options{Concurrency: 1},
		MaxOutage: time.Minute, MaxRounds: 5, Consent: func(context.Context, *migrate.Plan) error { return nil }, Version: "v1.0.0", Now: c.clock,
	}
	change(&req)
	report, err := migrate.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(report.Close)
	return report
}

func source() audit.Source {
	return audit.Source{Type: "etcd", Endpoints: []string{"https://127.0.0.1:2379"}, Integrity: "absent"}
}

func expectations(t *testing.T, expect []string) verify.Expectations {
	t.Helper()
	var values, versions []string
	for _, e := range expect {
		if version, ok := strings.CutPrefix(e, "version "); ok {
			versions = append(versions, version)
		} else {
			values = append(values, e)
		}
	}
	es, err := verify.ParseExpectations(values, versions)
	if err != nil {
		t.Fatal(err)
	}
	return es
}

// Follow sees nothing: these clusters have no late writers.
func (c *cluster) Follow(ctx context.Context, _ []etcdscan.Range, _ int64, _ func(etcdscan.KeyValue) error) error {
	<-ctx.Done()
	return nil
}
