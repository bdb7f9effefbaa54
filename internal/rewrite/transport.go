package rewrite

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// accept asks for the form of answer that brings the least of an object beside its resourceVersion. A Table, with
// includeObject=None, has the cells alone, and PartialObjectMetadata has the annotations, among them
// last-applied-configuration: a secret in plaintext. The cells of a custom resource are whatever its CRD's printer
// columns name, spec included; its metadata is the lesser evil, and is read no further than to the resourceVersion.
func (r Resource) accept() string {
	if r.Custom {
		return "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
	}
	return "application/json;as=Table;g=meta.k8s.io;v=v1"
}

// fieldManager is whom the apiserver records, were it to record anything for an empty patch.
const fieldManager = "svmctl"

// patchClient sends the patches of one resource. Requests go through http.Client rather than rest.Request, which
// would read bodies without a limit, log warnings and bodies through klog, and follow a redirect with a GET.
type patchClient struct {
	res    Resource
	rest   *rest.RESTClient // builds and checks paths
	http   *http.Client
	prefix []byte // of the body, up to the resourceVersion
	sub    string // subresource, "" for the object itself
	dryRun bool
}

// answer is what one request brought.
type answer struct {
	status     Status
	revision   int64
	failure    *Failure
	course     course
	retryAfter time.Duration
	uncertain  bool
	unsent     bool
}

func newPatchClient(cfg *rest.Config, res Resource, opts Options) (*patchClient, error) {
	gv := res.GroupVersion()
	rc, client, err := connect(cfg, gv, opts.Concurrency)
	if err != nil {
		return nil, err
	}
	prefix := fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"metadata":{"resourceVersion":"`, gv.String(), res.Kind)
	return &patchClient{res: res, rest: rc, http: client, prefix: prefix, sub: opts.Subresource, dryRun: opts.DryRun}, nil
}

// connect prepares what builds the paths of a group and version, and what sends requests there; redirects are not
// followed.
func connect(cfg *rest.Config, gv schema.GroupVersion, concurrency int) (*rest.RESTClient, *http.Client, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.GroupVersion = &gv
	cfg.APIPath = "/apis"
	if gv.Group == "" {
		cfg.APIPath = "/api"
	}
	cfg.Timeout = 0 // each attempt has its own
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return keepConnections(rt, concurrency) })
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("preparing the connection to %s: %w", cfg.Host, err)
	}
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	base, path, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("parsing the apiserver's address: %w", err)
	}
	rc, err := rest.NewRESTClient(base, path, rest.ClientContentConfig{GroupVersion: gv}, nil, &own)
	if err != nil {
		return nil, nil, fmt.Errorf("preparing requests for %s: %w", gv, err)
	}
	return rc, &own, nil
}

// keepConnections raises the limit of idle connections for transports that do not multiplex: http.DefaultTransport,
// which plain HTTP gets, keeps two per host, client-go's keep 25. One HTTP/2 connection carries all requests: an
// apiserver admits 1,000 streams on it (pkg/server/options/recommended.go), and beyond its limit Go opens another.
func keepConnections(rt http.RoundTripper, concurrency int) http.RoundTripper {
	inner := rt
	for {
		w, ok := inner.(utilnet.RoundTripperWrapper)
		if !ok {
			break
		}
		inner = w.WrappedRoundTripper()
	}
	t, ok := inner.(*http.Transport)
	if !ok || (t != http.DefaultTransport && t.TLSNextProto["h2"] != nil) {
		return rt
	}
	if max(t.MaxIdleConnsPerHost, http.DefaultMaxIdleConnsPerHost) >= concurrency {
		return rt
	}
	t = t.Clone()
	t.MaxIdleConnsPerHost = concurrency
	t.MaxIdleConns = max(t.MaxIdleConns, concurrency)
	return &heldTransport{Transport: t, origin: rt}
}

// heldTransport keeps the transport it was cloned from alive: client-go ends certificate rotation with it.
type heldTransport struct {
	*http.Transport
	origin http.RoundTripper
}

