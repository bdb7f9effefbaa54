package rewrite

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

var _ Discoverer = (*discovery.DiscoveryClient)(nil)

type served struct {
	groups []*metav1.APIGroup
	lists  []*metav1.APIResourceList
	err    error
}

func (s served) ServerGroupsAndResourcesWithContext(context.Context) ([]*metav1.APIGroup, []*metav1.APIResourceList, error) {
	return s.groups, s.lists, s.err
}

func apiGroup(name, preferred string) *metav1.APIGroup {
	return &metav1.APIGroup{Name: name, PreferredVersion: metav1.GroupVersionForDiscovery{Version: preferred}}
}

func apiList(gv string, resources ...metav1.APIResource) *metav1.APIResourceList {
	return &metav1.APIResourceList{GroupVersion: gv, APIResources: resources}
}

func apiResource(name, singular, kind string, namespaced bool, short ...string) metav1.APIResource {
	return metav1.APIResource{Name: name, SingularName: singular, Kind: kind, Namespaced: namespaced, ShortNames: short,
		Verbs: metav1.Verbs{"get", "list", "patch"}}
}

func cluster() served {
	review := apiResource("tokenreviews", "tokenreview", "TokenReview", false)
	review.Verbs = metav1.Verbs{"create"}
	return served{
		groups: []*metav1.APIGroup{apiGroup("", "v1"), apiGroup("apps", "v1"), apiGroup("events.k8s.io", "v1"),
			apiGroup("authentication.k8s.io", "v1"), apiGroup("stable.example.com", "v2"), apiGroup("other.example.com", "v1")},
		// Aggregated discovery gives the lists in no order.
		lists: []*metav1.APIResourceList{
			apiList("other.example.com/v1", apiResource("secrets", "secret", "Secret", true, "cm"), apiResource("deployments", "deployment", "Deployment", true)),
			apiList("stable.example.com/v1", apiResource("selfierequests", "selfierequest", "SelfieRequest", true, "sr"), apiResource("olds", "old", "Old", false)),
			apiList("stable.example.com/v2", apiResource("selfierequests", "selfierequest", "SelfieRequest", true, "sr")),
			apiList("events.k8s.io/v1", apiResource("events", "event", "Event", true, "ev")),
			apiList("authentication.k8s.io/v1", review),
			apiList("apps/v1", apiResource("deployments", "deployment", "Deployment", true, "deploy"),
				apiResource("deployments/scale", "", "Scale", true), apiResource("deployments/status", "", "Deployment", true)),
			apiList("v1", apiResource("secrets", "secret", "Secret", true), apiResource("configmaps", "configmap", "ConfigMap", true, "cm"),
				apiResource("nodes", "node", "Node", false, "no"), apiResource("events", "event", "Event", true, "ev"),
				apiResource("serviceaccounts", "", "ServiceAccount", true, "sa"), apiResource("services", "service", "Service", true, "svc")),
		},
	}
}

func TestResolve(t *testing.T) {
	for arg, want := range map[string]string{
		"secrets":                              "/v1/secrets",
		"Secret":                               "/v1/secrets",
		"secrets.v1.":                          "/v1/secrets",
		"secrets.other.example.com":            "other.example.com/v1/secrets",
		"deployments.apps":                     "apps/v1/deployments",
		"deployments.v1.apps":                  "apps/v1/deployments",
		"deployment":                           "apps/v1/deployments",
		"deploy":                               "apps/v1/deployments",
		"selfierequests.stable.example.com":    "stable.example.com/v2/selfierequests",
		"selfierequests.v1.stable.example.com": "stable.example.com/v1/selfierequests",
		"SelfieRequest.stable.example.com":     "stable.example.com/v2/selfierequests",
		"sr":                                   "stable.example.com/v2/selfierequests",
		"olds":                                 "stable.example.com/v1/olds",
		"cm":                                   "/v1/configmaps",
		"events":                               "/v1/events",
		"events.events.k8s.io":                 "events.k8s.io/v1/events",
		"no":                                   "/v1/nodes",
		"serviceaccount":                       "/v1/serviceaccounts",
		"deployments/scale":                    "",
		"secretz":                              "",
		"":                                     "",
		"secrets.apps":                         "",
	} {
		got, err := Resolve(t.Context(), cluster(), arg)
		if want == "" {
			var unknown *UnknownResourceError
			if !errors.As(err, &unknown) {
				t.Errorf("%q: %+v, %v", arg, got, err)
			}
			continue
		}
		if text := got.Group + "/" + got.Version + "/" + got.GroupVersionResource.Resource; err != nil || text != want {
			t.Errorf("%q: %s, %v; want %s", arg, text, err, want)
		}
	}
	got, err := Resolve(t.Context(), cluster(), "nodes")
	if err != nil || got.Kind != "Node" || got.Namespaced {
		t.Errorf("%+v, %v", got, err)
	}
	var unpatchable *UnpatchableError
	if _, err := Resolve(t.Context(), cluster(), "tokenreviews"); !errors.As(err, &unpatchable) {
		t.Error(err)
	}
}

