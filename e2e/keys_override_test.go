package e2e

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// TestKeysOfAnotherEtcd keeps events in an etcd of their own, where one of them is still under key1.
func TestKeysOfAnotherEtcd(t *testing.T) {
	events := startEtcd(t)
	there := events.variable("ETCDCTL_ENDPOINTS")
	covered := []string{"secrets", "events"}
	p := startPlane(t, encryptionOf(covered, "aescbc:key1", "identity"), "--without-controller-manager", "--apiserver-arg=--etcd-servers-overrides=/events#"+there)
	p.createSecrets(t, "default", "app", 3)
	p.kubectl(t, eventNamed("older"), "create", "-f", "-")
	p.rotate(t, encryptionOf(covered, "aescbc:key2", "aescbc:key1", "identity"))
	p.kubectl(t, eventNamed("newer"), "create", "-f", "-")
	p.deleteOtherEvents(t, events, "older", "newer")
	if held := events.everything(t, "/registry/"); len(held) != 2 || held["/registry/events/default/older"] != "aescbc:key1" || held["/registry/events/default/newer"] != "aescbc:key2" {
		t.Fatalf("the other etcd holds %v, want two events", held)
	}
	migrated := p.svmctl(t, "migrate", "secrets", "--encryption-provider-config", p.config, "--yes", "--settle", "0")
	migrated.wantCode(t, 0)

	t.Run("not read", func(t *testing.T) {
		words := []string{"events", "another etcd", "--endpoints-for events="}
		p.canRemove(t, "aescbc:key1", "unknown", words)
		// What the apiserver says outweighs what somebody believes.
		p.canRemove(t, "aescbc:key1", "unknown", words, "--no-etcd-overrides")
		report := p.canRemove(t, "aescbc:key1", "unknown", nil, "--endpoints-for", "secrets="+there)
		if doubts := strings.Join(report.Doubts, "\n"); !strings.Contains(doubts, "--endpoints-for events=") {
			t.Errorf("the doubts are %q, want events among them", doubts)
		}
	})
	t.Run("not migrated", func(t *testing.T) {
		result := p.svmctl(t, "migrate", "--encryption-provider-config", p.config, "--yes", "--settle", "0")
		result.wantCode(t, 4)
		for _, want := range []string{"events NotRead", "another etcd"} {
			if !strings.Contains(result.stdout, want) {
				t.Errorf("the report of what was migrated does not say %q\n%s", want, result)
			}
		}
		secretsOnly := p.svmctl(t, "migrate", "secrets", "--encryption-provider-config", p.config, "--yes", "--settle", "0")
		secretsOnly.wantCode(t, 0)
		if !strings.HasSuffix(strings.TrimSpace(secretsOnly.stdout), "events: in another etcd, not read") {
			t.Errorf("the last line does not speak of events\n%s", secretsOnly)
		}
	})
	t.Run("read", func(t *testing.T) {
		report := p.canRemove(t, "aescbc:key1", "no", []string{"1 events"}, "--endpoints-for", "events="+there)
		if row := report.row(t, "aescbc:key1"); len(row.Objects) != 1 || row.Objects["events"] != 1 || len(report.Further) != 1 || report.Further[0].Resources[0] != "events" {
			t.Errorf("want one event, from the other etcd: %+v, %+v", row, report.Further)
		}
	})
	t.Run("another one read in its place", func(t *testing.T) {
		p.canRemove(t, "aescbc:key1", "unknown", []string{"events"}, "--endpoints-for", "events="+p.variable("ETCDCTL_ENDPOINTS"))
		// As where the override came later than the first events: the main etcd holds some, and they are not those in use.
		const newer = "/registry/events/default/newer"
		p.putByHand(t, newer, string(events.value(t, newer)))
		p.canRemove(t, "aescbc:key1", "unknown", []string{"events"}, "--endpoints-for", "events="+p.variable("ETCDCTL_ENDPOINTS"))
		if _, err := p.etcd.Delete(t.Context(), newer); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("no longer needed there", func(t *testing.T) {
		p.kubectl(t, "", "annotate", "event", "older", "written=again")
		p.canRemove(t, "aescbc:key1", "yes", nil, "--endpoints-for", "events="+there)
		// What lies beside every storage root is read as well.
		const strange = "/strange/place"
		p.putByHand(t, strange, "k8s:enc:aescbc:v1:key1:"+string(encryptedCBC(t, "key1", strange, `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x","namespace":"y"}}`)))
		report := p.canRemove(t, "aescbc:key1", "no", nil, "--endpoints-for", "events="+there)
		if row := report.row(t, "aescbc:key1"); len(row.Objects) != 1 {
			t.Errorf("%+v", row)
		}
		if _, err := p.etcd.Delete(t.Context(), strange); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("this cluster as it was", func(t *testing.T) {
		copied := p.copyEtcd(t)
		p.rotate(t, encryptionOf(covered, "aescbc:key1", "aescbc:key2", "identity"))
		p.createSecrets(t, "default", "later", 1)
		p.rotate(t, encryptionOf(covered, "aescbc:key2", "aescbc:key1", "identity"))
		p.canRemove(t, "aescbc:key1", "no", []string{"1 secrets"}, "--endpoints-for", "events="+there)
		for _, args := range [][]string{{"keys", "--can-remove", "aescbc:key1", "--endpoints-for", "events=" + there}, {"migrate", "secrets", "--yes"}} {
			result := p.svmctl(t, append(args, "--encryption-provider-config", p.config, "--settle", "0", "--endpoints", copied)...)
			if result.code != 4 || !strings.Contains(result.stdout, "it may be an old copy") {
				t.Errorf("exit status %d for an etcd that the apiserver no longer writes to, want 4 and why\n%s", result.code, result)
			}
		}
	})
	t.Run("of another cluster", func(t *testing.T) {
		// That of a cluster set up alike, at whatever revision: its kube-system is another one.
		const system = "/registry/namespaces/kube-system"
		mine := p.value(t, system)
		uid := strings.TrimSpace(p.kubectl(t, "", "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"))
		other := bytes.ReplaceAll(mine, []byte(uid), []byte(strings.Repeat("0", len(uid))))
		if bytes.Equal(mine, other) {
			t.Fatal("the namespace does not hold its UID")
		}
		events.putByHand(t, system, string(other))
		result := p.keys(t, "--can-remove", "aescbc:key1", "--endpoints", there)
		result.wantCode(t, 1)
		result.wantError(t, "this etcd is not the one of this apiserver", "same control plane")
		if result.stdout != "" {
			t.Errorf("something is on stdout\n%s", result)
		}
	})
}

// startEtcd is a plane without any Kubernetes, and without TLS.
func startEtcd(t *testing.T) *plane {
	t.Helper()
	return startPlane(t, "", "--etcd-only", "--no-etcd-tls")
}

// deleteOtherEvents deletes what the apiserver told of itself while it started, where it did: the repair of an address is an event.
func (p *plane) deleteOtherEvents(t *testing.T, events *plane, keep ...string) {
	t.Helper()
	const dir = "/registry/events/default/"
	for key := range events.everything(t, dir) {
		if name := strings.TrimPrefix(key, dir); !slices.Contains(keep, name) {
			p.kubectl(t, "", "delete", "event", name)
		}
	}
}
