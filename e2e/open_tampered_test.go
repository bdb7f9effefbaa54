package e2e

import (
	"bytes"
	"context"
	"maps"
	"strings"
	"testing"
)

// tampered are the directories of objects app-0 and so on by how they are encrypted, and what a copy of one of them is to an
// apiserver: aescbc and secretbox know nothing of the etcd key, and neither does plaintext.
var tampered = []struct{ dir, copied string }{
	{"secrets/default/", "CannotOpen"},                    // KMS v2
	{"configmaps/default/", "CannotOpen"},                 // KMS v1
	{"deployments/default/", "CannotOpen"},                // aesgcm
	{"stable.example.com/gadgets/default/", "WrongPlace"}, // secretbox
	{"statefulsets/default/", "WrongPlace"},               // aescbc
	{"odd.example.com/knobs/default/", "WrongPlace"},      // aescbc
}

// wantCopiesFound copies values to another key of their resource.
func (c *cipherPlane) wantCopiesFound(t *testing.T) {
	want := make(map[string]string)
	for _, of := range tampered {
		from, to := "/registry/"+of.dir+"app-0", "/registry/"+of.dir+"app-1"
		c.replaced(t, to, c.value(t, from))
		want[to] = of.copied
	}
	report := c.wantFindings(t, want)
	for _, f := range report.Findings {
		if f.Severity != "error" || f.Code == "CannotOpen" && !strings.Contains(f.Message, "was encrypted for another etcd key") {
			t.Errorf("%+v", f)
		}
	}
}

// wantDamageFound flips one bit in each of eight values, at eight places from the first byte after the key name to the last.
// Of aescbc nobody can promise that.
func (c *cipherPlane) wantDamageFound(t *testing.T) {
	want := make(map[string]string)
	for _, of := range tampered {
		if strings.HasPrefix(of.dir, "statefulsets") || strings.HasPrefix(of.dir, "odd") {
			continue
		}
		for i, kv := range c.raw(t, "/registry/"+of.dir+"app-") {
			value := bytes.Clone(kv.Value)
			start := len("k8s:enc:") // and three more parts
			for range 3 {
				start += bytes.IndexByte(value[start:], ':') + 1
			}
			value[start+i*(len(value)-1-start)/7] ^= 1 << (i % 8)
			c.replaced(t, string(kv.Key), value)
			want[string(kv.Key)] = ""
		}
	}
	if len(want) != 4*8 {
		t.Fatalf("%d values are damaged", len(want))
	}
	c.wantFindings(t, want)
}

// wantFindings wants a finding on each of the keys, of the code given if there is one, and on no others.
func (c *cipherPlane) wantFindings(t *testing.T, want map[string]string) auditReport {
	t.Helper()
	audit := c.svmctl(t, "audit", "--encryption-provider-config", c.config, "--expect", "configmaps=encrypted", "-o", "json")
	audit.wantCode(t, 3)
	report := audit.audit(t)
	c.wantSums(t, report)
	found := make(map[string]string)
	for _, f := range report.Findings {
		if found[f.Key] = f.Code; want[f.Key] == "" {
			found[f.Key] = ""
		}
	}
	if !maps.Equal(found, want) {
		t.Errorf("found %v\nwant  %v\n%s", found, want, audit)
	}
	return report
}

// value is what lies under a key.
func (p *plane) value(t *testing.T, key string) []byte {
	t.Helper()
	got, err := p.etcd.Get(t.Context(), key)
	if err != nil || len(got.Kvs) != 1 {
		t.Fatalf("%s: %v", key, err)
	}
	return got.Kvs[0].Value
}

// replaced puts a value in the place of another until the test ends.
func (p *plane) replaced(t *testing.T, key string, value []byte) {
	t.Helper()
	was := p.value(t, key)
	p.putByHand(t, key, string(value))
	t.Cleanup(func() {
		if _, err := p.etcd.Put(context.Background(), key, string(was)); err != nil {
			t.Error(err)
		}
	})
}
