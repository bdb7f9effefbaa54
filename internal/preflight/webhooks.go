package preflight

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	kindValidatingWebhooks = "ValidatingWebhookConfiguration"
	kindMutatingWebhooks   = "MutatingWebhookConfiguration"
)

// usualTimeout is what the apiserver gives a webhook that names no timeout.
const usualTimeout = 10 * time.Second

// object is the part of an object's metadata that is kept.
type object struct {
	Name string `json:"name"`
}

// webhookConfiguration holds the fields of both kinds that decide what is asked; CA bundles and expressions are not
// even decoded.
type webhookConfiguration struct {
	Metadata object    `json:"metadata"`
	Webhooks []webhook `json:"webhooks"`
}

type webhook struct {
	Name         string `json:"name"`
	ClientConfig struct {
		URL     *string                       `json:"url"`
		Service *admissionv1.ServiceReference `json:"service"`
	} `json:"clientConfig"`
	Rules             []admissionv1.RuleWithOperations `json:"rules"`
	FailurePolicy     *admissionv1.FailurePolicyType   `json:"failurePolicy"`
	MatchPolicy       *admissionv1.MatchPolicyType     `json:"matchPolicy"`
	NamespaceSelector *metav1.LabelSelector            `json:"namespaceSelector"`
	ObjectSelector    *metav1.LabelSelector            `json:"objectSelector"`
	SideEffects       *admissionv1.SideEffectClass     `json:"sideEffects"`
	TimeoutSeconds    *int32                           `json:"timeoutSeconds"`
	MatchConditions   []struct{}                       `json:"matchConditions"`
}

func (w *webhook) failsClosed() bool {
	return w.FailurePolicy == nil || *w.FailurePolicy != admissionv1.Ignore
}

func (w *webhook) timeout() time.Duration {
	if w.TimeoutSeconds == nil {
		return usualTimeout
	}
	return time.Duration(*w.TimeoutSeconds) * time.Second
}

func (w *webhook) match(t target) match {
	m := t.narrowed(t.matchRules(w.Rules, w.MatchPolicy), w.NamespaceSelector, w.ObjectSelector)
	if len(w.MatchConditions) > 0 {
		m = min(m, sometimes)
	}
	return m
}

// webhooks reads the configurations of one kind and notes those that are asked about the target.
func (l *look) webhooks(ctx context.Context, kind string) {
	gv := schema.GroupVersion{Group: admissionv1.GroupName, Version: "v1"}
	resource := strings.ToLower(kind) + "s"
	err := readPages(ctx, &l.reader, acceptJSON, kind+"List", apiPath(gv, resource), nil, func(page []webhookConfiguration) bool {
		for _, c := range page {
			for i := range c.Webhooks {
				l.webhook(ctx, kind, kind+" "+shown(c.Metadata.Name), &c.Webhooks[i])
			}
		}
		return true
	})
	if err != nil {
		name := resource + "." + gv.Group
		l.notRead(name, missing(err, "list", name))
	}
}

func (l *look) webhook(ctx context.Context, kind, subject string, w *webhook) {
	m := w.match(l.target)
	if m == never {
		return
	}
	name := "webhook " + shown(w.Name)
	l.reach(ctx, kind, subject, name, w, m)
	if w.SideEffects != nil && *w.SideEffects != admissionv1.SideEffectClassNone && *w.SideEffects != admissionv1.SideEffectClassNoneOnDryRun {
		l.note(NoDryRun, Info, subject, "%s declares side effects: the apiserver refuses a dry run of an UPDATE of %s", name, l.of(m))
	}
	if w.timeout() > usualTimeout {
		l.note(Slow, Info, subject, "%s may take up to %s for each UPDATE of %s", name, w.timeout(), l.of(m))
	}
}

// reach notes how the webhook stands: whether it has a say, and whether anybody is there to say it.
func (l *look) reach(ctx context.Context, kind, subject, name string, w *webhook, m match) {
	say := "may refuse"
	if kind == kindMutatingWebhooks {
		say = "may change or refuse"
	}
	if w.ClientConfig.Service == nil {
		if !w.failsClosed() {
			l.note(HasSay, Info, subject, "%s %s an UPDATE of %s, and is passed over when it does not answer", name, say, l.of(m))
			return
		}
		l.note(BackendUnknown, Info, subject, "%s %s an UPDATE of %s, and refuses it when it does not answer; whether %s answers cannot be known from here",
			name, say, l.of(m), host(w.ClientConfig.URL))
		return
	}
	b := l.backend(ctx, *w.ClientConfig.Service)
	switch {
	case b.state == backendMissing && w.failsClosed():
		l.note(NoBackend, m.severity(), subject, "%s fails closed and %s: while that is so, the apiserver refuses every UPDATE of %s", name, b.why, l.of(m))
	case b.state == backendMissing:
		l.note(NoBackend, Info, subject, "%s is passed over, since %s; that may take up to %s for each UPDATE of %s", name, b.why, w.timeout(), l.of(m))
	case b.state == backendReady, !w.failsClosed():
		l.note(HasSay, Info, subject, "%s %s an UPDATE of %s", name, say, l.of(m))
	case b.state == backendElsewhere:
		l.note(BackendUnknown, Info, subject, "%s %s an UPDATE of %s, and refuses it when it does not answer; %s", name, say, l.of(m), b.why)
	default:
		l.note(BackendUnknown, Warning, subject, "%s fails closed and %s: an UPDATE of %s is refused if nobody is there", name, b.why, l.of(m))
	}
}

func (m match) severity() Severity {
	if m == always {
		return Blocking
	}
	return Warning
}

// of names the objects that are matched.
func (l *look) of(m match) string {
	if m == always {
		return l.target.String()
	}
	return "those " + l.target.String() + " that it selects"
}

// host is the host and port of a URL, and nothing else of it.
func host(raw *string) string {
	if raw != nil {
		if u, err := url.Parse(*raw); err == nil && u.Host != "" {
			return shown(u.Host)
		}
	}
	return "its address"
}

// shown quotes a name unless it is made of what names and hosts are made of.
func shown(name string) string {
	plain := name != "" && strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._:[]", r))
	}) < 0
	if plain {
		return name
	}
	return strconv.Quote(name)
}

func serviceName(ref admissionv1.ServiceReference) string {
	return fmt.Sprintf("%s/%s", shown(ref.Namespace), shown(ref.Name))
}
