package rewrite

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

const canary = "CANARY-hunter2"

var secrets = Resource{
	GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "secrets"},
	Kind:                 "Secret",
	Namespaced:           true,
}

// reply is what the fake apiserver does with one request.
type reply struct {
	code   int // 0: 200 with the next resourceVersion
	body   string
	header map[string]string
	delay  time.Duration
	err    error // instead of any answer
	abort  bool  // after having applied: half an answer, then the connection goes
}

// fake is an apiserver of which a test decides every answer. It serves through a real listener (config) or in
// memory (memory), where synctest's clock applies.
type fake struct {
	t      *testing.T
	answer func(name string, attempt int) reply

	mu       sync.Mutex
	attempts map[string]int
	revision map[string]int64 // of objects that were rewritten
	inFlight int
	most     int
	total    int
	times    []time.Time
	last     *http.Request
	lastBody string
}

func newFake(t *testing.T, answer func(name string, attempt int) reply) *fake {
	return &fake{t: t, answer: answer, attempts: map[string]int{}, revision: map[string]int64{}}
}

func (f *fake) decide(r *http.Request) (string, reply) {
	name := path.Base(r.URL.Path)
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attempts[name]++
	f.total++
	f.inFlight++
	f.most = max(f.most, f.inFlight)
	f.times = append(f.times, time.Now())
	f.last, f.lastBody = r, string(body)
	if f.answer == nil {
		return name, reply{}
	}
	return name, f.answer(name, f.attempts[name])
}

func (f *fake) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inFlight--
}

func (f *fake) write(w http.ResponseWriter, name string, rep reply) {
	for k, v := range rep.header {
		w.Header().Set(k, v)
	}
	w.Header().Set("Content-Type", "application/json")
	if rep.code != 0 && rep.code != 200 {
		w.WriteHeader(rep.code)
	}
	body := rep.body
	if body == "" && rep.code == 0 {
		f.mu.Lock()
		if f.revision[name] != 0 {
			f.mu.Unlock()
			w.WriteHeader(http.StatusConflict)
			io.WriteString(w, status(409, metav1.StatusReasonConflict, canary, name))
			return
		}
		f.revision[name] = int64(1_000_000 + len(f.revision))
		body = table(f.revision[name])
		f.mu.Unlock()
	}
	if rep.abort {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		io.WriteString(w, body[:20])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	io.WriteString(w, body)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, rep := f.decide(r)
	defer f.leave()
	if rep.delay > 0 {
		select {
		case <-time.After(rep.delay):
		case <-r.Context().Done():
			return
		}
	}
	if rep.err != nil {
		panic(http.ErrAbortHandler)
	}
	f.write(w, name, rep)
}

// RoundTrip answers in memory.
func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	name, rep := f.decide(r)
	defer f.leave()
	if rep.delay > 0 {
		select {
		case <-time.After(rep.delay):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if rep.err != nil {
		return nil, rep.err
	}
	w := httptest.NewRecorder()
	f.write(w, name, rep)
	return w.Result(), nil
}

func (f *fake) memory() *rest.Config { return &rest.Config{Host: "https://fake", Transport: f} }

// listen serves on loopback with TLS.
func (f *fake) listen(http2 bool) (*rest.Config, *httptest.Server) {
	s := httptest.NewUnstartedServer(f)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = http2
	s.StartTLS()
	f.t.Cleanup(s.Close)
	return serverConfig(s), s
}

func serverConfig(s *httptest.Server) *rest.Config {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return &rest.Config{Host: s.URL, UserAgent: "svmctl/test", TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
}

func table(revision int64) string {
	return fmt.Sprintf(`{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"%d"},"columnDefinitions":[{"name":"Name","description":%q}],"rows":[{"cells":["x","Opaque",1],"object":null}]}`,
		revision, strings.Repeat("d", 400))
}

// status is the body of a refusal; names give Details.
func status(code int, reason metav1.StatusReason, message string, name string, causes ...metav1.StatusCause) string {
	st := metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure",
		Code: int32(code), Reason: reason, Message: message}
	if name != "" || causes != nil {
		st.Details = &metav1.StatusDetails{Name: name, Kind: "secrets", Causes: causes}
	}
	b, err := json.Marshal(st)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func refuse(code int, reason metav1.StatusReason, message string) reply {
	return reply{code: code, body: status(code, reason, message, "")}
}

func internal(message string) reply {
	return refuse(500, metav1.StatusReasonInternalError, "Internal error occurred: "+message)
}

var errRefused = errors.New("dial tcp: connect: connection refused")

// named gives objects o0 … at revisions 1 ….
func named(n int) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for i := range n {
			if !yield(Object{Namespace: "ns", Name: "o" + strconv.Itoa(i), Revision: int64(i + 1)}, nil) {
				return
			}
		}
	}
}

// runAll runs a Patcher and gives the results by name.
func runAll(t *testing.T, p *Patcher, objects iter.Seq2[Object, error]) (map[string]Result, error) {
	return runContext(t, context.Background(), p, objects)
}

func runContext(t *testing.T, ctx context.Context, p *Patcher, objects iter.Seq2[Object, error]) (map[string]Result, error) {
	t.Helper()
	results := map[string]Result{}
	err := p.Run(ctx, objects, func(r Result) error {
		if _, ok := results[r.Name]; ok {
			t.Errorf("%s visited twice", r.Name)
		}
		if (r.Status == Failed) != (r.Failure != nil) || r.Status == NotAttempted {
			t.Errorf("%s: status %v, failure %v", r.Name, r.Status, r.Failure)
		}
		if r.Failure != nil {
			safe := *r.Failure
			safe.Message = ""
			if strings.Contains(fmt.Sprintf("%+v", safe)+r.Failure.Error(), canary) {
				t.Errorf("%s: canary outside of Message: %+v", r.Name, safe)
			}
		}
		results[r.Name] = r
		return nil
	})
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Errorf("canary in error: %v", err)
	}
	return results, err
}

func mustPatcher(t testing.TB, cfg *rest.Config, opts Options) *Patcher {
	t.Helper()
	p, err := NewPatcher(cfg, secrets, opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func count(results map[string]Result, s Status) int {
	n := 0
	for _, r := range results {
		if r.Status == s {
			n++
		}
	}
	return n
}
