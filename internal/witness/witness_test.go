package witness

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

func TestIdentify(t *testing.T) {
	for _, c := range []struct {
		name    string
		refuse  map[string]int
		unknown []string
	}{
		{name: "all"},
		{name: "no namespace", refuse: map[string]int{"/api/v1/namespaces/kube-system": 403}, unknown: []string{"UID of the namespace kube-system: 403 Forbidden"}},
		{name: "no review, as before 1.28", refuse: map[string]int{"/apis/authentication.k8s.io/v1/selfsubjectreviews": 404}, unknown: []string{"who asks (SelfSubjectReview): 404 Not Found"}},
		{name: "no version", refuse: map[string]int{"/version": 401}, unknown: []string{"version of Kubernetes: 401 Unauthorized"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAPI()
			for path, code := range c.refuse {
				a.refuse[path] = []int{code}
			}
			id := Identify(t.Context(), a.start(t), func() time.Time { return time.Now().Add(-time.Minute) })
			if !slices.Equal(id.Unknown, c.unknown) {
				t.Errorf("%q", id.Unknown)
			}
			if (id.KubeSystemNamespaceUID == "1-2-3") != (c.refuse["/api/v1/namespaces/kube-system"] == 0) || (id.KubernetesVersion == "v1.37.2") != (c.refuse["/version"] == 0) {
				t.Errorf("%+v", id)
			}
			if u := id.User; (u != nil) != (c.refuse["/apis/authentication.k8s.io/v1/selfsubjectreviews"] == 0) || u != nil && (u.Username != "jane" || !slices.Equal(u.Groups, []string{"auditors"})) {
				t.Errorf("%+v", u)
			}
			// A refusal has a clock as well.
			if len(id.Corroboration) != 1 || id.Corroboration[0].SkewMS > -58_000 || id.Corroboration[0].SkewMS < -61_000 {
				t.Errorf("%+v", id.Corroboration)
			}
			if text := fmt.Sprintf("%+v %+v", id, id.User); strings.Contains(text, canary) {
				t.Error(text)
			}
		})
	}
	for _, cfg := range []*rest.Config{{Host: "https://127.0.0.1:1"}, {Host: "://"}} {
		if id := Identify(t.Context(), cfg, time.Now); len(id.Unknown) != 4 || id.User != nil || len(id.Corroboration) != 0 {
			t.Errorf("%+v", id)
		}
	}
}
