package supervisor

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"
)

// serve answers requests on the socket:
//
//	GET  /status
//	POST /processes/{name}/{verb}?wait=2m
//	POST /down
//
// A failure is {"error": "..."}.
func (s *Supervisor) serve(socket net.Listener) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, s.Status())
	})
	mux.HandleFunc("POST /processes/{name}/{verb}", func(w http.ResponseWriter, r *http.Request) {
		var wait time.Duration
		if value := r.URL.Query().Get("wait"); value != "" {
			var err error
			if wait, err = time.ParseDuration(value); err != nil {
				answer(w, http.StatusBadRequest, failure{Error: "wait: " + err.Error()})
				return
			}
		}
		if err := s.Do(r.Context(), r.PathValue("name"), r.PathValue("verb"), wait); err != nil {
			answer(w, code(err), failure{Error: err.Error()})
			return
		}
		answer(w, http.StatusOK, s.Status())
	})
	mux.HandleFunc("POST /down", func(w http.ResponseWriter, r *http.Request) {
		s.endLife()
		select {
		case <-s.stopped:
			answer(w, http.StatusOK, s.Status())
		case <-r.Context().Done():
		}
	})
	server := &http.Server{Handler: mux}
	go server.Serve(socket)
	return server
}

type failure struct {
	Error string `json:"error"`
}

func code(err error) int {
	switch {
	case errors.Is(err, ErrUnknownProcess):
		return http.StatusNotFound
	case errors.Is(err, ErrRunning), errors.Is(err, ErrNotRunning):
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(body)
}
