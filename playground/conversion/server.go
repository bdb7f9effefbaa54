// Package conversion is the conversion webhook of selfierequests.stable.example.com, which can be
// told to fail, to be slow, and to answer wrongly. It keeps nothing of what it converts.
package conversion

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/svmctl/svmctl/playground/outage"
)

// Path is where reviews are answered.
const Path = "/crdconvert"

// bodyLimit bounds one review, which may hold all objects of a LIST.
const bodyLimit = 256 << 20

// Counts is what the webhook has done so far.
type Counts struct {
	// Converted counts reviews, and Objects what they held.
	Converted int `json:"converted"`
	Objects   int `json:"objects"`
	// Refused counts reviews whose result was a failure, Failed those answered with HTTP 500.
	Refused int `json:"refused"`
	Failed  int `json:"failed"`
}

// Server answers
//
//	POST /crdconvert                        conversion reviews
//	POST /fail?for=10s&first=3&name=REGEXP  HTTP 500 from now on for 10 s, or for 3 reviews, and a
//	                                        failure for objects so named; for=0s&name= ends it
//	GET  /counts                            Counts
type Server struct {
	outage *outage.Outage
	mux    *http.ServeMux

	mu     sync.Mutex
	policy Policy
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
	policy, failing := s.begin()
	if policy.Delay > 0 {
		timer := time.NewTimer(policy.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done(): // nobody waits for the answer any more
			return
		}
	}
	if failing {
		http.Error(w, policy.FailMessage, http.StatusInternalServerError)
		return
	}
	var review apiextensionsv1.ConversionReview
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyLimit)).Decode(&review); err != nil {
		http.Error(w, fmt.Sprintf("parsing conversion review: %v", err), http.StatusBadRequest)
		return
	}
	if review.Request == nil {
		http.Error(w, "parsing conversion review: no request", http.StatusBadRequest)
		return
	}
	response := &apiextensionsv1.ConversionResponse{
		UID:    review.Request.UID,
		Result: metav1.Status{Status: metav1.StatusSuccess},
	}
	var err error
	if response.ConvertedObjects, err = policy.convert(review.Request); err != nil {
		response.Result = metav1.Status{Status: metav1.StatusFailure, Message: err.Error()}
	} else {
		policy.Wrong.spoil(response)
	}
	s.mu.Lock()
	if err != nil {
		s.counts.Refused++
	} else {
		s.counts.Converted++
		s.counts.Objects += len(review.Request.Objects)
	}
	s.mu.Unlock()
	review.Request, review.Response = nil, response
	writeJSON(w, review)
}

// convert answers for all objects or, as the protocol has it, for none.
func (p Policy) convert(request *apiextensionsv1.ConversionRequest) ([]runtime.RawExtension, error) {
	converted := make([]runtime.RawExtension, 0, len(request.Objects))
	for _, raw := range request.Objects {
		var object object
		if err := json.Unmarshal(raw.Raw, &object); err != nil {
			return nil, fmt.Errorf("parsing an object: %w", err)
		}
		name := object.name()
		if p.FailName != nil && p.FailName.MatchString(name) {
			return nil, fmt.Errorf("converting %s: %s", name, p.FailMessage)
		}
		data, err := p.convertObject(object, request.DesiredAPIVersion)
		if err != nil {
			return nil, fmt.Errorf("converting %s: %w", name, err)
		}
		converted = append(converted, runtime.RawExtension{Raw: data})
	}
	return converted, nil
}

func (p Policy) convertObject(object object, apiVersion string) ([]byte, error) {
	before := object["apiVersion"]
	if err := object.convert(apiVersion); err != nil {
		return nil, err
	}
	if p.DropPort {
		spec, err := object.fields("spec")
		if err != nil {
			return nil, err
		}
		if spec["port"] != nil {
			delete(spec, "port")
			object.set("spec", spec)
		}
	}
	switch p.Wrong {
	case WrongVersion:
		object["apiVersion"] = before
	case WrongMetadata:
		metadata, err := object.fields("metadata")
		if err != nil {
			return nil, err
		}
		if metadata != nil {
			metadata.set("name", object.name()+"-renamed")
			object.set("metadata", metadata)
		}
	}
	return json.Marshal(object)
}

// spoil does what is wrong with the answer and not with an object in it.
func (w Wrong) spoil(response *apiextensionsv1.ConversionResponse) {
	switch {
	case w == WrongUID:
		response.UID += "-other"
	case w == WrongCount && len(response.ConvertedObjects) > 0:
		response.ConvertedObjects = response.ConvertedObjects[:len(response.ConvertedObjects)-1]
	}
}

// begin returns the policy of this moment and whether this review is to fail, which it counts.
func (s *Server) begin() (Policy, bool) {
	failing := s.outage.Review()
	s.mu.Lock()
	defer s.mu.Unlock()
	if failing {
		s.counts.Failed++
	}
	return s.policy, failing
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var name *regexp.Regexp
	var err error
	if value := query.Get("name"); value != "" {
		if name, err = regexp.Compile(value); err != nil {
			http.Error(w, fmt.Sprintf("name: %v", err), http.StatusBadRequest)
			return
		}
	}
	if err := s.outage.Set(query); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if query.Has("name") {
		s.mu.Lock()
		s.policy.FailName = name
		s.mu.Unlock()
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
