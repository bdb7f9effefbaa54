package webhook

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/svmctl/svmctl/playground/outage"
)

// clock is a time that tests move.
type clock struct {
	time time.Time
}

func (c *clock) now() time.Time { return c.time }

func review(t *testing.T, s *Server, operation admissionv1.Operation, name string) (int, *admissionv1.AdmissionResponse) {
	t.Helper()
	body, err := json.Marshal(admissionv1.AdmissionReview{
		Request: &admissionv1.AdmissionRequest{UID: "u-1", Operation: operation, Name: name},
	})
	if err != nil {
		t.Fatal(err)
	}
	recorder := httptest.NewRecorder()
	s.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, Path, bytes.NewReader(body)))
	if recorder.Code != http.StatusOK {
		return recorder.Code, nil
	}
	var answer admissionv1.AdmissionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	return recorder.Code, answer.Response
}

func post(t *testing.T, s *Server, target string) int {
	t.Helper()
	recorder := httptest.NewRecorder()
	s.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, target, nil))
	return recorder.Code
}

func TestDeniesUpdatesByName(t *testing.T) {
	s := New(Policy{DenyName: regexp.MustCompile(`^locked-`), DenyMessage: "hands off"}, time.Now)
	for _, test := range []struct {
		operation admissionv1.Operation
		name      string
		allowed   bool
	}{
		{admissionv1.Update, "locked-1", false},
		{admissionv1.Update, "free-1", true},
		{admissionv1.Create, "locked-1", true},
		{admissionv1.Update, "not-locked-1", true},
	} {
		_, response := review(t, s, test.operation, test.name)
		if response.Allowed != test.allowed {
			t.Errorf("%s of %s: allowed is %t, want %t", test.operation, test.name, response.Allowed, test.allowed)
		}
		if response.UID != "u-1" {
			t.Errorf("%s of %s: uid is %q", test.operation, test.name, response.UID)
		}
		if !test.allowed && response.Result.Message != "hands off" {
			t.Errorf("%s of %s: message is %q", test.operation, test.name, response.Result.Message)
		}
	}
	if s.counts != (Counts{Allowed: 3, Denied: 1}) {
		t.Errorf("counts are %+v", s.counts)
	}
}

func TestFailsTheFirstReviews(t *testing.T) {
	s := New(Policy{Outage: outage.Plan{First: 2}}, time.Now)
	var codes []int
	for range 3 {
		code, _ := review(t, s, admissionv1.Update, "a")
		codes = append(codes, code)
	}
	if codes[0] != 500 || codes[1] != 500 || codes[2] != 200 {
		t.Errorf("answers are %v, want 500, 500, 200", codes)
	}
}

func TestFailsForAWhileFromTheFirstReview(t *testing.T) {
	c := &clock{time: time.Unix(1000, 0)}
	s := New(Policy{Outage: outage.Plan{For: time.Minute}}, c.now)
	c.time = c.time.Add(time.Hour) // nobody asked in that hour
	if code, _ := review(t, s, admissionv1.Update, "a"); code != 500 {
		t.Errorf("first review: %d, want 500", code)
	}
	c.time = c.time.Add(59 * time.Second)
	if code, _ := review(t, s, admissionv1.Update, "a"); code != 500 {
		t.Errorf("within the minute: %d, want 500", code)
	}
	c.time = c.time.Add(time.Second)
	if code, _ := review(t, s, admissionv1.Update, "a"); code != 200 {
		t.Errorf("after the minute: %d, want 200", code)
	}
}

func TestFailsOnRequest(t *testing.T) {
	c := &clock{time: time.Unix(1000, 0)}
	s := New(Policy{}, c.now)
	if code := post(t, s, "/fail?for=10s"); code != 200 {
		t.Fatalf("POST /fail: %d", code)
	}
	if code, _ := review(t, s, admissionv1.Update, "a"); code != 500 {
		t.Errorf("after the request: %d, want 500", code)
	}
	if code := post(t, s, "/fail?for=0s"); code != 200 {
		t.Fatalf("POST /fail: %d", code)
	}
	if code, _ := review(t, s, admissionv1.Update, "a"); code != 200 {
		t.Errorf("after it was taken back: %d, want 200", code)
	}
	for _, target := range []string{"/fail?for=soon", "/fail?for=-1s", "/fail?first=x", "/fail?first=-1"} {
		if code := post(t, s, target); code != 400 {
			t.Errorf("POST %s: %d, want 400", target, code)
		}
	}
}
