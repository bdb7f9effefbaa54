package crd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
)

const (
	pageSize   = 50
	timeout    = time.Minute // of one request, with the reading of its answer
	maxAnswer  = 128 << 20   // a page of definitions that are as long as etcd takes them, and some more
	maxRefusal = 64 << 10
	attempts   = 4 // of a request that the apiserver puts off with 429
	maxWait    = 10 * time.Second
)

// Client reads CustomResourceDefinitions, and writes status.storedVersions. The verbs that it needs on customresourcedefinitions
// are get and list, and patch on customresourcedefinitions/status.
type Client struct {
	base  *url.URL
	http  *http.Client
	date  atomic.Int64 // of the last answer, by the apiserver's clock, in seconds; 0: it did not say
	limit int64        // bytes of an answer
}

// NewClient prepares a Client; it sends nothing. Requests go through http.Client rather than a clientset, which would read
// answers without a limit.
func NewClient(cfg *rest.Config) (*Client, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.GroupVersion, cfg.APIPath, cfg.Timeout = &apiextensionsv1.SchemeGroupVersion, "/apis", 0
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to %s: %w", cfg.Host, err)
	}
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	base, versioned, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("parsing the apiserver's address: %w", err)
	}
	return &Client{base: base.JoinPath(versioned, "customresourcedefinitions"), http: &own, limit: maxAnswer}, nil
}

// All lists every CustomResourceDefinition, 50 at a time. It ends with the first error.
func (c *Client) All(ctx context.Context) iter.Seq2[*Definition, error] {
	return func(yield func(*Definition, error) bool) {
		token := ""
		for {
			query := url.Values{"limit": {strconv.Itoa(pageSize)}}
			if token != "" {
				query.Set("continue", token)
			}
			var page apiextensionsv1.CustomResourceDefinitionList
			if err := c.do(ctx, http.MethodGet, "", query, nil, &page); err != nil {
				yield(nil, fmt.Errorf("listing CustomResourceDefinitions: %w", err))
				return
			}
			for i := range page.Items {
				if !yield(c.define(&page.Items[i]), nil) {
					return
				}
			}
			if token = page.Continue; token == "" {
				return
			}
		}
	}
}

// Get reads one CustomResourceDefinition by its name, PLURAL.GROUP. There being none is ErrNotFound.
func (c *Client) Get(ctx context.Context, name string) (*Definition, error) {
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		return nil, fmt.Errorf("reading CustomResourceDefinition %q: %w", name, ErrNotFound)
	}
	var o apiextensionsv1.CustomResourceDefinition
	if err := c.do(ctx, http.MethodGet, name, nil, nil, &o); err != nil {
		return nil, fmt.Errorf("reading CustomResourceDefinition %s: %w", name, err)
	}
	return c.define(&o), nil
}

// SetStoredVersions writes status.storedVersions of d, and nothing else, if d is still as it was read: otherwise ErrConflict. It
// returns d as it is then. Versions that would make the definition one that no apiserver lets be updated are refused here: the
// apiserver itself checks none of it on the status subresource.
func (c *Client) SetStoredVersions(ctx context.Context, d *Definition, versions []string) (*Definition, error) {
	doing := "writing status.storedVersions of CustomResourceDefinition " + d.Name
	switch storage := d.Storage(); {
	case d.ResourceVersion == "":
		return nil, fmt.Errorf("%s: it was not read from a cluster", doing)
	case storage == "" || !slices.Contains(versions, storage):
		return nil, fmt.Errorf("%s: the storage version must remain", doing)
	}
	for i, v := range versions {
		if _, known := d.Version(v); !known {
			return nil, fmt.Errorf("%s: %q is not in spec.versions", doing, v)
		}
		if slices.Contains(versions[:i], v) {
			return nil, fmt.Errorf("%s: %q is there twice", doing, v)
		}
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": d.ResourceVersion},
		"status":   map[string]any{"storedVersions": versions},
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	var o apiextensionsv1.CustomResourceDefinition
	if err := c.do(ctx, http.MethodPatch, d.Name+"/status", url.Values{"fieldManager": {"svmctl"}}, patch, &o); err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	return c.define(&o), nil
}

// define takes over what an apiserver answered.
func (c *Client) define(o *apiextensionsv1.CustomResourceDefinition) *Definition {
	changed := changedAt(o)
	d := define(o)
	if date := c.date.Load(); date > 0 && !changed.IsZero() {
		d.UnchangedFor = max(0, time.Unix(date, 0).Sub(changed))
	}
	return d
}

// changedAt is when anything but the status was last changed, as managedFields have it; zero where they say nothing.
func changedAt(o *apiextensionsv1.CustomResourceDefinition) time.Time {
	var last time.Time
	for _, m := range o.ManagedFields {
		if m.Subresource == "" && m.Time != nil && m.Time.After(last) {
			last = m.Time.Time
		}
	}
	return last
}

// do sends one request and decodes its answer. Nothing is sent again but what the apiserver has put off without looking at it.
func (c *Client) do(ctx context.Context, method, name string, query url.Values, body []byte, out any) error {
	for attempt := 1; ; attempt++ {
		wait, err := c.try(ctx, method, name, query, body, out)
		var refused *RefusedError
		if attempt == attempts || !errors.As(err, &refused) || refused.Code != http.StatusTooManyRequests {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (c *Client) try(ctx context.Context, method, name string, query url.Values, body []byte, out any) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	u := *c.base
	u.Path = path.Join(u.Path, name)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", string(types.MergePatchType))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	c.date.Store(0)
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.date.Store(date.Unix())
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return retryAfter(resp.Header.Get("Retry-After")), refusal(resp.StatusCode, io.LimitReader(resp.Body, maxRefusal))
	}
	answer := &io.LimitedReader{R: resp.Body, N: c.limit}
	switch err := json.NewDecoder(answer).Decode(out); {
	case err == nil:
		return 0, nil
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case answer.N == 0:
		return 0, fmt.Errorf("the answer is longer than %d bytes", c.limit)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return 0, fmt.Errorf("the answer ends early: %w", err)
	default:
		return 0, errAnswer // what the decoder says may quote the answer
	}
}

func retryAfter(header string) time.Duration {
	n, err := strconv.Atoi(header)
	if err != nil || n < 1 {
		return time.Second
	}
	return min(time.Duration(n)*time.Second, maxWait)
}
