package preflight

import (
	"fmt"
	"math/rand/v2"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/policy/matching"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules"
)

func gvr(group, version, resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: resource}
}

// targets are asked about by the first of what the API serves them by.
var targets = []struct {
	namespaced  bool
	subresource string
	servedBy    []schema.GroupVersionResource
}{
	{true, "", []schema.GroupVersionResource{gvr("", "v1", "secrets")}},
	{true, "", []schema.GroupVersionResource{gvr("", "v1", "events"), gvr("events.k8s.io", "v1", "events")}},
	{true, "", []schema.GroupVersionResource{gvr("stable.example.com", "v1", "widgets"), gvr("stable.example.com", "v2", "widgets")}},
	{false, "", []schema.GroupVersionResource{gvr("stable.example.com", "v2", "widgets"), gvr("stable.example.com", "v1", "widgets")}},
	{true, "status", []schema.GroupVersionResource{gvr("stable.example.com", "v2", "widgets"), gvr("stable.example.com", "v1", "widgets")}},
	{false, "", []schema.GroupVersionResource{gvr("", "v1", "namespaces")}},
}

// TestAgainstApiserver draws rules and has the apiserver's own matcher say what they match.
func TestAgainstApiserver(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) []string {
		var some []string
		for range 1 + rnd.IntN(2) {
			some = append(some, from[rnd.IntN(len(from))])
		}
		return some
	}
	rule := func() admissionv1.NamedRuleWithOperations {
		r := admissionv1.NamedRuleWithOperations{}
		for _, o := range pick("UPDATE", "UPDATE", "*", "CREATE", "DELETE") {
			r.Operations = append(r.Operations, admissionv1.OperationType(o))
		}
		r.APIGroups = pick("", "*", "stable.example.com", "events.k8s.io")
		r.APIVersions = pick("*", "v1", "v2")
		r.Resources = pick("*", "*/*", "*/status", "widgets", "widgets/*", "widgets/status", "secrets", "secrets/*", "events", "namespaces", "namespaces/finalize")
		if i := rnd.IntN(5); i < 4 {
			r.Scope = new([]admissionv1.ScopeType{"*", "Namespaced", "Cluster", "*"}[i])
		}
		if rnd.IntN(4) == 0 {
			r.ResourceNames = pick("a", "b")
		}
		return r
	}
	seen := make(map[match]int)
	for i := range 200_000 {
		which := targets[i%len(targets)]
		mr := &admissionv1.MatchResources{
			MatchPolicy:       new([]admissionv1.MatchPolicyType{admissionv1.Exact, admissionv1.Equivalent}[rnd.IntN(2)]),
			NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{},
		}
		for range rnd.IntN(3) {
			mr.ResourceRules = append(mr.ResourceRules, rule())
		}
		named := false
		for range rnd.IntN(2) {
			mr.ExcludeResourceRules = append(mr.ExcludeResourceRules, rule())
		}
		for _, r := range append(mr.ResourceRules, mr.ExcludeResourceRules...) {
			named = named || len(r.ResourceNames) > 0
		}
		tg := target{resource: which.servedBy[0], subresource: which.subresource, namespaced: which.namespaced, equivalents: which.servedBy}
		got := tg.matchResources(mr)
		seen[got]++
		matched := 0
		names := []string{"a", "b", "c"}
		for _, name := range names {
			if oracle(t, tg, name, mr) {
				matched++
			}
		}
		switch {
		case got == never && matched > 0, got == always && matched < len(names), got == sometimes && !named:
			t.Fatalf("%+v: %d, but the apiserver matches %d of %d objects with %+v", tg, got, matched, len(names), mr)
		}
	}
	for _, m := range []match{never, sometimes, always} {
		if seen[m] < 1000 {
			t.Errorf("only %d draws gave match %d", seen[m], m)
		}
	}
}

func attributes(tg target, name string, object runtime.Object) admission.Attributes {
	namespace := ""
	if tg.resource.Resource == "namespaces" {
		namespace = name // as the apiserver has it for requests of a Namespace
	} else if tg.namespaced {
		namespace = "ns"
	}
	return admission.NewAttributesRecord(object, object, tg.resource.GroupVersion().WithKind("Kind"), namespace, name,
		tg.resource, tg.subresource, admission.Update, &metav1.UpdateOptions{}, false, nil)
}