// request builds the patch of one object.
func (c *patchClient) request(ctx context.Context, obj Object) (*http.Request, error) {
	switch {
	case obj.Revision <= 0:
		return nil, errors.New("object without a revision")
	case obj.Name == "":
		return nil, errors.New("object without a name")
	case c.res.Namespaced != (obj.Namespace != ""):
		return nil, errors.New("namespace does not fit the resource")
	}
	r := c.rest.Verb(http.MethodPatch).NamespaceIfScoped(obj.Namespace, c.res.Namespaced).
		Resource(c.res.Resource).Name(obj.Name).SubResource(c.subresources()...).
		Param("fieldManager", fieldManager)
	if !c.res.Custom {
		r = r.Param("includeObject", "None")
	}
	if c.dryRun {
		r = r.Param("dryRun", "All")
	}
	if err := r.Error(); err != nil {
		return nil, err
	}
	body := append(bytes.Clone(c.prefix), strconv.FormatInt(obj.Revision, 10)...)
	body = append(body, `"}}`...)
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, r.URL().String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", c.res.accept())
	req.Header.Set("Content-Type", string(types.MergePatchType))
	return req, nil
}

func (c *patchClient) subresources() []string {
	if c.sub == "" {
		return nil
	}
	return []string{c.sub}
}

// patch sends one request and reads its answer; it never sends a second one.
func (c *patchClient) patch(ctx context.Context, obj Object) answer {
	req, err := c.request(ctx, obj)
	if err != nil {
		return answer{status: Failed, unsent: true, failure: &Failure{Kind: KindRequest, Message: clip(err.Error())}}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return noAnswer(err)
	}
	defer func() {
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that HTTP/1 can use the connection again
		resp.Body.Close()
	}()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		a := answer{retryAfter: retryAfter(resp)}
		st := readStatus(resp.Body)
		a.status, a.failure, a.course = judge(c.res.GroupResource(), obj.Name, resp.StatusCode, st)
		if a.status == NotFound && c.sub != "" {
			// A CRD without the subresource gets the very answer that a missing object does
			// (k8s.io/apiextensions-apiserver pkg/apiserver/customresource_handler.go: ServeHTTP).
			a.status, a.course = Failed, unsettled
			a.failure = &Failure{Kind: KindUnserved, Code: resp.StatusCode, Reason: knownReason(st.Reason), Message: clip(st.Message)}
		}
		// An apiserver that runs into a timeout, its own or etcd's, may yet write; one that asks a webhook has not.
		a.uncertain = resp.StatusCode >= 500 && a.failure.Kind != KindWebhook && a.failure.Kind != KindWebhookDown
		return a
	}
	rev, err := readRevision(resp.Body)
	switch {
	case c.dryRun && (err == nil || errors.Is(err, errNoRevision)):
		return answer{status: Accepted, revision: rev}
	case errors.Is(err, errNoRevision):
		return answer{status: Failed, uncertain: true,
			failure: &Failure{Kind: KindAnswer, Code: resp.StatusCode, Message: err.Error()}}
	case err != nil:
		return noAnswer(err)
	case rev == obj.Revision:
		return answer{status: Unchanged, revision: rev}
	}
	return answer{status: Rewritten, revision: rev}
}

// noAnswer is the course of a request that may or may not have been applied.
func noAnswer(err error) answer {
	f := &Failure{Kind: KindTransport, Reason: transportReason(err), Message: clip(err.Error())}
	return answer{status: Failed, failure: f, course: down, uncertain: f.Reason != ReasonRefused && f.Reason != ReasonLookup}
}

func transportReason(err error) string {
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		u         *url.Error
	)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return ReasonRefused
	case errors.As(err, &authority), errors.As(err, &host), errors.As(err, &invalid), errors.As(err, &verify):
		return ReasonCertificate
	case errors.As(err, &dns):
		return ReasonLookup
	case utilnet.IsTimeout(err), errors.Is(err, context.DeadlineExceeded), errors.As(err, &u) && u.Timeout():
		return ReasonTimeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), utilnet.IsHTTP2ConnectionLost(err):
		return ReasonReset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), utilnet.IsProbableEOF(err):
		return ReasonEOF
	}
	return ReasonTransport
}

// retryAfter reads a Retry-After header of either form, 0 if there is none.
func retryAfter(resp *http.Response) time.Duration {
	h := resp.Header.Get("Retry-After")
	if n, err := strconv.Atoi(h); err == nil && n > 0 {
		return time.Duration(min(n, 3600)) * time.Second
	}
	if at, err := http.ParseTime(h); err == nil {
		return min(max(0, time.Until(at)), time.Hour)
	}
	return 0
}
