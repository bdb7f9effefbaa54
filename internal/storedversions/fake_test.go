package storedversions

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
	"github.com/svmctl/svmctl/internal/verify"
)

const (
	group = "stable.example.com"
	name  = "selfierequests." + group
)

// cluster is a real etcd, and as much of an apiserver as keeps CustomResourceDefinitions in it: a resourceVersion is the
// mod_revision of the key. What no apiserver does on demand is done by its hooks.
type cluster struct {
	t     *testing.T
	etcd  *etcdtest.Server
	store *live.Store
	root  string
	http  *httptest.Server

	mu      sync.Mutex
	patches int
	onPatch func(n int, w http.ResponseWriter, apply func() int) bool // the n-th patch, from 1; true: it was dealt with
	onGet   func(n int) (code int)                                    // the n-th read of one definition; 0: go on
	gets    int

	others []string // plurals of further definitions, which have no hooks

	pins  int
	onPin func(n int) // before the n-th scan pins its revision, from 1
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	return clusterIn(t, etcdtest.Start(t), "/registry")
}

func clusterIn(t *testing.T, server *etcdtest.Server, root string) *cluster {
	t.Helper()
	store, err := live.Open(t.Context(), live.Config{Endpoints: []string{server.Endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	c := &cluster{t: t, etcd: server, store: store, root: root}
	c.http = httptest.NewServer(c)
	t.Cleanup(c.http.Close)
	return c
}

func (c *cluster) key() string { return c.keyOf(name) }

func (c *cluster) keyOf(name string) string {
	return c.root + "/apiextensions.k8s.io/customresourcedefinitions/" + name
}

// define writes the definition with the first of the versions as the storage version.
func (c *cluster) define(stored []string, versions ...string) int64 {
	return c.etcd.Put(c.t, c.key(), definition("uid-1", stored, versions...))
}

func definition(uid string, stored []string, versions ...string) string {
	var list []any
	for i, v := range versions {
		list = append(list, map[string]any{"name": v, "served": true, "storage": i == 0, "schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object"}}})
	}
	text, err := json.Marshal(map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": name, "uid": uid},
		"spec":   map[string]any{"group": group, "names": map[string]any{"plural": "selfierequests", "kind": "SelfieRequest"}, "scope": "Namespaced", "versions": list},
		"status": map[string]any{"storedVersions": stored, "acceptedNames": map[string]any{"plural": "selfierequests", "kind": "SelfieRequest"}},
	})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// object writes one that is stored at a version.
func (c *cluster) object(object, version string) int64 {
	return c.etcd.Put(c.t, c.root+"/"+group+"/selfierequests/ns/"+object,
		fmt.Sprintf(`{"apiVersion":%q,"kind":"SelfieRequest","metadata":{"name":%q,"namespace":"ns"}}`, group+"/"+version, object))
}

func (c *cluster) request() Request {
	client, err := crd.NewClient(&rest.Config{Host: c.http.URL})
	if err != nil {
		c.t.Fatal(err)
	}
	return Request{Store: pinning{c.store, c}, Definitions: client, Now: time.Now,
		Served: func(context.Context) (map[verify.Resource]bool, bool) { return nil, true }}
}

func (c *cluster) pruneRequest() PruneRequest {
	req := c.request()
	return PruneRequest{Request: req, Client: req.Definitions.(*crd.Client), Agreement: agreed(yes)}
}

var yes, no = new(true), new(false)

// agreed has the apiservers agree or not, one answer after the other and then the last; nil is not known.
func agreed(agree ...*bool) func(context.Context, *crd.Definition) apiservers.Agreement {
	asked := 0
	return func(context.Context, *crd.Definition) apiservers.Agreement {
		asked++
		return apiservers.Agreement{Known: 1, Asked: 1, Agree: agree[min(asked, len(agree))-1]}
	}
}

// prune runs it and gives the only row.
func (c *cluster) prune(ctx context.Context, req PruneRequest) Row {
	c.t.Helper()
	report, err := Prune(ctx, req)
	if err != nil {
		c.t.Fatal(err)
	}
	if len(report.CRDs) != 1 {
		c.t.Fatalf("%d rows", len(report.CRDs))
	}
	c.t.Logf("%+v, warnings %q", report.CRDs[0], report.Warnings)
	return report.CRDs[0]
}

// wantStored checks in etcd itself what storedVersions names, in any order.
func (c *cluster) wantStored(want ...string) {
	c.t.Helper()
	_, d := c.read()
	got := d.Status.StoredVersions
	if slices.Sort(got); !slices.Equal(got, want) {
		c.t.Errorf("storedVersions is %v in the end, want %v", got, want)
	}
}

type document struct {
	Metadata map[string]any
	Status   struct{ StoredVersions []string }
}

func (c *cluster) read() (revision int64, d document) {
	resp, err := c.etcd.Client.Get(context.Background(), c.key())
	if err != nil {
		c.t.Error(err)
		return 0, d
	}
	if len(resp.Kvs) == 0 {
		return 0, d
	}
	if err := json.Unmarshal(resp.Kvs[0].Value, &d); err != nil {
		c.t.Error(err)
	}
	return resp.Kvs[0].ModRevision, d
}

// apply does what the patch asks for, if its precondition holds, and gives the code to answer with.
func (c *cluster) apply(key string, body []byte) int {
	var patch document
	if err := json.Unmarshal(body, &patch); err != nil {
		return http.StatusBadRequest
	}
	resp, err := c.etcd.Client.Get(context.Background(), key)
	if err != nil || len(resp.Kvs) == 0 {
		return http.StatusNotFound
	}
	at, _ := strconv.ParseInt(patch.Metadata["resourceVersion"].(string), 10, 64)
	var object map[string]any
	if err := json.Unmarshal(resp.Kvs[0].Value, &object); err != nil {
		return http.StatusInternalServerError
	}
	object["status"].(map[string]any)["storedVersions"] = patch.Status.StoredVersions
	text, _ := json.Marshal(object)
	done, err := c.etcd.Client.Txn(context.Background()).If(clientv3.Compare(clientv3.ModRevision(key), "=", at)).
		Then(clientv3.OpPut(key, string(text))).Commit()
	switch {
	case err != nil:
		return http.StatusInternalServerError
	case !done.Succeeded:
		return http.StatusConflict
	}
	return http.StatusOK
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	const base = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case r.Method == http.MethodGet && r.URL.Path == base:
		items := []string{c.show(c.key())}
		for _, plural := range c.others {
			items = append(items, c.show(c.keyOf(plural+"."+group)))
		}
		items = slices.DeleteFunc(items, func(s string) bool { return s == "" })
		fmt.Fprintf(w, `{"kind":"CustomResourceDefinitionList","items":[%s]}`, strings.Join(items, ","))
	case r.Method == http.MethodGet && r.URL.Path == base+"/"+name:
		c.gets++
		if c.onGet != nil {
			if code := c.onGet(c.gets); code != 0 {
				answer(w, code)
				return
			}
		}
		if text := c.show(c.key()); text != "" {
			io.WriteString(w, text)
			return
		}
		answer(w, http.StatusNotFound)
	case r.Method == http.MethodPatch && r.URL.Path == base+"/"+name+"/status":
		body, _ := io.ReadAll(r.Body)
		c.patches++
		apply := func() int { return c.apply(c.key(), body) }
		if c.onPatch != nil && c.onPatch(c.patches, w, apply) {
			return
		}
		if code := apply(); code != http.StatusOK {
			answer(w, code)
			return
		}
		io.WriteString(w, c.show(c.key()))
	case slices.Contains(c.others, strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, base+"/"), "/status"), "."+group)):
		key := c.keyOf(strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, base+"/"), "/status"))
		if r.Method == http.MethodPatch {
			body, _ := io.ReadAll(r.Body)
			c.apply(key, body)
		}
		io.WriteString(w, c.show(key))
	default:
		c.t.Errorf("the apiserver was asked for %s %s", r.Method, r.URL.Path)
	}
}

// show is the definition as the API gives it, empty if there is none.
func (c *cluster) show(key string) string {
	resp, err := c.etcd.Client.Get(context.Background(), key)
	if err != nil || len(resp.Kvs) == 0 {
		return ""
	}
	return strings.Replace(string(resp.Kvs[0].Value), `"metadata":{`, fmt.Sprintf(`"metadata":{"resourceVersion":"%d",`, resp.Kvs[0].ModRevision), 1)
}

func answer(w http.ResponseWriter, code int) {
	reason := map[int]string{409: "Conflict", 404: "NotFound", 403: "Forbidden", 504: "Timeout"}[code]
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","reason":%q,"message":"CANARY","details":{"name":%q}}`, reason, name)
}

// pinning is the store, with something done before a scan begins.
type pinning struct {
	*live.Store
	c *cluster
}

func (p pinning) Pin(ctx context.Context, r etcdscan.Range, revision int64) (etcdscan.Pin, error) {
	p.c.pins++
	if p.c.onPin != nil {
		p.c.onPin(p.c.pins)
	}
	return p.Store.Pin(ctx, r, revision)
}
