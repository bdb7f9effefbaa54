// Package witness asks the API what an evidence bundle has to be bound to: which cluster it is, who asks, what time it has there, what
// its apiservers have loaded, and which objects it knows of. It writes nothing: a SelfSubjectReview is answered and kept nowhere.
package witness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/verify/evidence"
)

const (
	patience  = 10 * time.Second // for one answer
	maxAnswer = 16 << 20         // bytes of one
)

const (
	strange  = "the answer cannot be understood"
	unusable = "the kubeconfig's address, certificates or credentials cannot be used"
)

// Identity is which cluster it is, who asks, and what time it has there. What is empty is among Unknown.
type Identity struct {
	KubeSystemNamespaceUID string
	KubernetesVersion      string
	User                   *evidence.KubernetesUser // nil: not told
	Corroboration          []evidence.Corroboration // the apiserver's clock against the local one
	Unknown                []string                 // what could not be had and why, in fixed words
}

// DateHeader is how Identify has the apiserver's clock.
const DateHeader = "Date header of the apiserver, in whole seconds, against the middle of the request"

// Identify asks one apiserver. It never fails: what could not be had is said in the Identity. now is the local clock.
func Identify(ctx context.Context, cfg *rest.Config, now func() time.Time) Identity {
	var id Identity
	lack := func(what, why string) { id.Unknown = append(id.Unknown, what+": "+why) }
	const uid, release, user, clock = "UID of the namespace kube-system", "version of Kubernetes", "who asks (SelfSubjectReview)", "clock of the apiserver"
	a, err := newAsker(cfg)
	if err != nil {
		for _, what := range []string{uid, release, user, clock} {
			lack(what, unusable)
		}
		return id
	}

	var told version.Info
	before := now()
	date, why := a.ask(ctx, http.MethodGet, "/version", "application/json", nil, &told)
	after := now()
	if why == "" && told.GitVersion == "" {
		why = strange
	}
	if id.KubernetesVersion = told.GitVersion; why != "" {
		lack(release, why)
	}
	if date.IsZero() {
		if why == "" {
			why = "it does not tell"
		}
		lack(clock, why)
	} else {
		middle := before.Add(after.Sub(before) / 2)
		id.Corroboration = append(id.Corroboration, evidence.Corroboration{Source: DateHeader, At: date.UTC(), SkewMS: middle.Sub(date).Milliseconds()})
	}

	var system metav1.PartialObjectMetadata
	_, why = a.ask(ctx, http.MethodGet, "/api/v1/namespaces/"+metav1.NamespaceSystem,
		"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json", nil, &system)
	if why == "" && (system.Name != metav1.NamespaceSystem || system.UID == "") {
		why = strange
	}
	if why != "" {
		lack(uid, why)
	} else {
		id.KubeSystemNamespaceUID = string(system.UID)
	}

	review := authenticationv1.SelfSubjectReview{TypeMeta: metav1.TypeMeta{APIVersion: authenticationv1.SchemeGroupVersion.String(), Kind: "SelfSubjectReview"}}
	_, why = a.ask(ctx, http.MethodPost, "/apis/authentication.k8s.io/v1/selfsubjectreviews", "application/json", review, &review)
	info := review.Status.UserInfo
	if why == "" && info.Username == "" {
		why = strange
	}
	if why != "" {
		lack(user, why)
	} else {
		id.User = &evidence.KubernetesUser{Username: info.Username, UID: info.UID, Groups: append([]string{}, info.Groups...)}
	}
	return id
}

// asker sends single requests through http.Client, as rest.Request does not show the header of an answer.
type asker struct {
	http *http.Client
	base *url.URL
}

func newAsker(cfg *rest.Config) (*asker, error) {
	cfg = quiet(cfg)
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, err
	}
	shared, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, err
	}
	own := *shared
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &asker{http: &own, base: base}, nil
}

// ask sends one request. date is the apiserver's clock, zero if it does not tell; why says in fixed words why there is no answer.
func (a *asker) ask(ctx context.Context, method, path, accept string, send, into any) (date time.Time, why string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var body io.Reader
	if send != nil {
		text, err := json.Marshal(send)
		if err != nil {
			return date, strange
		}
		body = bytes.NewReader(text)
	}
	u := *a.base
	u.Path = strings.TrimRight(u.Path, "/") + path
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return date, unusable
	}
	req.Header.Set("Accept", accept)
	if send != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return date, apiservers.Reason(ctx, err)
	}
	defer resp.Body.Close()
	date, _ = http.ParseTime(resp.Header.Get("Date"))
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated:
		return date, status(resp.StatusCode)
	case err != nil:
		return date, apiservers.Reason(ctx, err)
	case json.Unmarshal(text, into) != nil:
		return date, strange
	}
	return date, ""
}

func status(code int) string {
	return strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
}

// quiet is cfg for requests that come one after another: without a rate, a limit of time, and warnings on stderr.
func quiet(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.APIPath, cfg.GroupVersion, cfg.NegotiatedSerializer = "", nil, nil
	cfg.QPS, cfg.RateLimiter, cfg.Timeout = -1, nil, 0
	cfg.WarningHandler, cfg.WarningHandlerWithContext = rest.NoWarnings{}, nil
	return cfg
}

// interrupted is the error of a context that has ended.
func interrupted(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("asking the API: %w", context.Cause(ctx))
}
