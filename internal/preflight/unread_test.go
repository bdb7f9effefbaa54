package preflight_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/preflight"
)

// TestUnreadIsNotNothing spoils one answer at a time: each has to give NotRead, and never Nothing.
func TestUnreadIsNotNothing(t *testing.T) {
	for _, c := range []struct {
		path   string
		answer http.HandlerFunc
		want   string
	}{
		{registration + "v1/validatingwebhookconfigurations", refusal(http.StatusForbidden),
			"validatingwebhookconfigurations.admissionregistration.k8s.io: not read: the right to list validatingwebhookconfigurations.admissionregistration.k8s.io is missing"},
		{registration + "v1/mutatingwebhookconfigurations", refusal(http.StatusForbidden),
			"mutatingwebhookconfigurations.admissionregistration.k8s.io: not read: the right to list mutatingwebhookconfigurations.admissionregistration.k8s.io is missing"},
		{registration + "v1/validatingadmissionpolicybindings", refusal(http.StatusForbidden),
			"validatingadmissionpolicybindings.admissionregistration.k8s.io: not read: the right to list validatingadmissionpolicybindings.admissionregistration.k8s.io is missing"},
		{registration + "v1/validatingwebhookconfigurations", refusal(http.StatusNotFound),
			"validatingwebhookconfigurations.admissionregistration.k8s.io: not read (list validatingwebhookconfigurations.admissionregistration.k8s.io): the apiserver answered 404"},
		{registration + "v1/validatingwebhookconfigurations", text(http.StatusOK, "{}"),
			"validatingwebhookconfigurations.admissionregistration.k8s.io: not read (list validatingwebhookconfigurations.admissionregistration.k8s.io): the answer is no ValidatingWebhookConfigurationList"},
		{registration + "v1/validatingwebhookconfigurations", text(http.StatusOK, "<html>"+canary),
			"validatingwebhookconfigurations.admissionregistration.k8s.io: not read (list validatingwebhookconfigurations.admissionregistration.k8s.io): the answer is no ValidatingWebhookConfigurationList"},
		{registration + "v1/validatingwebhookconfigurations", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, registration+"v1/mutatingwebhookconfigurations", http.StatusFound)
		}, "validatingwebhookconfigurations.admissionregistration.k8s.io: not read (list validatingwebhookconfigurations.admissionregistration.k8s.io): something other than an apiserver answered 302"},
		{registration + "v1", refusal(http.StatusServiceUnavailable),
			"validatingadmissionpolicies.admissionregistration.k8s.io: not read: the versions in which it is served are unknown: the apiserver answered 503"},
		{"/apis", text(http.StatusOK, "{}"),
			"mutatingadmissionpolicybindings.admissionregistration.k8s.io: not read: the versions in which it is served are unknown: the answer is no APIGroupList"},
		{"/apis/stable.example.com/v1", refusal(http.StatusServiceUnavailable),
			"widgets.stable.example.com: the versions in which it is served were not read: the apiserver answered 503"},
		{registration + "v1/validatingwebhookconfigurations", func(w http.ResponseWriter, r *http.Request) {
			text(http.StatusOK, `{"kind":"ValidatingWebhookConfigurationList","metadata":{"continue":"more"},"items":[]}`)(w, r)
		}, "validatingwebhookconfigurations.admissionregistration.k8s.io: not read (list validatingwebhookconfigurations.admissionregistration.k8s.io): there are more than 10000"},
		{registration + "v1/validatingwebhookconfigurations", func(w http.ResponseWriter, r *http.Request) {
			text(http.StatusOK, strings.Repeat(" ", 32<<20)+`{"kind":"ValidatingWebhookConfigurationList"}`)(w, r)
		}, "validatingwebhookconfigurations.admissionregistration.k8s.io: not read (list validatingwebhookconfigurations.admissionregistration.k8s.io): the answer is larger than 32 MiB"},
		{registration + "v1/validatingwebhookconfigurations", func(w http.ResponseWriter, _ *http.Request) {
			panic(http.ErrAbortHandler)
		}, "validatingwebhookconfigurations.admissionregistration.k8s.io: not read (list validatingwebhookconfigurations.admissionregistration.k8s.io): the connection failed"},
	} {
		a := newAPI(t).empty()
		a.answers[c.path] = c.answer
		got := a.look(widgets)
		if !strings.Contains(got, "warning NotRead "+c.want) {
			t.Errorf("%s:\n%s\nwant\nwarning NotRead %s", c.path, got, c.want)
		}
		if strings.Contains(got, "Nothing") {
			t.Errorf("%s was not read, and yet: %s", c.path, got)
		}
	}
}

