package preflight_test

import (
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/svmctl/svmctl/internal/preflight"
)

const subject = "ValidatingWebhookConfiguration guard: webhook w.example.com "

func TestWebhookMatches(t *testing.T) {
	labelled := &metav1.LabelSelector{MatchLabels: map[string]string{canary: "x"}}
	for _, c := range []struct {
		name   string
		req    preflight.Request
		change func(*admissionv1.ValidatingWebhook)
		want   string
	}{
		{"every object", secrets, nil, "blocking NoBackend " + subject + "fails closed and there is no service hooks/guard: while that is so, the apiserver refuses every UPDATE of secrets"},
		{"some namespaces", secrets, func(w *admissionv1.ValidatingWebhook) { w.NamespaceSelector = labelled },
			"warning NoBackend " + subject + "fails closed and there is no service hooks/guard: while that is so, the apiserver refuses every UPDATE of those secrets that it selects"},
		{"some objects", secrets, func(w *admissionv1.ValidatingWebhook) { w.ObjectSelector = labelled }, "warning NoBackend"},
		{"on a condition", secrets, func(w *admissionv1.ValidatingWebhook) {
			w.MatchConditions = []admissionv1.MatchCondition{{Name: canary, Expression: canary}}
		}, "warning NoBackend"},
		{"without a failure policy", secrets, func(w *admissionv1.ValidatingWebhook) { w.FailurePolicy = nil }, "blocking NoBackend"},
		{"ignored when it fails", secrets, func(w *admissionv1.ValidatingWebhook) { w.FailurePolicy = new(admissionv1.Ignore) },
			"info NoBackend " + subject + "is passed over, since there is no service hooks/guard; that may take up to 10s for each UPDATE of secrets"},
		{"another resource", widgets, nil, "info Nothing widgets.stable.example.com: no webhook and no admission policy has a say in an UPDATE of widgets.stable.example.com"},
		{"only on creation", secrets, func(w *admissionv1.ValidatingWebhook) {
			w.Rules[0].Operations = []admissionv1.OperationType{admissionv1.Create}
		}, "info Nothing"},
		{"through another version", widgets, func(w *admissionv1.ValidatingWebhook) {
			w.Rules = []admissionv1.RuleWithOperations{rule("stable.example.com", "v1", "widgets")}
		}, "blocking NoBackend"},
		{"another version, exactly", widgets, func(w *admissionv1.ValidatingWebhook) {
			w.Rules = []admissionv1.RuleWithOperations{rule("stable.example.com", "v1", "widgets")}
			w.MatchPolicy = new(admissionv1.Exact)
		}, "info Nothing"},
		{"the same objects in another group", events, func(w *admissionv1.ValidatingWebhook) {
			w.Rules = []admissionv1.RuleWithOperations{rule("events.k8s.io", "v1", "events")}
		}, "blocking NoBackend"},
		{"a version that is not served", widgets, func(w *admissionv1.ValidatingWebhook) {
			w.Rules = []admissionv1.RuleWithOperations{rule("stable.example.com", "v1alpha1", "widgets")}
		}, "info Nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAPI(t)
			a.validating("guard", hook("w.example.com", c.change))
			if got := a.empty().look(c.req); !strings.HasPrefix(got+" ", c.want+" ") || strings.Contains(got, "\n") {
				t.Errorf("%s\nwant %s, alone", got, c.want)
			}
		})
	}
}