func oracle(t *testing.T, tg target, name string, mr *admissionv1.MatchResources) bool {
	t.Helper()
	object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}
	mapper := runtime.NewEquivalentResourceRegistryWithIdentity(func(gr schema.GroupResource) string { return gr.Resource })
	for _, r := range tg.equivalents {
		mapper.RegisterKindFor(r, tg.subresource, r.GroupVersion().WithKind("Kind"))
	}
	matches, _, _, err := matching.NewMatcher(nil, nil).Matches(attributes(tg, name, object), &admission.RuntimeObjectInterfaces{EquivalentResourceMapper: mapper}, criteria{*mr})
	if err != nil {
		t.Fatal(err)
	}
	return matches
}

type criteria struct{ admissionv1.MatchResources }

func (c criteria) GetMatchResources() admissionv1.MatchResources { return c.MatchResources }
func (c criteria) GetParsedNamespaceSelector() (labels.Selector, error) {
	return metav1.LabelSelectorAsSelector(c.NamespaceSelector)
}
func (c criteria) GetParsedObjectSelector() (labels.Selector, error) {
	return metav1.LabelSelectorAsSelector(c.ObjectSelector)
}

func TestSelectors(t *testing.T) {
	labelled := &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	absent := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpDoesNotExist}}}
	none := &metav1.LabelSelector{}
	cluster := target{resource: gvr("example.com", "v1", "widgets"), equivalents: []schema.GroupVersionResource{gvr("example.com", "v1", "widgets")}}
	spaced, namespace := cluster, cluster
	spaced.namespaced = true
	namespace.resource = gvr("", "v1", "namespaces")
	namespace.equivalents = []schema.GroupVersionResource{namespace.resource}
	for _, c := range []struct {
		name              string
		target            target
		namespace, object *metav1.LabelSelector
		want              match
	}{
		{"none", spaced, nil, nil, always},
		{"empty ones", spaced, none, none, always},
		{"of namespaces", spaced, labelled, none, sometimes},
		{"of objects", spaced, none, absent, sometimes},
		{"of namespaces, for what is in none", cluster, labelled, none, always},
		{"of objects, for what is in no namespace", cluster, none, labelled, sometimes},
		{"of namespaces, for namespaces", namespace, labelled, none, sometimes},
	} {
		t.Run(c.name, func(t *testing.T) {
			mr := &admissionv1.MatchResources{NamespaceSelector: c.namespace, ObjectSelector: c.object}
			if got := c.target.matchResources(mr); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
			w := webhook{Rules: []admissionv1.RuleWithOperations{everything}, NamespaceSelector: c.namespace, ObjectSelector: c.object}
			if got := w.match(c.target); got != c.want {
				t.Errorf("webhook: %d, want %d", got, c.want)
			}
			if c.target.resource == cluster.resource && !c.target.namespaced && c.want == always {
				if !oracle(t, c.target, "a", mr) {
					t.Error("the apiserver leaves it out")
				}
			}
		})
	}
}

var everything = admissionv1.RuleWithOperations{
	Operations: []admissionv1.OperationType{"*"},
	Rule:       admissionv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*/*"}},
}

// TestVersions has the matcher of webhooks as oracle for an Exact policy, and knows what an unset one means.
func TestVersions(t *testing.T) {
	v1, v2 := gvr("example.com", "v1", "widgets"), gvr("example.com", "v2", "widgets")
	old := everything
	old.APIVersions = []string{"v1"}
	both := []schema.GroupVersionResource{v2, v1}
	for _, c := range []struct {
		policy      *admissionv1.MatchPolicyType
		equivalents []schema.GroupVersionResource
		want        match
	}{
		{new(admissionv1.Exact), both, never},
		{new(admissionv1.Exact), nil, never},
		{new(admissionv1.Equivalent), both, always},
		{nil, both, always},
		{nil, both[:1], never}, // v1 is not served: nothing is converted to it
		{nil, nil, sometimes},  // not known
	} {
		t.Run(fmt.Sprint(c.policy != nil && *c.policy == admissionv1.Exact, len(c.equivalents)), func(t *testing.T) {
			tg := target{resource: v2, namespaced: true, equivalents: c.equivalents}
			if got := tg.matchRules([]admissionv1.RuleWithOperations{old}, c.policy); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
			m := rules.Matcher{Rule: old, Attr: attributes(tg, "a", nil)}
			if c.policy != nil && *c.policy == admissionv1.Exact && m.Matches() != (c.want == always) {
				t.Error("the apiserver has it otherwise")
			}
		})
	}
}