// TestVersionsUnread: a rule for a version that may or may not be served matches perhaps.
func TestVersionsUnread(t *testing.T) {
	a := newAPI(t)
	w := hook("w.example.com", nil)
	w.Rules[0] = rule("stable.example.com", "v1", "widgets")
	a.validating("guard", w)
	a.answers["/apis/stable.example.com/v1"] = refusal(http.StatusServiceUnavailable)
	if got := a.empty().look(widgets); !strings.Contains(got, "warning NoBackend") {
		t.Error(got)
	}
}

// TestAbsentAPIs: a cluster without admission policies has none in the way.
func TestAbsentAPIs(t *testing.T) {
	a := newAPI(t).empty()
	a.discovery["admissionregistration.k8s.io/v1"] = "validatingwebhookconfigurations:ValidatingWebhookConfiguration:cluster"
	delete(a.discovery, "admissionregistration.k8s.io/v1beta1")
	if got := a.look(secrets); got != nothing {
		t.Error(got)
	}
	a.discovery["admissionregistration.k8s.io/v2"] = "mutatingadmissionpolicies:MutatingAdmissionPolicy:cluster"
	if got := a.look(secrets); got != nothing {
		t.Errorf("without a binding no policy has a say: %s", got)
	}
	a.discovery["admissionregistration.k8s.io/v2"] += " mutatingadmissionpolicybindings:MutatingAdmissionPolicyBinding:cluster"
	if got := a.look(secrets); !strings.Contains(got, "warning NotRead mutatingadmissionpolicies.admissionregistration.k8s.io: not read: it is served in no version that is known here") {
		t.Error(got)
	}
}

// silent is an apiserver that takes requests and never answers those whose path begins with prefix.
type silent struct {
	prefix string
	api    *api
}

func (s silent) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Path, s.prefix) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, r)
	return w.Result(), nil
}

func TestBounded(t *testing.T) {
	req := secrets
	req.Config = &rest.Config{Host: "https://fake", Transport: silent{"/", nil}}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got := lines(preflight.Look(t.Context(), req))
		if took := time.Since(start); took > time.Minute {
			t.Errorf("took %s", took)
		}
		if strings.Count(got, "warning NotRead") < 6 || strings.Contains(got, "Nothing") || !strings.Contains(got, "no answer in time") {
			t.Error(got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		got := lines(preflight.Look(ctx, req))
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %s after the interrupt", took)
		}
		if strings.Contains(got, "Nothing") || !strings.Contains(got, "interrupted") {
			t.Error(got)
		}
	})
}

// TestOneSilentAnswer: what comes after it is read nevertheless.
func TestOneSilentAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.objects[registration+"v1/mutatingwebhookconfigurations"] = []any{&admissionv1.MutatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "changer"}, Webhooks: []admissionv1.MutatingWebhook{{
				Name: "m.example.com", Rules: []admissionv1.RuleWithOperations{rule("*", "*", "*")},
				ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "hooks", Name: "gone"}}}}}}
		req := secrets
		req.Config = &rest.Config{Host: "https://fake", Transport: silent{registration + "v1/validatingwebhook", a.empty()}}
		start := time.Now()
		got := lines(preflight.Look(t.Context(), req))
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("took %s", took)
		}
		const want = "blocking NoBackend MutatingWebhookConfiguration changer: webhook m.example.com fails closed and there is no service hooks/gone: while that is so, the apiserver refuses every UPDATE of secrets\n" +
			"warning NotRead validatingwebhookconfigurations.admissionregistration.k8s.io: not read (list validatingwebhookconfigurations.admissionregistration.k8s.io): no answer in time"
		if got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	})
}

func TestUnprepared(t *testing.T) {
	for _, cfg := range []*rest.Config{nil, {Host: "https://fake", TLSClientConfig: rest.TLSClientConfig{CAFile: "/nonexistent"}}} {
		req := secrets
		req.Config = cfg
		if got := lines(preflight.Look(t.Context(), req)); !strings.HasPrefix(got, "warning NotRead everything: nothing was read: ") || strings.Contains(got, "\n") {
			t.Error(got)
		}
	}
}

func TestSeverityText(t *testing.T) {
	var none preflight.Severity
	if none.String() != "unknown" || none >= preflight.Info || preflight.Blocking <= preflight.Warning {
		t.Error("the zero value is no severity, and the worst is the greatest")
	}
}
