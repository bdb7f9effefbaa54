package storedversions

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/crd"
)

// TestAskAPIServers has one apiserver, which always agrees with itself. It must agree with the definition.
func TestAskAPIServers(t *testing.T) {
	d := &crd.Definition{Name: name, Group: group, Plural: "selfierequests", Kind: "SelfieRequest",
		Versions: []crd.Version{{Name: "v1", Served: true}, {Name: "v2", Served: true, Storage: true}}}
	for _, c := range []struct {
		name, hash string
		agree      string
		says       string
	}{
		{"it writes the storage version", storageVersionHash(d, "v2"), "true", ""},
		{"it writes another version", storageVersionHash(d, "v1"), "false", group + "/v1"},
		{"it writes what nobody knows", storageVersionHash(d, "v7"), "false", "storageVersionHash"},
		{"it does not say", "", "unknown", "could not be told"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				switch r.URL.Path {
				case "/api":
					io.WriteString(w, `{"kind":"APIVersions","versions":["v1"]}`)
				case "/apis":
					io.WriteString(w, `{"kind":"APIGroupList","groups":[{"name":"`+group+`","versions":[{"version":"v2"}]}]}`)
				case "/apis/" + group + "/v2":
					fmt.Fprintf(w, `{"kind":"APIResourceList","resources":[{"name":"selfierequests","kind":"SelfieRequest","storageVersionHash":%q}]}`, c.hash)
				case "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases":
					fmt.Fprintf(w, `{"kind":"LeaseList","items":[{"metadata":{"name":"apiserver-1"},"spec":{"renewTime":%q}}]}`, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"))
				default:
					w.WriteHeader(http.StatusForbidden)
				}
			}))
			t.Cleanup(server.Close)
			a := AskAPIServers(&rest.Config{Host: server.URL}, nil)(t.Context(), d)
			got := "unknown"
			if a.Agree != nil {
				got = fmt.Sprint(*a.Agree)
			}
			why := disagreement(a, d)
			if got != c.agree || (why == "") != (c.agree == "true") || !strings.Contains(why, c.says) {
				t.Errorf("agree %s, %q; want %s that says %q", got, why, c.agree, c.says)
			}
		})
	}
}
