package preflight

import (
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// match tells for how many objects of the resource something is asked.
type match int

const (
	never match = iota
	sometimes
	always
)

// target is the resource in the eyes of a rule.
type target struct {
	resource    schema.GroupVersionResource
	subresource string
	namespaced  bool
	// equivalents are the resources by which the same objects are served, itself included; nil is not known.
	equivalents []schema.GroupVersionResource
}

func newTarget(req Request) target {
	return target{resource: req.Resource, subresource: req.Subresource, namespaced: req.Namespaced}
}

func (t target) String() string {
	if t.subresource != "" {
		return t.resource.GroupResource().String() + "/" + t.subresource
	}
	return t.resource.GroupResource().String()
}

var namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// inNamespace tells whether requests have a namespace in the eyes of admission: those for a Namespace have its own.
func (t target) inNamespace() bool {
	return t.namespaced || t.resource.GroupResource() == namespaces.GroupResource()
}

// matchRules follows pkg/admission/plugin/webhook/predicates/rules of the apiserver, and, for Equivalent, the callers of
// it: an unset match policy counts as Equivalent, which is what the apiserver fills in.
func (t target) matchRules(rules []admissionv1.RuleWithOperations, policy *admissionv1.MatchPolicyType) match {
	for _, rule := range rules {
		if t.matchRule(rule, t.resource) {
			return always
		}
	}
	if policy != nil && *policy != admissionv1.Equivalent {
		return never
	}
	for _, rule := range rules {
		if t.equivalents == nil {
			any := rule
			any.APIVersions = []string{"*"}
			if t.matchRule(any, t.resource) {
				return sometimes
			}
		}
		for _, r := range t.equivalents {
			if t.matchRule(rule, r) {
				return always
			}
		}
	}
	return never
}

func (t target) matchRule(rule admissionv1.RuleWithOperations, r schema.GroupVersionResource) bool {
	return (slices.Contains(rule.Operations, admissionv1.Update) || slices.Contains(rule.Operations, admissionv1.OperationAll)) &&
		t.matchScope(rule.Scope, r) && oneOf(rule.APIGroups, r.Group) && oneOf(rule.APIVersions, r.Version) &&
		slices.ContainsFunc(rule.Resources, func(pattern string) bool {
			resource, sub, _ := strings.Cut(pattern, "/")
			return (resource == "*" || resource == r.Resource) && (sub == "*" || sub == t.subresource)
		})
}

// matchScope counts namespaces as cluster-scoped, whatever their requests carry.
func (t target) matchScope(scope *admissionv1.ScopeType, r schema.GroupVersionResource) bool {
	if scope == nil {
		return true
	}
	namespaced := t.inNamespace() && r != namespaces
	switch *scope {
	case admissionv1.AllScopes:
		return true
	case admissionv1.NamespacedScope:
		return namespaced
	case admissionv1.ClusterScope:
		return !namespaced
	}
	return false
}

func oneOf(items []string, wanted string) bool {
	return slices.Contains(items, "*") || slices.Contains(items, wanted)
}

// narrowed is what the selectors leave of a match. A namespaceSelector does not keep cluster-scoped objects out, other
// than namespaces (pkg/admission/plugin/webhook/predicates/namespace).
func (t target) narrowed(m match, namespace, object *metav1.LabelSelector) match {
	if selects(object) || selects(namespace) && t.inNamespace() {
		return min(m, sometimes)
	}
	return m
}

func selects(s *metav1.LabelSelector) bool {
	return s != nil && len(s.MatchLabels)+len(s.MatchExpressions) > 0
}

// matchResources follows pkg/admission/plugin/policy/matching of the apiserver.
func (t target) matchResources(mr *admissionv1.MatchResources) match {
	if mr == nil {
		return always
	}
	m := always
	if len(mr.ResourceRules) > 0 {
		m = t.matchNamed(mr.ResourceRules, mr.MatchPolicy)
	}
	switch t.matchNamed(mr.ExcludeResourceRules, mr.MatchPolicy) {
	case always:
		return never
	case sometimes:
		m = min(m, sometimes)
	}
	return t.narrowed(m, mr.NamespaceSelector, mr.ObjectSelector)
}

// matchNamed is the widest match of the rules; one that names objects matches sometimes.
func (t target) matchNamed(rules []admissionv1.NamedRuleWithOperations, policy *admissionv1.MatchPolicyType) match {
	widest := never
	for _, rule := range rules {
		m := t.matchRules([]admissionv1.RuleWithOperations{rule.RuleWithOperations}, policy)
		if len(rule.ResourceNames) > 0 {
			m = min(m, sometimes)
		}
		widest = max(widest, m)
	}
	return widest
}
