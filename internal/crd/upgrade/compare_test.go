package upgrade

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/svmctl/svmctl/internal/crd"
)

var plane = flag.String("plane", "", "`directory` of a running playground, whose apiserver is asked for its opinion on the definitions of the tests")

const webhookAt = "  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [%s], clientConfig: {url: '%s'}}}\n"

// comparisons have a name each of their own, so that one apiserver can be asked of all.
var comparisons = []struct {
	name          string
	present, next string
	stored        []string // status.storedVersions of present
	refused       []string // field paths
}{
	{"same", definition("same", "", v("v1", true, "x")), definition("same", "", v("v1", true, "x")), []string{"v1"}, nil},
	{"create", "", definition("create", "", v("v1", true, "x")), nil, nil},
	{"listed", definition("listed", "", v("v1", false, "x"), v("v2", true, "x")), definition("listed", "", v("v2", true, "x")), []string{"v1", "v2"}, []string{"status.storedVersions[0]"}},
	{"trimmed", definition("trimmed", "", v("v1", false, "x"), v("v2", true, "x")), definition("trimmed", "", v("v2", true, "x")), []string{"v2"}, nil},
	{"moved", definition("moved", "", v("v1", true, "x"), v("v2", false, "x")), definition("moved", "", v("v1", false, "x"), v("v2", true, "x")), []string{"v1"}, nil},
	{"replaced", definition("replaced", "", v("v1", true, "x")), definition("replaced", "", v("v2", true, "x")), []string{"v1"}, []string{"status.storedVersions[0]"}},
	{"narrower", definition("narrower", "", v("v1", true, "x", "y")), definition("narrower", "", v("v1", true, "x")), []string{"v1"}, nil},
	{"scope", definition("scope", "", v("v1", true)), definition("scope", "  scope: Cluster\n", v("v1", true)), []string{"v1"}, []string{"spec.scope"}},
	{"kind", definition("kind", "", v("v1", true)), definition("kind", "  names: {kind: Thong, plural: things, singular: thing, listKind: ThingList}\n", v("v1", true)), []string{"v1"}, []string{"spec.names.kind"}},
	{"misnamed", "", strings.Replace(definition("misnamed", "", v("v1", true)), "name: things.", "name: thongs.", 1), nil, []string{"metadata.name"}},
	{"approval", "", definition("approval.k8s.io", "", v("v1", true)), nil, []string{"metadata.annotations[api-approved.kubernetes.io]"}},
	{"unapproved", "", strings.Replace(definition("unapproved.k8s.io", "", v("v1", true)), "metadata:\n", "metadata:\n  annotations: {api-approved.kubernetes.io: 'unapproved, for a test'}\n", 1), nil, nil},
	{
		"approval-taken-back", strings.Replace(definition("taken.k8s.io", "", v("v1", true)), "metadata:\n", "metadata:\n  annotations: {api-approved.kubernetes.io: 'unapproved, for a test'}\n", 1),
		definition("taken.k8s.io", "", v("v1", true)), []string{"v1"}, []string{"metadata.annotations[api-approved.kubernetes.io]"},
	},
	{"two-storage-versions", "", definition("twice", "", v("v1", true), v("v2", true)), nil, []string{"spec.versions", "status.storedVersions"}},
	{"no-storage-version", "", definition("never", "", v("v1", false)), nil, []string{"spec.versions", "status.storedVersions"}},
	{"reviews-unheard-of", "", definition("reviews", fmt.Sprintf(webhookAt, "v7", "https://127.0.0.1"), v("v1", true)), nil, []string{"spec.conversion.conversionReviewVersions"}},
	{"webhook-without-tls", "", definition("plain", fmt.Sprintf(webhookAt, "v1", "http://127.0.0.1"), v("v1", true)), nil, []string{"spec.conversion.webhookClientConfig.url"}},
	{"preserve", "", definition("preserve", "  preserveUnknownFields: true\n", v("v1", true)), nil, []string{"spec.preserveUnknownFields"}},
	{
		"not-structural", definition("odd", "", v("v1", true)), strings.Replace(definition("odd", "", v("v1", true, "x")), `"x":{"type":"string"}`, `"x":{}`, 1),
		[]string{"v1"}, []string{"spec.validation.openAPIV3Schema.properties[spec].properties[x].type"},
	},
	{
		"rule-that-is-none", "", strings.Replace(definition("rule", "", v("v1", true, "x")), `"x":{"type":"string"}`, `"x":{"type":"string","x-kubernetes-validations":[{"rule":"self >"}]}`, 1),
		nil, []string{"spec.validation.openAPIV3Schema.properties[spec].properties[x].x-kubernetes-validations[0].rule"},
	},
}

func TestCompare(t *testing.T) {
	for _, c := range comparisons {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var present *crd.Definition
			if c.present != "" {
				present = inCluster(t, c.present, c.stored)
			}
			if got := refusedBy(t, present, c.next); !slices.Equal(got, c.refused) {
				t.Errorf("refused for %q, want %q", got, c.refused)
			}
		})
	}
}

