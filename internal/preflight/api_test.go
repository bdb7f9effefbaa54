package preflight_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/preflight"
)

// canary stands wherever an object may hold anybody's words.
const canary = "KanarienVogel"

const registration = "/apis/admissionregistration.k8s.io/"

// api stands for an apiserver of which single answers can be spoiled. Lists are given out in pages of two.
type api struct {
	t         *testing.T
	discovery map[string]string           // group/version → resource names, as NAME:KIND or NAME:KIND:cluster
	objects   map[string][]any            // the path of a LIST → its objects
	answers   map[string]http.HandlerFunc // by path, in place of what would be answered
	asked     map[string]int
}

func newAPI(t *testing.T) *api {
	return &api{
		t: t, objects: make(map[string][]any), answers: make(map[string]http.HandlerFunc), asked: make(map[string]int),
		discovery: map[string]string{
			"admissionregistration.k8s.io/v1": "validatingwebhookconfigurations:ValidatingWebhookConfiguration:cluster mutatingwebhookconfigurations:MutatingWebhookConfiguration:cluster " +
				"validatingadmissionpolicies:ValidatingAdmissionPolicy:cluster validatingadmissionpolicybindings:ValidatingAdmissionPolicyBinding:cluster",
			"admissionregistration.k8s.io/v1beta1": "mutatingadmissionpolicies:MutatingAdmissionPolicy:cluster mutatingadmissionpolicybindings:MutatingAdmissionPolicyBinding:cluster",
			"stable.example.com/v1":                "widgets:Widget widgets/status:Widget limits:Limit:cluster",
			"stable.example.com/v2":                "widgets:Widget widgets/status:Widget",
			"events.k8s.io/v1":                     "events:Event",
			"v1":                                   "configmaps:ConfigMap secrets:Secret events:Event",
		},
	}
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.asked[r.URL.Path]++
	if r.Method != http.MethodGet {
		a.t.Errorf("%s %s: a preflight only reads", r.Method, r.URL)
	}
	if answer, ok := a.answers[r.URL.Path]; ok {
		answer(w, r)
		return
	}
	gv := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/apis/"), "/api/")
	if r.URL.Path == "/apis" {
		a.groups(w)
	} else if names, ok := a.discovery[gv]; ok {
		resources(w, names)
	} else if objects, ok := a.objects[r.URL.Path]; ok {
		a.page(w, r, objects)
	} else if object := a.object(r.URL.Path); object != nil {
		write(w, http.StatusOK, object)
	} else {
		refuse(w, http.StatusNotFound)
	}
}

func (a *api) groups(w http.ResponseWriter) {
	list := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList"}}
	for gv := range a.discovery {
		if group, version, ok := strings.Cut(gv, "/"); ok {
			list.Groups = append(list.Groups, metav1.APIGroup{Name: group, Versions: []metav1.GroupVersionForDiscovery{{GroupVersion: gv, Version: version}}})
		}
	}
	write(w, http.StatusOK, list)
}

func resources(w http.ResponseWriter, names string) {
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList"}}
	for _, name := range strings.Fields(names) {
		parts := strings.Split(name, ":")
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: parts[0], Kind: parts[1], Namespaced: len(parts) == 2})
	}
	write(w, http.StatusOK, list)
}

var listKinds = map[string]string{
	"validatingwebhookconfigurations": "ValidatingWebhookConfiguration", "mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
	"validatingadmissionpolicies": "ValidatingAdmissionPolicy", "validatingadmissionpolicybindings": "ValidatingAdmissionPolicyBinding",
	"mutatingadmissionpolicies": "MutatingAdmissionPolicy", "mutatingadmissionpolicybindings": "MutatingAdmissionPolicyBinding",
	"endpointslices": "EndpointSlice",
}

func (a *api) page(w http.ResponseWriter, r *http.Request, objects []any) {
	query := r.URL.Query()
	if query.Get("limit") != "100" {
		a.t.Errorf("%s is not paged", r.URL)
	}
	first, _ := strconv.Atoi(query.Get("continue"))
	last := min(first+2, len(objects))
	kind := listKinds[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]
	if strings.Contains(r.Header.Get("Accept"), "as=") {
		kind = "PartialObjectMetadata"
	}
	meta := map[string]string{}
	if last < len(objects) {
		meta["continue"] = strconv.Itoa(last)
	}
	write(w, http.StatusOK, map[string]any{"kind": kind + "List", "metadata": meta, "items": objects[first:last]})
}

