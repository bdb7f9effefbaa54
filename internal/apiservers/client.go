package apiservers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

const (
	patience   = 10 * time.Second // for one answer
	maxAnswer  = 16 << 20         // bytes of a list
	maxMetrics = 64 << 20         // bytes of all metrics, of which little is kept
)

var (
	errTooLong = errors.New("the answer is too long")
	errStrange = errors.New("the answer cannot be understood")
)

// problem is why an answer was not read. Its text is fixed words and a code: a server's own words may quote anything.
type problem struct {
	text      string
	transport bool // no server answered
	name      bool // the certificate is for other names
}

// client asks one apiserver. Requests go through http.Client rather than rest.Request, which would read bodies without
// a limit, log warnings, retry, and keep to a rate.
type client struct {
	http *http.Client
	base *url.URL
}

func newClient(cfg *rest.Config) (*client, *problem) {
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, &problem{text: "the address cannot be understood"}
	}
	shared, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, &problem{text: "the kubeconfig's certificates or credentials cannot be used"}
	}
	own := *shared
	own.Timeout = 0 // every request has its own
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{http: &own, base: base}, nil
}

// get sends one request and has its answer read, of which it passes on no more than limit bytes. at is the server's clock, zero
// if it does not say.
func (c *client) get(ctx context.Context, path, query, accept string, limit int64, read func(io.Reader) error) (at time.Time, p *problem) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	u := *c.base
	u.Path = strings.TrimRight(u.Path, "/") + path
	u.RawQuery = query
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return at, &problem{text: "the address cannot be understood"}
	}
	req.Header.Set("Accept", accept)
	resp, err := c.http.Do(req)
	if err != nil {
		return at, noAnswer(ctx, err)
	}
	body := &io.LimitedReader{R: resp.Body, N: limit + 1}
	defer func() {
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that HTTP/1 can use the connection again
		resp.Body.Close()
	}()
	at, _ = http.ParseTime(resp.Header.Get("Date"))
	if resp.StatusCode != http.StatusOK {
		return at, &problem{text: strings.TrimSpace(strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode))}
	}
	err = read(body)
	switch {
	case body.N <= 0:
		return at, &problem{text: errTooLong.Error()}
	case errors.Is(err, errStrange), errors.Is(err, errTooLong):
		return at, &problem{text: err.Error()}
	case err != nil:
		return at, noAnswer(ctx, err)
	}
	return at, nil
}

// getJSON reads a JSON object of a given kind.
func (c *client) getJSON(ctx context.Context, path, query, kind string, into any) (time.Time, *problem) {
	return c.get(ctx, path, query, "application/json", maxAnswer, func(r io.Reader) error {
		text, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		var header struct {
			Kind string `json:"kind"`
		}
		if json.Unmarshal(text, &header) != nil || header.Kind != kind || json.Unmarshal(text, into) != nil {
			return errStrange
		}
		return nil
	})
}

// Reason says in fixed words why a request to an apiserver has no answer: the error's own may quote anything.
func Reason(ctx context.Context, err error) string { return noAnswer(ctx, err).text }

func noAnswer(ctx context.Context, err error) *problem {
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		verify    *tls.CertificateVerificationError
		u         *url.Error
	)
	p := &problem{transport: true}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		p.text = "interrupted"
	case errors.Is(err, syscall.ECONNREFUSED):
		p.text = "connection refused"
	case errors.As(err, &host):
		p.text, p.name = "its certificate is for other names", true
	case errors.As(err, &authority):
		p.text = "its certificate is not signed by the kubeconfig's CA"
	case errors.As(err, &verify):
		p.text = "its certificate is not valid"
	case errors.As(err, &dns):
		p.text = "its name cannot be resolved"
	case ctx.Err() != nil, utilnet.IsTimeout(err), errors.As(err, &u) && u.Timeout():
		p.text = "no answer in time"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		p.text = "no way to its network"
	case strings.HasPrefix(err.Error(), "getting credentials: "), u != nil && strings.HasPrefix(u.Err.Error(), "getting credentials: "):
		p.text = "the kubeconfig's plugin gave no credentials"
	default:
		p.text = "the connection failed"
	}
	return p
}
