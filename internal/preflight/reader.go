package preflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// reader sends GETs. It goes through http.Client rather than rest.Request, which would read answers without a limit.
type reader struct {
	http   *http.Client
	base   *url.URL
	groups map[string][]string                  // served versions by group, as listed
	lists  map[schema.GroupVersion]resourceList // what discovery answered
	found  map[string]backend                   // services that were looked at, by namespace/name
}

type resourceList struct {
	resources []metav1.APIResource
	err       error
}

// readError tells in fixed words why there is no answer. The apiserver's own words are left out.
type readError struct {
	code int // 0: no HTTP answer
	text string
}

func (e *readError) Error() string { return e.text }

// answered tells whether err is an answer of an apiserver with this code.
func answered(err error, code int) bool {
	var e *readError
	return errors.As(err, &e) && e.code == code
}

func (r *reader) prepare(cfg *rest.Config) error {
	if cfg == nil {
		return errors.New("no apiserver was named")
	}
	cfg = rest.CopyConfig(cfg)
	cfg.Timeout = 0 // each request has its own
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return errors.New("the connection to the apiserver could not be prepared")
	}
	r.base, _, err = rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return errors.New("the apiserver's address could not be parsed")
	}
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r.http = &own
	r.lists = make(map[schema.GroupVersion]resourceList)
	r.found = make(map[string]backend)
	return nil
}

const (
	acceptJSON     = "application/json"
	acceptMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
	acceptNames    = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
)

// get reads one answer into what. An answer of another kind is an error: a proxy's empty document is no list.
func (r *reader) get(ctx context.Context, accept, kind string, path []string, query url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	u := r.base.JoinPath(path...)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return &readError{text: "the request could not be made"}
	}
	req.Header.Set("Accept", accept)
	resp, err := r.http.Do(req)
	if err != nil {
		return noAnswer(ctx)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return noAnswer(ctx)
	case len(body) > maxAnswer:
		return &readError{text: "the answer is larger than 32 MiB"}
	}
	var head struct {
		Kind string `json:"kind"`
	}
	err = json.Unmarshal(body, &head)
	if resp.StatusCode != http.StatusOK {
		if err != nil || head.Kind != "Status" {
			return &readError{text: "something other than an apiserver answered " + strconv.Itoa(resp.StatusCode)}
		}
		return &readError{code: resp.StatusCode, text: "the apiserver answered " + strconv.Itoa(resp.StatusCode)}
	}
	if err != nil || head.Kind != kind || json.Unmarshal(body, into) != nil {
		return &readError{text: "the answer is no " + kind}
	}
	return nil
}

func noAnswer(ctx context.Context) error {
	switch ctx.Err() {
	case context.DeadlineExceeded:
		return &readError{text: "no answer in time"}
	case context.Canceled:
		return &readError{text: "interrupted"}
	}
	return &readError{text: "the connection failed"}
}

// list is one page of a LIST.
type list[T any] struct {
	Metadata metav1.ListMeta `json:"metadata"`
	Items    []T             `json:"items"`
}

// readPages reads a list page by page and hands each to use, until there is no more or use returns false.
func readPages[T any](ctx context.Context, r *reader, accept, kind string, path []string, query url.Values, use func([]T) bool) error {
	if query == nil {
		query = make(url.Values)
	}
	query.Set("limit", strconv.Itoa(pageSize))
	for range maxPages {
		var page list[T]
		if err := r.get(ctx, accept, kind, path, query, &page); err != nil {
			return err
		}
		if !use(page.Items) || page.Metadata.Continue == "" {
			return nil
		}
		query.Set("continue", page.Metadata.Continue)
	}
	return &readError{text: fmt.Sprintf("there are more than %d", maxPages*pageSize)}
}

// missing is the note text for what could not be read: the right, where it is the right that is missing.
func missing(err error, verb, resource string) string {
	if answered(err, http.StatusForbidden) {
		return fmt.Sprintf("not read: the right to %s %s is missing", verb, resource)
	}
	return fmt.Sprintf("not read (%s %s): %v", verb, resource, err)
}

func apiPath(gv schema.GroupVersion, rest ...string) []string {
	if gv.Group == "" {
		return append([]string{"api", gv.Version}, rest...)
	}
	return append([]string{"apis", gv.Group, gv.Version}, rest...)
}

// served lists the versions of a group in the server's order. A group that is not served has none.
func (r *reader) served(ctx context.Context, group string) ([]string, error) {
	if group == "" {
		return []string{"v1"}, nil
	}
	if r.groups == nil {
		var answer metav1.APIGroupList
		if err := r.get(ctx, acceptJSON, "APIGroupList", []string{"apis"}, nil, &answer); err != nil {
			return nil, err
		}
		r.groups = make(map[string][]string)
		for _, g := range answer.Groups {
			for _, v := range g.Versions {
				r.groups[g.Name] = append(r.groups[g.Name], v.Version)
			}
		}
	}
	return r.groups[group], nil
}

// resources lists what a group version serves, subresources included.
func (r *reader) resources(ctx context.Context, gv schema.GroupVersion) ([]metav1.APIResource, error) {
	l, ok := r.lists[gv]
	if !ok {
		var answer metav1.APIResourceList
		l.err = r.get(ctx, acceptJSON, "APIResourceList", apiPath(gv), nil, &answer)
		l.resources = answer.APIResources
		r.lists[gv] = l
	}
	return l.resources, l.err
}

// versions are those in which a resource is served, in the server's order.
func (r *reader) versions(ctx context.Context, group, resource string) ([]string, error) {
	all, err := r.served(ctx, group)
	if err != nil {
		return nil, err
	}
	var versions []string
	for _, v := range all {
		resources, err := r.resources(ctx, schema.GroupVersion{Group: group, Version: v})
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(resources, func(r metav1.APIResource) bool { return r.Name == resource }) {
			versions = append(versions, v)
		}
	}
	return versions, nil
}

// cohabitants are groups that serve the same objects (pkg/kubeapiserver/default_storage_factory_builder.go); the
// others of that list are no longer served.
var cohabitants = map[schema.GroupResource]string{
	{Resource: "events"}:                         "events.k8s.io",
	{Group: "events.k8s.io", Resource: "events"}: "",
}

// discover finds the equivalents of the target.
func (l *look) discover(ctx context.Context) {
	t := &l.target
	groups := []string{t.resource.Group}
	if other, ok := cohabitants[t.resource.GroupResource()]; ok {
		groups = append(groups, other)
	}
	name := t.resource.Resource
	if t.subresource != "" {
		name += "/" + t.subresource
	}
	equivalents := []schema.GroupVersionResource{t.resource}
	for _, group := range groups {
		versions, err := l.versions(ctx, group, name)
		if err != nil {
			l.notRead(t.String(), fmt.Sprintf("the versions in which it is served were not read: %v", err))
			return
		}
		for _, v := range versions {
			equivalents = append(equivalents, schema.GroupVersionResource{Group: group, Version: v, Resource: t.resource.Resource})
		}
	}
	t.equivalents = equivalents
}
