// Package webhook is a small validating admission webhook that refuses or fails on request.
// It never looks at more of an object than its name, and changes nothing.
package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/svmctl/svmctl/playground/outage"
)

// Path is where reviews are answered.
const Path = "/validate"

// bodyLimit is above what the apiserver takes as an object (3 MiB), twice for old and new.
const bodyLimit = 16 << 20

// Policy says what the webhook does. The zero Policy allows everything.
type Policy struct {
	// DenyName refuses each UPDATE of an object whose name it matches; nil refuses none.
	DenyName *regexp.Regexp
	// DenyMessage is the reason given with a refusal.
	DenyMessage string
	// Outage is when it answers HTTP 500.
	Outage outage.Plan
}

// Counts is what the webhook has done so far.
type Counts struct {
	Allowed int `json:"allowed"`
	Denied  int `json:"denied"`
	Failed  int `json:"failed"`
}

// Server answers
//
//	POST /validate                 admission reviews
//	POST /fail?for=10s&first=3     HTTP 500 from now on for 10 s, or for 3 reviews; for=0s ends it
//	GET  /counts                   Counts
type Server struct {
	policy Policy
	outage *outage.Outage
	mux    *http.ServeMux

	mu     sync.Mutex
	counts Counts
}

// New returns a handler that follows the policy. The clock is time.Now but for tests.
func New(policy Policy, now func() time.Time) *Server {
	s := &Server{policy: policy, outage: outage.New(policy.Outage, now), mux: http.NewServeMux()}
	s.mux.HandleFunc("POST "+Path, s.review)
	s.mux.HandleFunc("POST /fail", s.fail)
	s.mux.HandleFunc("GET /counts", s.count)
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mux.ServeHTTP(w, r)
}

func (s *Server) review(w http.ResponseWriter, r *http.Request) {
	if s.outage.Review() {
		s.mu.Lock()
		s.counts.Failed++
		s.mu.Unlock()
		http.Error(w, "failing on request", http.StatusInternalServerError)
		return
	}
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyLimit)).Decode(&review); err != nil {
		http.Error(w, fmt.Sprintf("parsing admission review: %v", err), http.StatusBadRequest)
		return
	}
	if review.Request == nil {
		http.Error(w, "parsing admission review: no request", http.StatusBadRequest)
		return
	}
	response := &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: !s.denies(review.Request)}
	if !response.Allowed {
		response.Result = &metav1.Status{
			Status:  metav1.StatusFailure,
			Code:    http.StatusForbidden,
			Reason:  metav1.StatusReasonForbidden,
			Message: s.policy.DenyMessage,
		}
	}
	s.mu.Lock()
	if response.Allowed {
		s.counts.Allowed++
	} else {
		s.counts.Denied++
	}
	s.mu.Unlock()
	review.Request, review.Response = nil, response
	writeJSON(w, review)
}

func (s *Server) denies(request *admissionv1.AdmissionRequest) bool {
	return s.policy.DenyName != nil &&
		request.Operation == admissionv1.Update &&
		s.policy.DenyName.MatchString(request.Name)
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request) {
	if err := s.outage.Set(r.URL.Query()); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.count(w, r)
}

func (s *Server) count(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	writeJSON(w, s.counts)
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(body)
}
