package apiservers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/storageversion"
)

const (
	token  = "CANARY-token"
	canary = "CANARY-hunter2" // in every refusal
)

var (
	requests = schema.GroupResource{Group: "stable.example.com", Resource: "selfierequests"}
	secrets  = schema.GroupResource{Resource: "secrets"}
)

// apiserver is one of which a test decides what it says.
type apiserver struct {
	plane    *plane
	address  string
	names    []string // of its certificate
	identity string

	storage  string            // version of selfierequests; empty: the group is not served; "-": served without a hash
	config   string            // EncryptionConfiguration
	kms      map[string]string // provider → keyID
	kmsAge   time.Duration
	reloaded time.Time
	release  string
	external string // what it gives as its own address
	started  string
	refuse   map[string]int // path → code
	extra    string         // further metrics
	flags    string         // the answer to /flagz
	instead  string         // of all metrics
	readyz   string
	down     bool
	heard    http.Header // of the last request
	mu       sync.Mutex
}

type lease struct {
	identity string
	age      time.Duration
	address  string
}

type plane struct {
	t         *testing.T
	servers   []*apiserver
	leases    []lease
	endpoints []string
	refuse    map[string]int // path → code, of every apiserver
	ca        *x509.Certificate
	key       *ecdsa.PrivateKey
}

// newPlane starts n apiservers that agree on everything, with leases and endpoints.
func newPlane(t *testing.T, n int) *plane {
	p := &plane{t: t, refuse: map[string]int{}}
	p.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, p.key.Public(), p.key)
	if err != nil {
		t.Fatal(err)
	}
	p.ca, _ = x509.ParseCertificate(der)
	for range n {
		p.add()
	}
	return p
}

func (p *plane) add() *apiserver {
	i := len(p.servers)
	a := &apiserver{
		plane: p, names: []string{"kubernetes.default.svc", "127.0.0.1"}, identity: fmt.Sprintf("apiserver-%d", i), storage: "v2",
		config: "new", release: "v1.37.2", started: strconv.Itoa(1_700_000_000 + i), refuse: map[string]int{},
	}
	server := httptest.NewUnstartedServer(a)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c, err := p.certificate(a.names)
		return &tls.Config{Certificates: []tls.Certificate{c}, NextProtos: []string{"h2", "http/1.1"}}, err
	}}
	server.EnableHTTP2 = true
	server.StartTLS()
	p.t.Cleanup(server.Close)
	a.address = server.Listener.Addr().String()
	a.external = a.address
	p.servers = append(p.servers, a)
	p.leases = append(p.leases, lease{identity: a.identity})
	p.endpoints = append(p.endpoints, a.address)
	return a
}

func (p *plane) certificate(names []string) (tls.Certificate, error) {
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, p.ca, p.key.Public(), p.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: p.key}, err
}

// config is a kubeconfig for the first apiserver.
func (p *plane) config() *rest.Config {
	return &rest.Config{Host: "https://" + p.servers[0].address, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{
		CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.ca.Raw})}}
}

func (a *apiserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.down {
		panic(http.ErrAbortHandler)
	}
	a.mu.Lock()
	a.heard = r.Header
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	code := max(a.refuse[r.URL.Path], a.plane.refuse[r.URL.Path])
	if r.Header.Get("Authorization") != "Bearer "+token {
		code = http.StatusUnauthorized
	}
	if code != 0 {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind":"Status","message":%q}`, canary)
		return
	}
	if text := a.answer(r.URL.Path); text != "" {
		io.WriteString(w, text)
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

func (a *apiserver) answer(path string) string {
	hash := storageversion.Hash(requests.Group, a.storage, "SelfieRequest")
	if a.storage == "-" {
		hash = ""
	}
	switch path {
	case "/api":
		return fmt.Sprintf(`{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":%q}]}`, a.external)
	case "/api/v1":
		return fmt.Sprintf(`{"kind":"APIResourceList","resources":[{"name":"secrets","kind":"Secret","storageVersionHash":%q}]}`, storageversion.Hash("", "v1", "Secret"))
	case "/apis":
		groups := `{"name":"apps","versions":[]}`
		if a.storage != "" {
			groups += `,{"name":"stable.example.com","versions":[{"version":"v1"},{"version":"v2"}]}`
		}
		return `{"kind":"APIGroupList","groups":[` + groups + `]}`
	case "/apis/stable.example.com/v1", "/apis/stable.example.com/v2":
		return fmt.Sprintf(`{"kind":"APIResourceList","resources":[{"name":"selfierequests","kind":"SelfieRequest","storageVersionHash":%q}]}`, hash)
	case "/flagz":
		return a.flags
	case "/readyz":
		if a.readyz != "" {
			return a.readyz
		}
		return "[+]ping ok\n[+]kms-provider-0 ok\nreadyz check passed\n"
	case "/metrics":
		return a.metrics()
	case "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases":
		return a.plane.leaseList()
	case "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices":
		return a.plane.sliceList()
	}
	return ""
}

func (a *apiserver) metrics() string {
	if a.instead != "" {
		return a.instead
	}
	var b strings.Builder
	id := idOf(a.identity)
	fmt.Fprintf(&b, "# HELP x y\nkubernetes_build_info{git_version=%q} 1\nprocess_start_time_seconds %s\n", a.release, a.started)
	if a.config != "" {
		fmt.Fprintf(&b, "%s{apiserver_id_hash=%q,hash=%q} 1\n", configInfo, id, idOf(a.config))
	}
	if !a.reloaded.IsZero() {
		fmt.Fprintf(&b, "%s{apiserver_id_hash=%q,status=\"success\"} %d\n", configReload, id, a.reloaded.Unix())
	}
	for provider, key := range a.kms {
		at := time.Now().Add(-a.kmsAge)
		fmt.Fprintf(&b, "%s{apiserver_id_hash=%q,key_id_hash=%q,provider_name=%q} %d\n", kmsStatus, id, idOf("old"), provider, at.Add(-time.Minute).Unix())
		fmt.Fprintf(&b, "%s{apiserver_id_hash=%q,key_id_hash=%q,provider_name=%q} %d\n", kmsStatus, id, idOf(key), provider, at.Unix())
	}
	return b.String() + a.extra
}

func (p *plane) leaseList() string {
	var items []any
	for _, l := range p.leases {
		items = append(items, map[string]any{
			"metadata": map[string]any{"name": l.identity, "labels": map[string]string{"kubernetes.io/hostname": "host-of-" + l.identity},
				"annotations": map[string]string{"kubernetes.io/peer-advertise-address": l.address}},
			"spec": map[string]any{"renewTime": time.Now().Add(-l.age).UTC().Format("2006-01-02T15:04:05.000000Z")}})
	}
	text, _ := json.Marshal(map[string]any{"kind": "LeaseList", "items": items})
	return string(text)
}

func (p *plane) sliceList() string {
	var items []any
	for _, e := range p.endpoints {
		host, port, _ := net.SplitHostPort(e)
		n, _ := strconv.Atoi(port)
		items = append(items, map[string]any{"endpoints": []any{map[string]any{"addresses": []string{host}}}, "ports": []any{
			map[string]any{"name": "https", "port": n}, map[string]any{"name": "other", "port": 1}}})
	}
	text, _ := json.Marshal(map[string]any{"kind": "EndpointSliceList", "items": items})
	return string(text)
}
