package audit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
	"github.com/svmctl/svmctl/internal/verify"
)

// startWith runs an etcd that holds the values.
func startWith(t *testing.T, values map[string]string) *etcdtest.Server {
	t.Helper()
	server := etcdtest.Start(t)
	for k, v := range values {
		server.Put(t, k, v)
	}
	return server
}

func open(t *testing.T, server *etcdtest.Server) *live.Store {
	t.Helper()
	store, err := live.Open(t.Context(), live.Config{Endpoints: []string{server.Endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// request asks for an audit of src; expect is RESOURCE=VALUE.
func request(t *testing.T, src etcdscan.Source, expect ...string) audit.Request {
	t.Helper()
	expectations, err := verify.ParseExpectations(expect, nil)
	if err != nil {
		t.Fatal(err)
	}
	return audit.Request{Store: src, Origin: audit.Source{Type: "etcd"}, Expectations: expectations, Version: "test", Now: time.Now}
}

func run(t *testing.T, req audit.Request) *audit.Report {
	t.Helper()
	report, err := audit.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { report.Close() })
	return report
}

// aescbc is a value under a key. Its bytes could be no further part of the name.
func aescbc(key string) string {
	return "k8s:enc:aescbc:v1:" + key + ":" + strings.Repeat("\xff\x00\xfe\x80", 12)
}

// plain is an object as an apiserver stores it in JSON.
func plain(apiVersion, kind, namespace, name string) string {
	return fmt.Sprintf(`{"kind":%q,"apiVersion":%q,"metadata":{"name":%q,"namespace":%q}}`, kind, apiVersion, name, namespace)
}

// variety is every kind of key and value that a store can hold, at least once.
func variety() map[string]string {
	return map[string]string{
		"/registry/secrets/ns/key1":                        aescbc("key1"),
		"/registry/secrets/ns/key2":                        aescbc("key2"),
		"/registry/secrets/ns/key2-again":                  aescbc("key2"),
		"/registry/secrets/ns/plain":                       plain("v1", "Secret", "ns", "plain"),
		"/registry/secrets/ns/swapped":                     plain("v1", "Secret", "ns", "other"),
		"/registry/secrets/ns/empty":                       "",
		"/registry/secrets/ns/garbage":                     "\x00\x01\x02",
		"/registry/secrets/ns/cut":                         aescbc("key2")[:50],
		"/registry/secrets/ns/odd":                         "k8s:enc:rot13:v1:key1:x",
		"/registry/secrets/short":                          aescbc("key1"),
		"/registry/configmaps/short":                       aescbc("key1"),
		"/registry/configmaps/ns/a":                        plain("v1", "ConfigMap", "ns", "a"),
		"/registry/deployments/ns/a":                       plain("apps/v1", "Deployment", "ns", "a"),
		"/registry/deployments/ns/b":                       plain("extensions/v1beta1", "Deployment", "ns", "b"),
		"/registry/minions/node":                           plain("v1", "Node", "", "node"),
		"/registry/stable.example.com/selfierequests/ns/a": plain("stable.example.com/v1", "SelfieRequest", "ns", "a"),
		"/registry/novelties/ns/a":                         plain("new/v1", "Novelty", "ns", "a"),
		"/registry/masterleases/10.0.0.1":                  "whatever",
		"/registry/ranges/serviceips":                      plain("v1", "RangeAllocation", "", ""),
	}
}
