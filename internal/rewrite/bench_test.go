package rewrite

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
)

func BenchmarkRun(b *testing.B) {
	body := table(1 << 40)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, body)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	for _, concurrency := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprintf("concurrency=%d", concurrency), func(b *testing.B) {
			p := mustPatcher(b, serverConfig(s), Options{Concurrency: concurrency})
			b.ReportAllocs()
			b.ResetTimer()
			n := 0
			err := p.Run(b.Context(), named(b.N), func(r Result) error {
				if r.Status == Rewritten {
					n++
				}
				return nil
			})
			if err != nil || n != b.N {
				b.Fatal(err, n)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}

// BenchmarkBare is the same requests with nothing around them, for comparison.
func BenchmarkBare(b *testing.B) {
	body := table(1 << 40)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, body)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	for _, concurrency := range []int{1, 16} {
		b.Run(fmt.Sprintf("concurrency=%d", concurrency), func(b *testing.B) {
			client, err := rest.HTTPClientFor(serverConfig(s))
			if err != nil {
				b.Fatal(err)
			}
			var next atomic.Int64
			done := make(chan error, concurrency)
			b.ResetTimer()
			for range concurrency {
				go func() {
					for next.Add(1) <= int64(b.N) {
						req, _ := http.NewRequest("PATCH", s.URL+"/api/v1/namespaces/ns/secrets/a", strings.NewReader(`{"apiVersion":"v1","kind":"Secret","metadata":{"resourceVersion":"1"}}`))
						resp, err := client.Do(req)
						if err != nil {
							done <- err
							return
						}
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
					done <- nil
				}()
			}
			for range concurrency {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}
