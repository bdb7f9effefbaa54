package gate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
	"github.com/svmctl/svmctl/internal/gate"
)

const crdsDir = "/registry/apiextensions.k8s.io/customresourcedefinitions/"

// cluster is a real etcd, and an apiserver that shows definitions as it is told to.
type cluster struct {
	etcd        *etcdtest.Server
	definitions map[string]map[string]any
	status      int // of every answer, unless it is 0
	client      *crd.Client
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{etcd: etcdtest.Start(t), definitions: make(map[string]map[string]any)}
	// Something by which the root can be found.
	c.etcd.Put(t, "/registry/namespaces/default", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"}}`)
	server := httptest.NewServer(http.HandlerFunc(c.answer))
	t.Cleanup(server.Close)
	var err error
	if c.client, err = crd.NewClient(&rest.Config{Host: server.URL}); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) answer(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	var out any
	switch d := c.definitions[name]; {
	case c.status != 0:
		w.WriteHeader(c.status)
		out = map[string]any{"kind": "Status", "reason": "InternalError"}
	case name == "customresourcedefinitions":
		var items []any
		for _, name := range slices.Sorted(maps.Keys(c.definitions)) {
			items = append(items, c.definitions[name])
		}
		out = map[string]any{"kind": "CustomResourceDefinitionList", "items": items}
	case d == nil:
		w.WriteHeader(http.StatusNotFound)
		out = map[string]any{"kind": "Status", "reason": "NotFound", "details": map[string]any{"name": name}}
	default:
		out = d
	}
	_ = json.NewEncoder(w).Encode(out)
}

// define puts a definition into etcd, and has the apiserver show it.
func (c *cluster) define(t *testing.T, plural string, fields ...string) {
	t.Helper()
	d := make(map[string]any)
	if err := yaml.Unmarshal([]byte(definition(plural, fields...)), &d); err != nil {
		t.Fatal(err)
	}
	d["status"] = map[string]any{"storedVersions": []string{"v1"}}
	metadata := d["metadata"].(map[string]any)
	revision := c.etcd.Put(t, crdsDir+metadata["name"].(string), fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":%q}}`, metadata["name"]))
	metadata["resourceVersion"] = strconv.FormatInt(revision, 10)
	c.definitions[metadata["name"].(string)] = d
}

// definition has the one version v1, with text fields in spec.
func definition(plural string, fields ...string) string {
	return fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]s.example.com}
spec:
  group: example.com
  names: {kind: %[2]s, listKind: %[2]sList, plural: %[1]s, singular: %[3]s}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {%[4]s: {type: string}}}}}}}
`, plural, kind(plural), strings.TrimSuffix(plural, "s"), strings.Join(fields, ": {type: string}, "))
}

func kind(plural string) string {
	return strings.ToUpper(plural[:1]) + strings.TrimSuffix(plural[1:], "s")
}

func object(plural, name, spec string) string {
	return fmt.Sprintf(`{"apiVersion":"example.com/v1","kind":%q,"metadata":{"namespace":"ns","name":%q},"spec":%s}`, kind(plural), name, spec)
}

func key(plural, name string) string { return "/registry/example.com/" + plural + "/ns/" + name }

// request checks files against the cluster.
func (c *cluster) request(t *testing.T, files ...string) gate.Request {
	t.Helper()
	next, skipped, err := crd.Parse(strings.NewReader(strings.Join(files, "\n---\n")))
	if err != nil {
		t.Fatal(err)
	}
	store, err := live.Open(t.Context(), live.Config{Endpoints: []string{c.etcd.Endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return gate.Request{Store: store, Origin: audit.Source{Type: "etcd"}, Definitions: c.client, Next: next, Skipped: skipped, Now: time.Now}
}

func run(t *testing.T, req gate.Request) *gate.Report {
	t.Helper()
	report, err := gate.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// wantRow checks the verdict and that a doubt speaks of what is given; nothing given means that there is none.
func wantRow(t *testing.T, row gate.Row, verdict, doubt string) {
	t.Helper()
	doubts := strings.Join(row.Doubts, "; ")
	if row.Verdict != verdict || (doubt == "") != (doubts == "") || !strings.Contains(doubts, doubt) {
		t.Errorf("got %s with doubts %q, want %s with %q\n%+v", row.Verdict, doubts, verdict, doubt, row)
	}
}

// brokenStore fails behind a number of keys of one directory.
type brokenStore struct {
	*live.Store
	dir   string
	after int
	err   error
}

func (b brokenStore) Read(ctx context.Context, r etcdscan.Range, revision int64) iter.Seq2[[]etcdscan.KeyValue, error] {
	if r.Start != b.dir {
		return b.Store.Read(ctx, r, revision)
	}
	return func(yield func([]etcdscan.KeyValue, error) bool) {
		for batch, err := range b.Store.Read(ctx, r, revision) {
			if err == nil {
				batch = batch[:min(len(batch), b.after)]
			}
			if !yield(batch, err) {
				return
			}
			break
		}
		yield(nil, b.err)
	}
}

// changingStore has something change once, while objects are counted.
type changingStore struct {
	*live.Store
	change func()
}

func (s *changingStore) Count(ctx context.Context, r etcdscan.Range, revision int64) (int64, error) {
	if s.change != nil {
		s.change()
		s.change = nil
	}
	return s.Store.Count(ctx, r, revision)
}