// TestCompareAgreesWithTheApiserver asks a real one.
func TestCompareAgreesWithTheApiserver(t *testing.T) {
	if *plane == "" {
		t.Skip("no -plane")
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(*plane, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := crd.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	over, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	url := cfg.Host + "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	for _, c := range comparisons {
		t.Run(c.name, func(t *testing.T) {
			next := parse(t, c.next)
			var present *crd.Definition
			method, at := http.MethodPost, url
			if c.present != "" {
				if fields := send(ctx, t, over, http.MethodPost, url, c.present, ""); fields != nil {
					t.Fatalf("creating: refused for %q", fields)
				}
				for present == nil || !present.Established || !slices.Equal(present.StoredVersions, c.stored) {
					if present, err = client.Get(ctx, next.Name); err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(present.StoredVersions, c.stored) {
						if _, err := client.SetStoredVersions(ctx, present, c.stored); err != nil && !errors.Is(err, crd.ErrConflict) {
							t.Fatal(err)
						}
					}
				}
				method, at = http.MethodPut, url+"/"+next.Name
			}
			resourceVersion := ""
			if present != nil {
				resourceVersion = present.ResourceVersion
			}
			server := send(ctx, t, over, method, at+"?dryRun=All", c.next, resourceVersion)
			if ours := refusedBy(t, present, c.next); !slices.Equal(ours, server) {
				t.Errorf("refused for %q, and the apiserver refuses for %q", ours, server)
			}
		})
	}
}

// send gives the fields for which the apiserver refused.
func send(ctx context.Context, t *testing.T, client *http.Client, method, url, text, resourceVersion string) []string {
	t.Helper()
	var object map[string]any
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	if resourceVersion != "" {
		object["metadata"].(map[string]any)["resourceVersion"] = resourceVersion
	}
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode < 300 {
		return nil
	}
	var st struct {
		Details struct{ Causes []struct{ Field string } }
	}
	if err := json.Unmarshal(answer, &st); err != nil || resp.StatusCode != http.StatusUnprocessableEntity {
		t.Fatalf("%d %s", resp.StatusCode, answer)
	}
	fields := []string{}
	for _, cause := range st.Details.Causes {
		fields = append(fields, cause.Field)
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

func refusedBy(t *testing.T, present *crd.Definition, next string) []string {
	t.Helper()
	problems, err := Compare(t.Context(), present, parse(t, next))
	if err != nil {
		t.Fatal(err)
	}
	r := Result{Problems: problems}
	var fields []string
	for _, p := range r.Refused() {
		if p.Message == "" || strings.ContainsAny(p.String(), "\n\r\x1b") || len(p.Message) > maxText {
			t.Errorf("%q is no line to show", p)
		}
		fields = append(fields, p.Field)
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

// inCluster gives a definition as a client reads it from a cluster that has established it.
func inCluster(t *testing.T, text string, stored []string) *crd.Definition {
	t.Helper()
	var object map[string]any
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	meta := object["metadata"].(map[string]any)
	meta["resourceVersion"], meta["uid"] = "7", "6f0b8b5e-8f9c-4d6b-9f6e-1d1f6ee5a001"
	object["status"] = map[string]any{
		"storedVersions": stored, "conditions": []any{map[string]any{"type": "Established", "status": "True"}},
		"acceptedNames": object["spec"].(map[string]any)["names"],
	}
	answer, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) }))
	defer server.Close()
	client, err := crd.NewClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	d, err := client.Get(t.Context(), meta["name"].(string))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCompareSaysWhy(t *testing.T) {
	present := inCluster(t, definition("why", "", v("v1", false), v("v2", true)), []string{"v1", "v2"})
	next := parse(t, definition("why", "  conversion: {strategy: None, conversionReviewVersions: [v1]}\n", v("v2", true)))
	problems, err := Compare(t.Context(), present, next)
	if err != nil || len(problems) != 2 {
		t.Fatalf("got %v, %v", problems, err)
	}
	const want = `Refused: status.storedVersions[0]: Invalid value "v1": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions`
	if got := problems[0].String(); !strings.HasPrefix(got, want) {
		t.Errorf("got %s", got)
	}
	if got := problems[1].String(); got != "UnknownField: spec.conversion.conversionReviewVersions: not a field of apiextensions.k8s.io/v1" {
		t.Errorf("got %s", got)
	}
}

func TestCompareRefusesToGuess(t *testing.T) {
	one := parse(t, definition("one", "", v("v1", true)))
	for name, pair := range map[string][2]*crd.Definition{
		"another definition":        {inCluster(t, definition("two", "", v("v1", true)), []string{"v1"}), one},
		"no schemas in the file":    {nil, one.WithoutSchema()},
		"no schemas of the present": {inCluster(t, definition("one", "", v("v1", true)), []string{"v1"}).WithoutSchema(), one},
	} {
		if problems, err := Compare(t.Context(), pair[0], pair[1]); err == nil {
			t.Errorf("%s: got %v and no error", name, problems)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Compare(ctx, nil, one); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancellation: %v", err)
	}
}
