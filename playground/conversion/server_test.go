package conversion

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/svmctl/svmctl/playground/outage"
)

const canary = "CANARY-1f0c"

// clock is a time that tests move.
type clock struct {
	time time.Time
}

func (c *clock) now() time.Time { return c.time }

func request(t *testing.T, names ...string) []byte {
	t.Helper()
	review := apiextensionsv1.ConversionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "ConversionReview"},
		Request:  &apiextensionsv1.ConversionRequest{UID: "u-1", DesiredAPIVersion: group + "/v2"},
	}
	for _, name := range names {
		raw := `{"apiVersion":"stable.example.com/v1","kind":"SelfieRequest","metadata":{"name":"` + name + `","uid":"o-1"},"spec":{"hostPort":"localhost:1234"}}`
		review.Request.Objects = append(review.Request.Objects, runtime.RawExtension{Raw: []byte(raw)})
	}
	body, err := json.Marshal(review)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func post(s *Server, target string, body []byte) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	s.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, target, bytes.NewReader(body)))
	return recorder
}

// review asks for v2 of objects so named, and returns the answer and its objects.
func review(t *testing.T, s *Server, names ...string) (*apiextensionsv1.ConversionResponse, []unstructured.Unstructured) {
	t.Helper()
	recorder := post(s, Path, request(t, names...))
	if recorder.Code != http.StatusOK {
		t.Fatalf("answer is %d: %s", recorder.Code, recorder.Body)
	}
	var answer apiextensionsv1.ConversionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	// The apiserver takes no other.
	if answer.APIVersion != "apiextensions.k8s.io/v1" || answer.Kind != "ConversionReview" || answer.Response == nil {
		t.Fatalf("answer is %s", recorder.Body)
	}
	var objects []unstructured.Unstructured
	for _, raw := range answer.Response.ConvertedObjects {
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(raw.Raw); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
	return answer.Response, objects
}

func TestConvertsAList(t *testing.T) {
	s := New(Policy{}, time.Now)
	response, objects := review(t, s, "b", "a")
	if response.UID != "u-1" || response.Result.Status != metav1.StatusSuccess || len(objects) != 2 {
		t.Fatalf("answer is %+v", response)
	}
	for i, name := range []string{"b", "a"} {
		port, _, _ := unstructured.NestedString(objects[i].Object, "spec", "port")
		if objects[i].GetName() != name || objects[i].GetAPIVersion() != group+"/v2" || port != "1234" {
			t.Errorf("object %d is %v", i, objects[i])
		}
	}
	if s.counts != (Counts{Converted: 1, Objects: 2}) {
		t.Errorf("counts are %+v", s.counts)
	}
}

func TestOneFailureFailsTheReview(t *testing.T) {
	s := New(Policy{FailName: regexp.MustCompile(`^bad-`), FailMessage: canary}, time.Now)
	response, objects := review(t, s, "a", "bad-1", "b")
	if response.Result.Status != metav1.StatusFailure || len(objects) != 0 || response.UID != "u-1" {
		t.Errorf("answer is %+v", response)
	}
	if !strings.Contains(response.Result.Message, canary) {
		t.Errorf("message is %q", response.Result.Message)
	}
	if response, _ := review(t, s, "a", "not-bad-1"); response.Result.Status != metav1.StatusSuccess {
		t.Errorf("answer is %+v", response)
	}
	if s.counts != (Counts{Converted: 1, Objects: 2, Refused: 1}) {
		t.Errorf("counts are %+v", s.counts)
	}
}

func TestWhatCannotBeConvertedIsAFailureAndNoServerError(t *testing.T) {
	body := bytes.Replace(request(t, "a", "b"), []byte("localhost:1234"), []byte("localhost"), 1)
	recorder := post(New(Policy{}, time.Now), Path, body)
	var answer apiextensionsv1.ConversionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%d: %v", recorder.Code, err)
	}
	if result := answer.Response.Result; result.Status != metav1.StatusFailure || !strings.Contains(result.Message, "converting a: hostPort") {
		t.Errorf("result is %+v", result)
	}
}

