package crd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

var plane = flag.String("plane", "", "`directory` of a running playground, by which testdata/rewrites is written anew")

// TestRecord has a real apiserver rewrite every case of testdata/rewrites: the object "stored" is put into etcd as it is, a patch
// that changes nothing is sent through the version that Through says, and what etcd holds then becomes "rewritten", or what the
// apiserver answers "refused".
func TestRecord(t *testing.T) {
	if *plane == "" {
		t.Skip("no -plane")
	}
	p := newRecorder(t)
	for _, dir := range cases(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			code, rewritten := p.rewrite(t, dir)
			for _, name := range []string{"refused", "rewritten"} {
				if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
			if code != http.StatusOK {
				write(t, filepath.Join(dir, "refused"), fmt.Appendf(nil, "%d\n", code))
				return
			}
			write(t, filepath.Join(dir, "rewritten"), rewritten)
		})
	}
}

type recorder struct {
	etcd *clientv3.Client
	http *http.Client
	url  string
}

func newRecorder(t *testing.T) recorder {
	t.Helper()
	env, err := os.ReadFile(filepath.Join(*plane, "env"))
	if err != nil {
		t.Fatal(err)
	}
	var endpoint string
	for line := range strings.Lines(string(env)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "export ETCDCTL_ENDPOINTS="); ok {
			endpoint = v
		}
	}
	pki := filepath.Join(*plane, "pki")
	tlsInfo := transport.TLSInfo{CertFile: filepath.Join(pki, "etcd-client.crt"), KeyFile: filepath.Join(pki, "etcd-client.key"), TrustedCAFile: filepath.Join(pki, "etcd-ca.crt")}
	tlsConfig, err := tlsInfo.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, TLS: tlsConfig, DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { etcd.Close() })
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(*plane, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return recorder{etcd: etcd, http: client, url: cfg.Host}
}

func (p recorder) rewrite(t *testing.T, dir string) (int, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	text := read(t, filepath.Join(dir, "crd.yaml"))
	d := parseOne(t, text)
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	const crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	if code, _ := p.do(ctx, t, http.MethodPost, crds, "application/json", asJSON); code != http.StatusCreated {
		t.Fatalf("creating %s: %d", d.Name, code)
	}
	things := "/apis/" + d.APIVersion(d.Through()) + "/" + d.Plural
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if code, _ := p.do(ctx, t, http.MethodGet, things, "", nil); code == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not served", things)
		}
	}
	stored := read(t, filepath.Join(dir, "stored"))
	if filepath.Base(dir) == "cbor" && json.Valid(stored) { // as it was written by hand
		var object any
		if err := json.Unmarshal(stored, &object); err != nil {
			t.Fatal(err)
		}
		if stored, err = direct.Marshal(object); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "stored"), append(bytes.Clone(cborPrefix), stored...))
	}
	key := "/registry/" + d.Group + "/" + d.Plural + "/one"
	put, err := p.etcd.Put(ctx, key, string(stored))
	if err != nil {
		t.Fatal(err)
	}
	patch := fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"metadata":{"resourceVersion":"%d"}}`, d.APIVersion(d.Through()), d.Kind, put.Header.Revision)
	code, answer := p.do(ctx, t, http.MethodPatch, things+"/one?fieldManager=svmctl", "application/merge-patch+json", patch)
	t.Logf("%d %.200s", code, answer)
	got, err := p.etcd.Get(ctx, key)
	if err != nil || len(got.Kvs) != 1 {
		t.Fatalf("reading back: %v, %d keys", err, len(got.Kvs))
	}
	return code, got.Kvs[0].Value
}

func (p recorder) do(ctx context.Context, t *testing.T, method, path, contentType string, body []byte) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func cases(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("testdata/rewrites/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	return dirs
}

func parseOne(t *testing.T, text []byte) *Definition {
	t.Helper()
	defs, _, err := Parse(bytes.NewReader(text))
	if err != nil || len(defs) != 1 {
		t.Fatalf("parsed %d definitions, %v", len(defs), err)
	}
	return defs[0]
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o644); err != nil {
		t.Fatal(err)
	}
}