func TestWebhookBackend(t *testing.T) {
	yes, no := new(true), new(false)
	missing := func(why string) string {
		return "blocking NoBackend " + subject + "fails closed and " + why + ": while that is so, the apiserver refuses every UPDATE of secrets"
	}
	const fine = "info HasSay " + subject + "may refuse an UPDATE of secrets"
	for _, c := range []struct {
		name   string
		change func(*admissionv1.ValidatingWebhook)
		setup  func(*api)
		want   string
	}{
		{"an endpoint", nil, func(a *api) { a.service(nil, yes) }, fine},
		{"an endpoint of unset readiness", nil, func(a *api) { a.service(nil, nil) }, fine},
		{"the last of several pages", nil, func(a *api) { a.service(nil, no, no, no, no, yes) }, fine},
		{"none ready", nil, func(a *api) { a.service(nil, no, no, no) }, missing("service hooks/guard has no ready endpoint")},
		{"no slice", nil, func(a *api) { a.service(nil) }, missing("service hooks/guard has no ready endpoint")},
		{"endpoints of another port", nil, func(a *api) {
			a.service(func(s *corev1.Service) { s.Spec.Ports[0].Name = "metrics" }, yes)
		}, missing("service hooks/guard has no ready endpoint")},
		{"no such port", func(w *admissionv1.ValidatingWebhook) { w.ClientConfig.Service.Port = new(int32(9443)) },
			func(a *api) { a.service(nil, yes) }, missing("service hooks/guard has no port 9443")},
		{"an unset port is 443", func(w *admissionv1.ValidatingWebhook) { w.ClientConfig.Service.Port = nil }, func(a *api) { a.service(nil, yes) }, fine},
		{"a name that no service can have", func(w *admissionv1.ValidatingWebhook) { w.ClientConfig.Service.Name = "../pods" }, nil,
			missing(`no service can have the name hooks/"../pods"`)},
		{"the apiserver itself", func(w *admissionv1.ValidatingWebhook) {
			w.ClientConfig.Service = &admissionv1.ServiceReference{Namespace: "default", Name: "kubernetes"}
		}, nil, fine},
		{"headless", nil, func(a *api) { a.service(func(s *corev1.Service) { s.Spec.ClusterIP = "None" }, yes) },
			"warning BackendUnknown " + subject + "fails closed and service hooks/guard is headless, which only an apiserver with --enable-aggregator-routing can reach: an UPDATE of secrets is refused if nobody is there"},
		{"outside of the cluster", nil, func(a *api) {
			a.service(func(s *corev1.Service) {
				s.Spec.Type, s.Spec.ExternalName, s.Spec.ClusterIP = corev1.ServiceTypeExternalName, "hook.example.org", ""
			})
		}, "info BackendUnknown " + subject + "may refuse an UPDATE of secrets, and refuses it when it does not answer; whether hook.example.org answers, to which service hooks/guard leads, cannot be known from here"},
		{"a URL", func(w *admissionv1.ValidatingWebhook) {
			w.ClientConfig.Service, w.ClientConfig.URL = nil, new("https://"+canary+":"+canary+"@hook.example.org:8443/"+canary+"?"+canary+"="+canary)
		}, nil, "info BackendUnknown " + subject + "may refuse an UPDATE of secrets, and refuses it when it does not answer; whether hook.example.org:8443 answers cannot be known from here"},
		{"a URL, ignored when it fails", func(w *admissionv1.ValidatingWebhook) {
			w.ClientConfig.Service, w.ClientConfig.URL, w.FailurePolicy = nil, new("https://hook.example.org"), new(admissionv1.Ignore)
		}, nil, "info HasSay " + subject + "may refuse an UPDATE of secrets, and is passed over when it does not answer"},
		{"services are forbidden", nil, func(a *api) { a.answers["/api/v1/namespaces/hooks/services/guard"] = refusal(http.StatusForbidden) },
			"warning BackendUnknown " + subject + "fails closed and its service hooks/guard could not be read: an UPDATE of secrets is refused if nobody is there\n" +
				"warning NotRead services in namespace hooks: not read: the right to get services is missing"},
		{"slices are forbidden", nil, func(a *api) {
			a.service(nil, yes)
			a.answers["/apis/discovery.k8s.io/v1/namespaces/hooks/endpointslices"] = refusal(http.StatusForbidden)
		}, "warning BackendUnknown " + subject + "fails closed and the endpoints of its service hooks/guard could not be read: an UPDATE of secrets is refused if nobody is there\n" +
			"warning NotRead endpointslices.discovery.k8s.io in namespace hooks: not read: the right to list endpointslices.discovery.k8s.io is missing"},
		{"a proxy knows no service", nil, func(a *api) {
			a.answers["/api/v1/namespaces/hooks/services/guard"] = text(http.StatusNotFound, "not here")
		},
			"warning BackendUnknown " + subject + "fails closed and its service hooks/guard could not be read: an UPDATE of secrets is refused if nobody is there\n" +
				"warning NotRead services in namespace hooks: not read (get services): something other than an apiserver answered 404"},
		{"a proxy knows no service, in JSON", nil, func(a *api) {
			a.answers["/api/v1/namespaces/hooks/services/guard"] = text(http.StatusNotFound, `{"message":"not here"}`)
		}, "warning BackendUnknown " + subject + "fails closed and its service hooks/guard could not be read: an UPDATE of secrets is refused if nobody is there\n" +
			"warning NotRead services in namespace hooks: not read (get services): something other than an apiserver answered 404"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAPI(t)
			if c.setup != nil {
				c.setup(a)
			}
			a.validating("guard", hook("w.example.com", c.change))
			if got := a.empty().look(secrets); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

// TestSeveralWebhooks has the worst first, every note of its own, the mutating ones too, and each service asked for once.
func TestSeveralWebhooks(t *testing.T) {
	a := newAPI(t)
	a.service(nil, new(false))
	a.validating("zebra", hook("a.example.com", func(w *admissionv1.ValidatingWebhook) {
		w.SideEffects, w.TimeoutSeconds = new(admissionv1.SideEffectClassUnknown), new(int32(30))
		w.ClientConfig.Service, w.ClientConfig.URL = nil, new("https://a.example.com")
	}), hook("b.example.com", nil))
	a.validating("other", hook("c.example.com", func(w *admissionv1.ValidatingWebhook) { w.Rules = nil }))
	a.validating("third", hook("d.example.com", func(w *admissionv1.ValidatingWebhook) { w.FailurePolicy = new(admissionv1.Ignore) }))
	v := hook("m.example.com", nil)
	a.objects[registration+"v1/mutatingwebhookconfigurations"] = []any{&admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "changer"}, Webhooks: []admissionv1.MutatingWebhook{{
			Name: "m.example.com", Rules: v.Rules, FailurePolicy: v.FailurePolicy, SideEffects: v.SideEffects,
			ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "default", Name: "kubernetes"}}}}}}
	want := `blocking NoBackend ValidatingWebhookConfiguration zebra: webhook b.example.com fails closed and service hooks/guard has no ready endpoint: while that is so, the apiserver refuses every UPDATE of secrets
info HasSay MutatingWebhookConfiguration changer: webhook m.example.com may change or refuse an UPDATE of secrets
info NoBackend ValidatingWebhookConfiguration third: webhook d.example.com is passed over, since service hooks/guard has no ready endpoint; that may take up to 10s for each UPDATE of secrets
info BackendUnknown ValidatingWebhookConfiguration zebra: webhook a.example.com may refuse an UPDATE of secrets, and refuses it when it does not answer; whether a.example.com answers cannot be known from here
info NoDryRun ValidatingWebhookConfiguration zebra: webhook a.example.com declares side effects: the apiserver refuses a dry run of an UPDATE of secrets
info Slow ValidatingWebhookConfiguration zebra: webhook a.example.com may take up to 30s for each UPDATE of secrets`
	if got := a.empty().look(secrets); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if n := a.asked["/api/v1/namespaces/hooks/services/guard"]; n != 1 {
		t.Errorf("the service was asked for %d times", n)
	}
}

// TestExempt: the apiserver asks nobody about the configuration of admission, so a wildcard webhook that is down does
// not keep one from being repaired.
func TestExempt(t *testing.T) {
	a := newAPI(t)
	a.validating("guard", hook("w.example.com", func(w *admissionv1.ValidatingWebhook) {
		w.Rules = []admissionv1.RuleWithOperations{rule("*", "*", "*/*")}
	}))
	req := preflight.Request{Kind: "ValidatingWebhookConfiguration"}
	req.Resource.Group, req.Resource.Version, req.Resource.Resource = "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"
	if got := a.empty().look(req); !strings.HasPrefix(got, "info Nothing ") || strings.Contains(got, "\n") {
		t.Error(got)
	}
}