// Which version patches go to does not follow from the names: the order of the group decides.
func TestResolveKnowsTheVersions(t *testing.T) {
	group := apiGroup("stable.example.com", "v3")
	for _, v := range []string{"v1beta1", "v3", "v2", "v1"} {
		group.Versions = append(group.Versions, metav1.GroupVersionForDiscovery{Version: v})
	}
	widget := apiResource("widgets", "widget", "Widget", true)
	gadget := apiResource("gadgets", "gadget", "Gadget", false)
	c := served{groups: []*metav1.APIGroup{group}, lists: []*metav1.APIResourceList{
		apiList("stable.example.com/v1", widget, gadget, apiResource("gadgets/status", "", "Gadget", false)),
		apiList("stable.example.com/v1beta1", gadget),
		apiList("stable.example.com/v2", widget, apiResource("widgets/status", "", "Widget", true), apiResource("widgets/scale", "", "Scale", true)),
		apiList("stable.example.com/v3", widget),
	}}
	for arg, want := range map[string]Resource{
		"widgets": {GroupVersionResource: schema.GroupVersionResource{Group: "stable.example.com", Version: "v3", Resource: "widgets"},
			Kind: "Widget", Namespaced: true},
		"widgets.v1.stable.example.com": {GroupVersionResource: schema.GroupVersionResource{Group: "stable.example.com", Version: "v1", Resource: "widgets"},
			Kind: "Widget", Namespaced: true},
		"gadget": {GroupVersionResource: schema.GroupVersionResource{Group: "stable.example.com", Version: "v1beta1", Resource: "gadgets"},
			Kind: "Gadget"},
	} {
		for range 10 {
			rand.Shuffle(len(c.lists), func(i, j int) { c.lists[i], c.lists[j] = c.lists[j], c.lists[i] })
			if got, err := Resolve(t.Context(), c, arg); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, %v; want %+v", arg, got, err, want)
			}
		}
	}
}

func TestNearMisses(t *testing.T) {
	for arg, want := range map[string][]string{
		"secretz":      {"secrets", "secrets.other.example.com"},
		"secrest":      {"secrets", "secrets.other.example.com"},
		"secrets.apps": {"secrets", "secrets.other.example.com"},
		"selfie":       {"selfierequests.stable.example.com"},
		"serv":         {"serviceaccounts", "services"},
		"xyzzy":        nil,
	} {
		_, err := Resolve(t.Context(), cluster(), arg)
		var unknown *UnknownResourceError
		if !errors.As(err, &unknown) || !reflect.DeepEqual(unknown.Near, want) {
			t.Errorf("%q: %v; want %v", arg, err, want)
			if unknown != nil {
				t.Errorf("near: %v", unknown.Near)
			}
		}
	}
}

func TestResolveWithPartialDiscovery(t *testing.T) {
	c := cluster()
	c.err = &discovery.ErrGroupDiscoveryFailed{Groups: map[schema.GroupVersion]error{
		{Group: "metrics.k8s.io", Version: "v1beta1"}: errors.New("down")}}
	if _, err := Resolve(t.Context(), c, "secrets"); err != nil {
		t.Error(err)
	}
	_, err := Resolve(t.Context(), c, "pods.metrics.k8s.io")
	if err == nil || !strings.Contains(err.Error(), "metrics.k8s.io/v1beta1") {
		t.Error(err)
	}
	c = served{err: errors.New("no route")}
	if _, err := Resolve(t.Context(), c, "secrets"); !errors.Is(err, c.err) {
		t.Error(err)
	}
}
