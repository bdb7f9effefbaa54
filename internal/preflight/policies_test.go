package preflight_test

import (
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/svmctl/svmctl/internal/preflight"
)

// policyCase is a ValidatingAdmissionPolicy for secrets and its one binding, as change leaves them.
type policyCase struct {
	name   string
	req    preflight.Request
	change func(*admissionv1.ValidatingAdmissionPolicy, *admissionv1.ValidatingAdmissionPolicyBinding)
	setup  func(*api)
	want   string
}

func (c policyCase) run(t *testing.T) {
	a := newAPI(t)
	p := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p.example.com"},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy:    new(admissionv1.Fail),
			Validations:      []admissionv1.Validation{{Expression: canary, Message: canary}},
			Variables:        []admissionv1.Variable{{Name: canary, Expression: canary}},
			MatchConstraints: constraints(rule("", "v1", "secrets")),
		},
	}
	b := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "b.example.com"},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "p.example.com", ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	}
	if c.change != nil {
		c.change(p, b)
	}
	a.objects[registration+"v1/validatingadmissionpolicies"] = []any{p}
	a.objects[registration+"v1/validatingadmissionpolicybindings"] = []any{b}
	if c.setup != nil {
		c.setup(a)
	}
	if c.req.Kind == "" {
		c.req = secrets
	}
	if got := a.empty().look(c.req); got != c.want {
		t.Errorf("%s\nwant\n%s", got, c.want)
	}
}

func constraints(rules ...admissionv1.RuleWithOperations) *admissionv1.MatchResources {
	mr := &admissionv1.MatchResources{MatchPolicy: new(admissionv1.Equivalent), NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{}}
	for _, r := range rules {
		mr.ResourceRules = append(mr.ResourceRules, admissionv1.NamedRuleWithOperations{RuleWithOperations: r})
	}
	return mr
}

const (
	policySubject  = "ValidatingAdmissionPolicy p.example.com: "
	bindingSubject = "ValidatingAdmissionPolicyBinding b.example.com: "
	hasSay         = "info HasSay " + policySubject + "may refuse an UPDATE of secrets"
	hasSaySome     = "info HasSay " + policySubject + "may refuse an UPDATE of those secrets that it selects"
	nothing        = "info Nothing secrets: no webhook and no admission policy has a say in an UPDATE of secrets"
)

func TestPolicies(t *testing.T) {
	type (
		policy  = *admissionv1.ValidatingAdmissionPolicy
		binding = *admissionv1.ValidatingAdmissionPolicyBinding
	)
	labelled := &metav1.LabelSelector{MatchLabels: map[string]string{canary: "x"}}
	warned := admissionv1.ValidatingAdmissionPolicyStatus{TypeChecking: &admissionv1.TypeChecking{ExpressionWarnings: []admissionv1.ExpressionWarning{{FieldRef: canary, Warning: canary}}}}
	for _, c := range []policyCase{
		{"denies", secrets, nil, nil, hasSay},
		{"only warns", secrets, func(_ policy, b binding) {
			b.Spec.ValidationActions = []admissionv1.ValidationAction{admissionv1.Warn, admissionv1.Audit}
		}, nil, nothing},
		{"bound by nobody", secrets, func(_ policy, b binding) { b.Spec.PolicyName = "other" }, nil, nothing},
		{"another resource", widgets, nil, nil, strings.ReplaceAll(nothing, "secrets", "widgets.stable.example.com")},
		{"bound for another resource", secrets, func(_ policy, b binding) { b.Spec.MatchResources = constraints(rule("", "v1", "configmaps")) }, nil, nothing},
		{"bound in some namespaces", secrets, func(_ policy, b binding) {
			b.Spec.MatchResources = constraints()
			b.Spec.MatchResources.NamespaceSelector = labelled
		}, nil, hasSaySome},
		{"on a condition", secrets, func(p policy, _ binding) {
			p.Spec.MatchConditions = []admissionv1.MatchCondition{{Name: canary, Expression: canary}}
		}, nil, hasSaySome},
		{"for one name", secrets, func(p policy, _ binding) { p.Spec.MatchConstraints.ResourceRules[0].ResourceNames = []string{canary} }, nil, hasSaySome},
		{"excluded", secrets, func(p policy, _ binding) {
			p.Spec.MatchConstraints.ExcludeResourceRules = p.Spec.MatchConstraints.ResourceRules
		}, nil, nothing},
		{"warnings", secrets, func(p policy, _ binding) { p.Status = warned }, nil,
			"warning TypeWarnings " + policySubject + "fails closed, and the apiserver warns of its expressions (1): an UPDATE of secrets is refused where one cannot be evaluated\n" + hasSay},
		{"warnings, but errors are ignored", secrets, func(p policy, _ binding) {
			p.Status, p.Spec.FailurePolicy = warned, new(admissionv1.Ignore)
		}, nil, hasSay},
	} {
		t.Run(c.name, c.run)
	}
}

