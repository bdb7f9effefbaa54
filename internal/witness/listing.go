package witness

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"

	"github.com/svmctl/svmctl/internal/apiservers"
)

const (
	pageSize     = 500
	pagePatience = time.Minute // which is the apiservers' own
)

// named is an object as either side knows it.
type named struct {
	name     string // NAME, or NAMESPACE/NAME: in the order of these the keys of one resource lie in etcd
	revision int64
}

func nameOf(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

// listing is what the API lists of one resource, a page at a time.
type listing struct {
	client   metadata.Getter
	revision int64 // 0: the newest
	page     []metav1.PartialObjectMetadata
	token    string
	begun    bool
	read     int64
	problem  string // why it ended early, in fixed words
}

// peek is the next object. ok is false at the end, and where there is a problem.
func (l *listing) peek(ctx context.Context) (next named, ok bool) {
	for len(l.page) == 0 {
		if l.problem != "" || l.begun && l.token == "" {
			return named{}, false
		}
		l.turn(ctx)
	}
	item := &l.page[0]
	revision, err := strconv.ParseInt(item.ResourceVersion, 10, 64)
	if err != nil || item.Name == "" {
		l.problem, l.page = strange, nil
		return named{}, false
	}
	return named{nameOf(item.Namespace, item.Name), revision}, true
}

func (l *listing) skip() {
	l.page = l.page[1:]
	l.read++
}

// turn fetches a page. Those after the first have their revision in the token.
func (l *listing) turn(ctx context.Context) {
	options := metav1.ListOptions{Limit: pageSize, Continue: l.token}
	if !l.begun && l.revision != 0 {
		options.ResourceVersion, options.ResourceVersionMatch = strconv.FormatInt(l.revision, 10), metav1.ResourceVersionMatchExact
	}
	list, why := l.fetch(ctx, options, pagePatience)
	if why == behind && !l.begun { // the apiserver's memory lags behind etcd
		list, why = l.fetch(ctx, options, pagePatience)
	}
	switch {
	case why != "":
		l.problem = why
		return
	case l.revision != 0 && list.ResourceVersion != strconv.FormatInt(l.revision, 10):
		l.problem = "the apiserver lists it at another revision than the one it was asked for"
		return
	case l.begun && list.Continue == l.token:
		l.problem = strange
		return
	}
	l.begun, l.page, l.token = true, list.Items, list.Continue
}

func (l *listing) fetch(ctx context.Context, options metav1.ListOptions, limit time.Duration) (*metav1.PartialObjectMetadataList, string) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	list, err := l.client.List(ctx, options)
	if err != nil {
		return nil, whyNot(ctx, err)
	}
	return list, ""
}

// newest is the revision at which the resource is listed now: that of the etcd in which it lies.
func newest(ctx context.Context, client metadata.Getter) (revision int64, ok bool) {
	list, why := (&listing{client: client}).fetch(ctx, metav1.ListOptions{Limit: 1}, patience)
	if why != "" {
		return 0, false
	}
	revision, err := strconv.ParseInt(list.ResourceVersion, 10, 64)
	return revision, err == nil
}

// promptly has client-go retry nothing but what an apiserver has no time for (429). It would also ask ten times over for a revision that
// another etcd will not come to for long, as the apiserver asks it to with 504 and Retry-After.
type promptly struct{ http.RoundTripper }

func (p promptly) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := p.RoundTripper.RoundTrip(req)
	if err == nil && resp.StatusCode != http.StatusTooManyRequests {
		resp.Header.Del("Retry-After")
	}
	return resp, err
}

const (
	forbidden = "the right to list it is missing (403 Forbidden)"
	behind    = "the apiserver has not come to that revision (504 Gateway Timeout)"
)

// whyNot says in fixed words what came instead of an answer: an apiserver's own words may quote anything.
func whyNot(ctx context.Context, err error) string {
	var (
		told      apierrors.APIStatus
		transport *url.Error
		network   net.Error
	)
	switch {
	case errors.As(err, &told):
		switch code := int(told.Status().Code); code {
		case http.StatusForbidden:
			return forbidden
		case http.StatusGone:
			return "the apiserver no longer has that revision: it was compacted (410 Gone)"
		case http.StatusGatewayTimeout:
			return behind
		default:
			return "the apiserver answered " + status(code)
		}
	case ctx.Err() != nil, errors.As(err, &transport), errors.As(err, &network), errors.Is(err, io.ErrUnexpectedEOF):
		return apiservers.Reason(ctx, err)
	}
	return strange
}