// object finds the object with the name that the path ends in.
func (a *api) object(path string) any {
	list, name := path[:strings.LastIndex(path, "/")], path[strings.LastIndex(path, "/")+1:]
	for _, o := range a.objects[list] {
		if o.(metav1.Object).GetName() == name {
			return o
		}
	}
	return nil
}

func write(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, code int) {
	write(w, code, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status"}, Status: metav1.StatusFailure, Code: int32(code), Message: canary})
}

func refusal(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { refuse(w, code) }
}

func text(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

var (
	secrets = preflight.Request{Resource: schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, Kind: "Secret", Namespaced: true}
	events  = preflight.Request{Resource: schema.GroupVersionResource{Version: "v1", Resource: "events"}, Kind: "Event", Namespaced: true}
	widgets = preflight.Request{Resource: schema.GroupVersionResource{Group: "stable.example.com", Version: "v2", Resource: "widgets"}, Kind: "Widget", Namespaced: true}
)

// look runs a preflight and returns its notes, one per line as SEVERITY CODE SUBJECT: MESSAGE.
func (a *api) look(req preflight.Request) string {
	a.t.Helper()
	server := httptest.NewServer(a)
	defer server.Close()
	req.Config = &rest.Config{Host: server.URL}
	notes := lines(preflight.Look(a.t.Context(), req))
	if strings.Contains(notes, canary) {
		a.t.Errorf("free text of an object or an answer shows:\n%s", notes)
	}
	return notes
}

func lines(notes []preflight.Note) string {
	var b strings.Builder
	for _, n := range notes {
		b.WriteString(n.Severity.String() + " " + string(n.Code) + " " + n.Subject + ": " + n.Message + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func rule(group, version, resource string) admissionv1.RuleWithOperations {
	return admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
		Rule:       admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{version}, Resources: []string{resource}},
	}
}

// hook is a webhook for secrets behind service hooks/guard, as change leaves it.
func hook(name string, change func(*admissionv1.ValidatingWebhook)) admissionv1.ValidatingWebhook {
	w := admissionv1.ValidatingWebhook{
		Name:         name,
		ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "hooks", Name: "guard", Path: new(canary), Port: new(int32(443))}, CABundle: []byte(canary)},
		Rules:        []admissionv1.RuleWithOperations{rule("", "v1", "secrets")}, FailurePolicy: new(admissionv1.Fail), MatchPolicy: new(admissionv1.Equivalent),
		SideEffects: new(admissionv1.SideEffectClassNone), TimeoutSeconds: new(int32(10)),
		NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{},
	}
	if change != nil {
		change(&w)
	}
	return w
}

func (a *api) validating(name string, hooks ...admissionv1.ValidatingWebhook) {
	path := registration + "v1/validatingwebhookconfigurations"
	a.objects[path] = append(a.objects[path], &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{canary: canary}}, Webhooks: hooks})
}

// service makes hooks/guard with a port 443 that is named https, and one EndpointSlice per element of ready; nil is unset.
func (a *api) service(change func(*corev1.Service), ready ...*bool) {
	s := &corev1.Service{TypeMeta: metav1.TypeMeta{Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Name: "guard"},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.0.0.1", Ports: []corev1.ServicePort{{Name: "https", Port: 443}}}}
	if change != nil {
		change(s)
	}
	a.objects["/api/v1/namespaces/hooks/services"] = []any{s}
	path := "/apis/discovery.k8s.io/v1/namespaces/hooks/endpointslices"
	a.objects[path] = []any{}
	for _, r := range ready {
		a.objects[path] = append(a.objects[path], &discoveryv1.EndpointSlice{
			Ports:     []discoveryv1.EndpointPort{{Name: new("https"), Port: new(int32(8443))}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.1.1.1"}, Conditions: discoveryv1.EndpointConditions{Ready: r}}}})
	}
}

// empty makes the lists of everything that may have a say.
func (a *api) empty() *api {
	for list := range listKinds {
		version := "v1/"
		if strings.HasPrefix(list, "mutatingadmission") {
			version = "v1beta1/"
		}
		if path := registration + version + list; list != "endpointslices" && a.objects[path] == nil {
			a.objects[path] = []any{}
		}
	}
	return a
}