func TestParameters(t *testing.T) {
	type (
		policy  = *admissionv1.ValidatingAdmissionPolicy
		binding = *admissionv1.ValidatingAdmissionPolicyBinding
	)
	param := func(kind string, ref admissionv1.ParamRef) func(policy, binding) {
		return func(p policy, b binding) {
			p.Spec.ParamKind = &admissionv1.ParamKind{APIVersion: "v1", Kind: kind}
			if kind == "Limit" || kind == "Widget" {
				p.Spec.ParamKind.APIVersion = "stable.example.com/v1"
			}
			if ref.ParameterNotFoundAction == nil {
				ref.ParameterNotFoundAction = new(admissionv1.DenyAction)
			}
			b.Spec.ParamRef = &ref
		}
	}
	also := func(first func(policy, binding), then func(policy, binding)) func(policy, binding) {
		return func(p policy, b binding) { first(p, b); then(p, b) }
	}
	conf := param("ConfigMap", admissionv1.ParamRef{Namespace: "rules", Name: "limits"})
	selected := param("ConfigMap", admissionv1.ParamRef{Namespace: "rules", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}})
	const path = "/api/v1/namespaces/rules/configmaps"
	found := func(a *api) {
		a.objects[path] = []any{&metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadata"},
			ObjectMeta: metav1.ObjectMeta{Name: "limits", Annotations: map[string]string{canary: canary}}}}
	}
	refused := func(code, why string) string {
		return "blocking " + code + " " + bindingSubject + "policy p.example.com fails closed and " + why + ": every UPDATE of secrets is refused\n" + hasSay
	}
	absent := refused("NoParameters", "the parameters that the binding asks for do not exist")
	unserved := "blocking Misconfigured " + policySubject + "fails closed, and no API serves the kind of its parameters: every UPDATE of secrets is refused"
	for _, c := range []policyCase{
		{"there", secrets, conf, found, hasSay},
		{"missing", secrets, conf, nil, absent},
		{"missing, on a condition: parameters come first", secrets, also(conf, func(p policy, _ binding) {
			p.Spec.MatchConditions = []admissionv1.MatchCondition{{Name: canary, Expression: canary}}
		}), nil, strings.Replace(absent, hasSay, hasSaySome, 1)},
		{"missing, which is allowed", secrets, param("ConfigMap", admissionv1.ParamRef{Namespace: "rules", Name: "limits", ParameterNotFoundAction: new(admissionv1.AllowAction)}), nil, hasSay},
		{"missing, but errors are ignored", secrets, also(conf, func(p policy, _ binding) { p.Spec.FailurePolicy = new(admissionv1.Ignore) }), nil, hasSay},
		{"missing for a binding that only warns", secrets, also(conf, func(_ policy, b binding) {
			b.Spec.ValidationActions = []admissionv1.ValidationAction{admissionv1.Warn}
		}), nil, strings.TrimSuffix(absent, "\n"+hasSay)},
		{"a selector finds one", secrets, selected, found, hasSay},
		{"a selector finds none", secrets, selected, func(a *api) { a.objects[path] = []any{} }, absent},
		{"forbidden", secrets, conf, func(a *api) { a.answers[path+"/limits"] = refusal(http.StatusForbidden) },
			"warning NotRead " + bindingSubject + "whether its parameters exist was not read: the right to get configmaps is missing\n" + hasSay},
		{"forbidden to list", secrets, selected, func(a *api) { a.answers[path] = refusal(http.StatusForbidden) },
			"warning NotRead " + bindingSubject + "whether its parameters exist was not read: the right to list configmaps is missing\n" + hasSay},
		{"a kind that is not served", secrets, param("Gadget", admissionv1.ParamRef{Name: "x"}), nil, unserved},
		{"a group that is not served", secrets, also(param("Limit", admissionv1.ParamRef{Name: "x"}), func(p policy, b binding) {
			p.Spec.ParamKind.APIVersion, b.Spec.ParamRef = "gone.example.com/v1", nil
		}), nil, unserved},
		{"a kind that is not served, and errors are ignored", secrets, also(param("Gadget", admissionv1.ParamRef{Name: "x"}), func(p policy, _ binding) {
			p.Spec.FailurePolicy = new(admissionv1.Ignore)
		}), nil, nothing},
		{"a namespace for what has none", secrets, param("Limit", admissionv1.ParamRef{Namespace: "rules", Name: "x"}), nil,
			refused("Misconfigured", "its parameters are cluster-scoped, but the binding names a namespace")},
		{"in each namespace", secrets, param("ConfigMap", admissionv1.ParamRef{Name: "x"}), nil,
			"warning NoParameters " + bindingSubject + "policy p.example.com fails closed and seeks its parameters in the object's own namespace: every UPDATE of secrets is refused where there are none\n" + hasSay},
		{"cluster-scoped", secrets, param("Limit", admissionv1.ParamRef{Name: "x"}), nil, absent},
		{"kinds could not be read", secrets, param("Widget", admissionv1.ParamRef{Namespace: "rules", Name: "x"}),
			func(a *api) { a.answers["/apis/stable.example.com/v1"] = refusal(http.StatusServiceUnavailable) },
			"warning NotRead " + policySubject + "whether the kind of its parameters is served was not read: the apiserver answered 503"},
	} {
		t.Run(c.name, c.run)
	}
	t.Run("the namespace of an object that has none", func(t *testing.T) {
		req := preflight.Request{Kind: "Node"}
		req.Resource.Version, req.Resource.Resource = "v1", "nodes"
		policyCase{req: req, change: also(param("ConfigMap", admissionv1.ParamRef{Name: "x"}), func(p policy, _ binding) {
			p.Spec.MatchConstraints = constraints(rule("", "*", "*"))
		}), want: strings.ReplaceAll(refused("Misconfigured", "seeks its parameters in the object's namespace, but the object has none"), "secrets", "nodes")}.run(t)
	})
}

// TestMutatingPolicy is served by v1beta1 alone.
func TestMutatingPolicy(t *testing.T) {
	a := newAPI(t)
	a.objects[registration+"v1beta1/mutatingadmissionpolicies"] = []any{&admissionv1.MutatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: admissionv1.MutatingAdmissionPolicySpec{MatchConstraints: constraints(rule("*", "*", "*"))}}}
	a.objects[registration+"v1beta1/mutatingadmissionpolicybindings"] = []any{&admissionv1.MutatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "b"}, Spec: admissionv1.MutatingAdmissionPolicyBindingSpec{PolicyName: "p"}}}
	const want = "info HasSay MutatingAdmissionPolicy p: may change or refuse an UPDATE of secrets"
	if got := a.empty().look(secrets); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
