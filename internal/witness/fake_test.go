package witness

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

const canary = "CANARY-hunter2" // in every refusal

// api is an apiserver of which a test decides what it says.
type api struct {
	groups     map[string][]string     // group/version → plurals
	aggregated []string                // of these, those that another apiserver serves
	objects    map[string][]named      // plural.group → what it lists
	refuse     map[string][]int        // path → codes, one after another, and then the last one for ever
	revision   int64                   // of a list now
	exactly    func(asked int64) int64 // of a list at a revision; nil: that revision
	token      string                  // of every page; empty: as it should be
	versions   map[string]string       // plural.group → version that it was last listed at
	asked      int
	mu         sync.Mutex
}

func newAPI() *api {
	return &api{groups: map[string][]string{"v1": {"secrets", "configmaps", "events", "componentstatuses"}, "apps/v1": {"deployments"}, "events.k8s.io/v1": {"events"}},
		objects: map[string][]named{}, refuse: map[string][]int{}, versions: map[string]string{}, revision: 1000}
}

func (a *api) start(t *testing.T) *rest.Config {
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL}
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	w.Header().Set("Content-Type", "application/json")
	if codes := a.refuse[r.URL.Path]; len(codes) > 0 {
		if len(codes) > 1 {
			a.refuse[r.URL.Path] = codes[1:]
		}
		if codes[0] != 0 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(codes[0])
			fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,"message":%q}`, codes[0], canary, canary)
			return
		}
	}
	if answer := a.answer(r); answer != nil {
		json.NewEncoder(w).Encode(answer)
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

func (a *api) answer(r *http.Request) any {
	switch path := r.URL.Path; path {
	case "/version":
		return map[string]string{"gitVersion": "v1.37.2"}
	case "/api/v1/namespaces/kube-system":
		return map[string]any{"kind": "PartialObjectMetadata", "metadata": map[string]string{"name": "kube-system", "uid": "1-2-3"}}
	case "/apis/authentication.k8s.io/v1/selfsubjectreviews":
		return map[string]any{"status": map[string]any{"userInfo": map[string]any{"username": "jane", "groups": []string{"auditors"}, "extra": map[string][]string{"token": {canary}}}}}
	case "/api":
		return metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}
	case "/apis":
		return a.groupList()
	case "/apis/apiregistration.k8s.io/v1/apiservices":
		return a.services()
	default:
		path = strings.TrimPrefix(strings.TrimPrefix(path, "/apis/"), "/api/")
		if plurals, ok := a.groups[path]; ok {
			return resourceList(path, plurals)
		}
		slash := strings.LastIndex(path, "/")
		for _, plural := range a.groups[path[:max(0, slash)]] {
			if plural == path[slash+1:] {
				return a.list(path[:slash], plural, r)
			}
		}
		return nil
	}
}

func (a *api) groupList() any {
	list := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	seen := map[string]int{}
	for gv := range a.groups {
		group, version, ok := strings.Cut(gv, "/")
		if !ok {
			continue
		}
		if _, known := seen[group]; !known {
			seen[group] = len(list.Groups)
			list.Groups = append(list.Groups, metav1.APIGroup{Name: group})
		}
		g := &list.Groups[seen[group]]
		g.Versions = append(g.Versions, metav1.GroupVersionForDiscovery{GroupVersion: gv, Version: version})
		if version == "v1" || g.PreferredVersion.Version == "" {
			g.PreferredVersion = metav1.GroupVersionForDiscovery{GroupVersion: gv, Version: version}
		}
	}
	return list
}

func resourceList(gv string, plurals []string) any {
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: gv}
	for _, plural := range plurals {
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: plural, Kind: "K", Verbs: metav1.Verbs{"list", "get"}},
			metav1.APIResource{Name: plural + "/status", Kind: "K", Verbs: metav1.Verbs{"get", "list"}}, metav1.APIResource{Name: plural + "reviews", Kind: "K", Verbs: metav1.Verbs{"create"}})
	}
	return list
}

func (a *api) services() any {
	var items []any
	for _, gv := range append([]string{"/v1"}, a.aggregated...) {
		group, version, _ := strings.Cut(gv, "/")
		spec := map[string]any{"group": group, "version": version, "service": nil}
		if group != "" {
			spec["service"] = map[string]string{"name": "s", "namespace": "n"}
		}
		items = append(items, map[string]any{"spec": spec})
	}
	return map[string]any{"kind": "APIServiceList", "metadata": map[string]string{}, "items": items}
}

func (a *api) list(gv, plural string, r *http.Request) any {
	group, version, ok := strings.Cut(gv, "/")
	name := plural + "." + group
	if !ok {
		name, version = plural, gv
	}
	a.versions[name] = version
	query := r.URL.Query()
	revision := a.revision
	if asked, err := strconv.ParseInt(query.Get("resourceVersion"), 10, 64); err == nil && query.Get("resourceVersionMatch") == "Exact" {
		if revision = asked; a.exactly != nil {
			revision = a.exactly(asked)
		}
	}
	from := 0
	if token := query.Get("continue"); token != "" {
		fmt.Sscanf(token, "%d@%d", &from, &revision)
	}
	limit, _ := strconv.Atoi(query.Get("limit"))
	all := a.objects[name]
	to := min(len(all), from+max(1, limit))
	answer := metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadataList", APIVersion: "meta.k8s.io/v1"}}
	answer.ResourceVersion = fmt.Sprint(revision)
	if to < len(all) {
		answer.Continue = fmt.Sprintf("%d@%d", to, revision)
	}
	if a.token != "" {
		answer.Continue = a.token
	}
	for _, o := range all[from:to] {
		item := metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"}}
		item.ResourceVersion = fmt.Sprint(o.revision)
		if namespace, name, ok := strings.Cut(o.name, "/"); ok {
			item.Namespace, item.Name = namespace, name
		} else {
			item.Name = o.name
		}
		answer.Items = append(answer.Items, item)
	}
	return answer
}

// stores are objects of etcd, resource by resource.
func stores(resources ...[]Object) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for _, objects := range resources {
			for _, o := range objects {
				if !yield(o, nil) {
					return
				}
			}
		}
	}
}

// objects are n of a resource, as etcd and the API have them.
func objects(group, resource string, n int) (etcd []Object, api []named) {
	for i := range n {
		name := fmt.Sprintf("o-%06d", i)
		etcd = append(etcd, Object{Group: group, Resource: resource, Namespace: "ns", Name: name, ModRevision: int64(i + 1)})
		api = append(api, named{"ns/" + name, int64(i + 1)})
	}
	return etcd, api
}