func TestIsWrongOnRequest(t *testing.T) {
	for _, wrong := range wrongs {
		var policy Policy
		if err := policy.Wrong.Set(wrong); err != nil {
			t.Fatal(err)
		}
		response, objects := review(t, New(policy, time.Now), "a", "b")
		if response.Result.Status != metav1.StatusSuccess {
			t.Errorf("%s: answer is %+v", wrong, response)
		}
		faults := map[string]bool{
			"uid":      response.UID != "u-1",
			"count":    len(objects) != 2,
			"version":  objects[0].GetAPIVersion() != group+"/v2",
			"metadata": objects[0].GetName() != "a" || objects[0].GetUID() != "o-1",
		}
		for fault, found := range faults {
			if found != (fault == wrong) {
				t.Errorf("%s: fault in %s is %t", wrong, fault, found)
			}
		}
	}
	var wrong Wrong
	if err := wrong.Set("all"); err == nil {
		t.Error("an unknown fault was taken")
	}
}

func TestDropsThePort(t *testing.T) {
	_, objects := review(t, New(Policy{DropPort: true}, time.Now), "a")
	spec, _, _ := unstructured.NestedMap(objects[0].Object, "spec")
	if len(spec) != 1 || spec["host"] != "localhost" {
		t.Errorf("spec is %v", spec)
	}
}

func TestFailsTheFirstReviews(t *testing.T) {
	s := New(Policy{Outage: outage.Plan{First: 2}, FailMessage: canary}, time.Now)
	for i, want := range []int{500, 500, 200} {
		recorder := post(s, Path, request(t, "a"))
		if recorder.Code != want || strings.Contains(recorder.Body.String(), canary) != (want == 500) {
			t.Errorf("answer %d is %d: %s", i, recorder.Code, recorder.Body)
		}
	}
}

func TestFailsForAWhileFromTheFirstReview(t *testing.T) {
	c := &clock{time: time.Unix(1000, 0)}
	s := New(Policy{Outage: outage.Plan{For: time.Minute}}, c.now)
	for _, step := range []struct {
		later time.Duration
		want  int
	}{{time.Hour, 500}, {59 * time.Second, 500}, {time.Second, 200}} {
		c.time = c.time.Add(step.later)
		if code := post(s, Path, request(t, "a")).Code; code != step.want {
			t.Errorf("after another %s: %d, want %d", step.later, code, step.want)
		}
	}
}

func TestFailsOnRequest(t *testing.T) {
	c := &clock{time: time.Unix(1000, 0)}
	s := New(Policy{}, c.now)
	post(s, "/fail?for=10s&name=^a$", nil)
	if code := post(s, Path, request(t, "b")).Code; code != 500 {
		t.Errorf("after the request: %d, want 500", code)
	}
	post(s, "/fail?for=0s", nil)
	if response, _ := review(t, s, "b"); response.Result.Status != metav1.StatusSuccess {
		t.Errorf("after it was taken back: %+v", response)
	}
	if response, _ := review(t, s, "a"); response.Result.Status != metav1.StatusFailure {
		t.Errorf("the name was forgotten: %+v", response)
	}
	post(s, "/fail?name=", nil)
	if response, _ := review(t, s, "a"); response.Result.Status != metav1.StatusSuccess {
		t.Errorf("after the name was taken back: %+v", response)
	}
	for _, target := range []string{"/fail?for=soon", "/fail?for=-1s", "/fail?first=x", "/fail?first=-1", "/fail?name=("} {
		if code := post(s, target, nil).Code; code != 400 {
			t.Errorf("POST %s: %d, want 400", target, code)
		}
	}
}

func TestDelaysUntilNobodyWaits(t *testing.T) {
	s := New(Policy{Delay: 30 * time.Millisecond}, time.Now)
	start := time.Now()
	review(t, s, "a")
	if took := time.Since(start); took < 30*time.Millisecond {
		t.Errorf("answered after %s", took)
	}
	s = New(Policy{Delay: time.Hour}, time.Now)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, Path, bytes.NewReader(request(t, "a"))))
	if s.counts != (Counts{}) {
		t.Errorf("counts are %+v", s.counts)
	}
}

func TestRefusesWhatIsNoReview(t *testing.T) {
	s := New(Policy{}, time.Now)
	for _, body := range []string{"", "{}", `{"request":1}`} {
		if code := post(s, Path, []byte(body)).Code; code != 400 {
			t.Errorf("%q: %d, want 400", body, code)
		}
	}
}
