package apiservers

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/svmctl/svmctl/internal/storageversion"
)

const (
	leasesPath    = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
	endpointsPath = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
	nowhere       = "127.0.0.1:1"
)

// anonymous has apiservers say nothing by which to know them again.
func anonymous(p *plane) {
	p.refuse["/metrics"] = 403
}

// TestAgreement breaks one thing of three apiservers that agree.
func TestAgreement(t *testing.T) {
	const both = StorageVersion | Encryption
	addresses := func(p *plane) []string { return slices.Clone(p.endpoints) }
	for _, c := range []struct {
		name   string
		spoil  func(p *plane)
		given  func(p *plane) []string
		matter Matter
		agree  string // yes, no, unknown
		known  int    // 0: 3
		asked  int    // 0: 3
		says   []string
		silent []string
	}{
		{name: "nothing is wrong", agree: "yes"},
		{name: "another storage version", spoil: func(p *plane) { p.servers[1].storage = "v1" }, agree: "no",
			says: []string{`"server":"ADDRESS1","identity":"apiserver-1 (host-of-apiserver-1)","what":"storage version of selfierequests.stable.example.com","found":"stable.example.com/v1","others":"stable.example.com/v2"`}, silent: []string{"ADDRESS0", "ADDRESS2"}},
		{name: "a storage version that none serves", spoil: func(p *plane) { p.servers[1].storage = "v1beta1" }, agree: "no", says: []string{`"found":"stable.example.com/v1beta1","others":"stable.example.com/v2"`}},
		{name: "a storage version that nobody knows", spoil: func(p *plane) { p.servers[1].storage = "unheard" }, agree: "no",
			says: []string{`"found":"storageVersionHash ` + storageversion.Hash("stable.example.com", "unheard", "SelfieRequest") + `"`}},
		{name: "another storage version does not matter to keys", spoil: func(p *plane) { p.servers[1].storage = "v1" }, matter: Encryption, agree: "yes"},
		{name: "not served by one", spoil: func(p *plane) { p.servers[2].storage = "" }, agree: "no", says: []string{`"ADDRESS2"`, `"found":"not served"`}},
		{name: "served by none", spoil: func(p *plane) {
			for _, s := range p.servers {
				s.storage = ""
			}
		}, agree: "unknown", says: []string{"no apiserver serves it"}},
		{name: "no hash anywhere", spoil: func(p *plane) {
			for _, s := range p.servers {
				s.storage = "-"
			}
		}, agree: "unknown", says: []string{"do not tell it"}},
		{name: "no hash on one", spoil: func(p *plane) { p.servers[0].storage = "-" }, agree: "no", says: []string{`"found":"not told"`}},
		{name: "a group fails on one", spoil: func(p *plane) { p.servers[1].refuse["/apis/stable.example.com/v2"] = 503 }, agree: "unknown",
			says: []string{"not told by ADDRESS1 (503 Service Unavailable)"}},
		{name: "all groups fail on one", spoil: func(p *plane) { p.servers[1].refuse["/apis"] = 500 }, agree: "unknown", says: []string{"not told by ADDRESS1 (500"}},
		{name: "a group fails and another server differs", spoil: func(p *plane) {
			p.servers[1].refuse["/apis/stable.example.com/v2"] = 503
			p.servers[2].storage = "v1"
		}, agree: "no"},

		{name: "an older EncryptionConfiguration", spoil: func(p *plane) { p.servers[2].config = "older"; p.servers[2].reloaded = time.Unix(1700000000, 0) }, agree: "no",
			says: []string{`"server":"ADDRESS2"`, `"what":"EncryptionConfiguration"`, idOf("older"), `"reloadedAt":"20`}, silent: []string{"ADDRESS0", "ADDRESS1"}},
		{name: "three EncryptionConfigurations", spoil: func(p *plane) { p.servers[1].config = "b"; p.servers[2].config = "c" }, agree: "no",
			says: []string{"ADDRESS0", "ADDRESS1", "ADDRESS2"}, silent: []string{`"others"`}},
		{name: "an EncryptionConfiguration does not matter to versions", spoil: func(p *plane) { p.servers[2].config = "older" }, matter: StorageVersion, agree: "yes"},
		{name: "no EncryptionConfiguration on one", spoil: func(p *plane) { p.servers[0].config = "" }, agree: "no", says: []string{`"found":"none"`}},
		{name: "no EncryptionConfiguration at all", spoil: func(p *plane) {
			for _, s := range p.servers {
				s.config = ""
			}
		}, agree: "yes"},
		{name: "a release that would not tell of one", spoil: func(p *plane) {
			for _, s := range p.servers {
				s.config, s.release = "", "v1.33.4"
			}
		}, agree: "unknown", says: []string{"its release has no metric for that"}},
		{name: "metrics of one may not be read", spoil: func(p *plane) { p.servers[1].refuse["/metrics"] = 403 }, agree: "no",
			says: []string{`"server":"ADDRESS1"`, "not told (its metrics: 403 Forbidden)"}},
		{name: "no metrics may be read", spoil: anonymous, agree: "unknown", says: []string{"not told by 3 of 3 apiservers (its metrics: 403 Forbidden)"}},
		{name: "no metrics may be read, and versions matter", spoil: anonymous, matter: StorageVersion, agree: "yes"},
		{name: "metrics that are none", spoil: func(p *plane) { p.servers[1].instead = "<html>\n" }, agree: "no", says: []string{"cannot be understood"}},
		{name: "metrics of two behind one address", spoil: func(p *plane) {
			p.servers[1].extra = kmsStatus + `{apiserver_id_hash="` + idOf("x") + `",provider_name="p"} 1` + "\n"
		}, agree: "no", says: []string{"do not tell of one apiserver"}},

		{name: "the same KMS key", spoil: kms("k", "k", "k"), agree: "yes"},
		{name: "another KMS key", spoil: kms("k", "k", "rotated"), agree: "no", says: []string{`"server":"ADDRESS2"`, `key of the KMS provider \"vault\"`, idOf("rotated")}},
		{name: "a plugin that names no key", spoil: func(p *plane) { kms("k", "k", "k")(p); p.servers[0].kmsAge = time.Hour }, agree: "no",
			says: []string{`"server":"ADDRESS0"`, "not told (its plugin"}},
		{name: "plugins that name no key", spoil: func(p *plane) {
			kms("k", "k", "k")(p)
			for _, s := range p.servers {
				s.kmsAge = time.Hour
			}
		}, agree: "unknown", says: []string{"names none to any apiserver"}},
		{name: "a provider that was removed and one restarted since", spoil: func(p *plane) {
			kms("k", "k", "")(p)
			for _, s := range p.servers[:2] {
				s.kmsAge, s.reloaded = time.Hour, time.Now().Add(-time.Hour)
			}
		}, agree: "yes"},

		{name: "one is down", spoil: func(p *plane) { p.servers[2].down = true }, asked: 2, agree: "no",
			says: []string{`"missing":["apiserver-2 (host-of-apiserver-2)"]`}},
		{name: "one is down and none tells who it is", spoil: func(p *plane) { anonymous(p); p.servers[2].down = true }, matter: StorageVersion, asked: 2, agree: "no",
			says: []string{`"missing":["ADDRESS2 (`}},
		{name: "one has no address", spoil: func(p *plane) { p.endpoints = p.endpoints[:2] }, asked: 2, agree: "no",
			says: []string{`"missing":["apiserver-2 (host-of-apiserver-2)"]`}},
		{name: "one has no address and none tells who it is", spoil: func(p *plane) { anonymous(p); p.endpoints = p.endpoints[:2] }, matter: StorageVersion, asked: 2, agree: "no",
			says: []string{"1 of apiserver-0 (host-of-apiserver-0), apiserver-1"}},
		{name: "an address that was left", spoil: func(p *plane) { p.endpoints = append(p.endpoints, nowhere) }, known: 4, agree: "no", says: []string{"127.0.0.1:1 (connection refused)"}},
		{name: "a lease that was left", spoil: func(p *plane) { p.leases = append(p.leases, lease{"apiserver-old", 3 * time.Minute, ""}) }, agree: "yes",
			says: []string{`"gone":["apiserver-old (host-of-apiserver-old)"]`}},
		{name: "a lease that nobody renews, of one that answers", spoil: func(p *plane) { p.leases[1].age = time.Hour }, agree: "yes", silent: []string{`"gone"`}},
		{name: "a lease that nobody renews, and a silent address", spoil: func(p *plane) { p.leases[1].age = time.Hour; p.servers[1].down = true }, asked: 2, agree: "no", silent: []string{`"gone"`}},
		{name: "an apiserver without a lease", spoil: func(p *plane) { p.servers[1].identity = "of-another-cluster"; p.leases = slices.Delete(p.leases, 1, 2) },
			agree: "unknown", says: []string{"whether ADDRESS1 is an apiserver of this cluster"}},
		{name: "no leases", spoil: func(p *plane) { p.leases = nil }, agree: "unknown", says: []string{"no live lease"}},
		{name: "leases may not be read", spoil: func(p *plane) { p.refuse[leasesPath] = 403 }, agree: "unknown", says: []string{"reading their leases: 403 Forbidden"}},
		{name: "leases may not be read, and one is down", spoil: func(p *plane) { p.refuse[leasesPath] = 403; p.servers[1].down = true }, asked: 2, agree: "no", says: []string{"ADDRESS1 ("}},
		{name: "endpoints may not be read", spoil: func(p *plane) { p.refuse[endpointsPath] = 403 }, asked: 1, agree: "no",
			says: []string{`"missing":["apiserver-1 (host-of-apiserver-1)","apiserver-2 (host-of-apiserver-2)"]`}},
		{name: "nothing may be read", spoil: func(p *plane) { anonymous(p); p.refuse[leasesPath], p.refuse[endpointsPath] = 403, 403 }, known: 1, asked: 1, agree: "unknown",
			says: []string{"leases: 403", "EndpointSlices kubernetes: 403", "metrics: 403"}, silent: []string{"missing"}},
		{name: "nothing answers", spoil: func(p *plane) {
			for _, s := range p.servers {
				s.down = true
			}
		}, given: addresses, asked: -1, agree: "no", says: []string{"ADDRESS0 (", "ADDRESS1 (", "ADDRESS2 ("}},

		{name: "given", given: addresses, spoil: func(p *plane) { p.endpoints = nil }, agree: "yes"},
		{name: "given, and the endpoints may not be read", given: addresses, spoil: func(p *plane) { p.refuse[endpointsPath] = 403 }, agree: "yes"},
		{name: "given, and an old lease, and the endpoints may not be read", given: addresses, spoil: func(p *plane) {
			p.refuse[endpointsPath] = 403
			p.leases = append(p.leases, lease{"apiserver-old", 3 * time.Minute, ""})
		}, agree: "unknown", says: []string{"whether apiserver-old (host-of-apiserver-old) is gone"}},
		{name: "given too few", given: func(p *plane) []string { return p.endpoints[1:] }, asked: 2, agree: "no", says: []string{"apiserver-0"}},
		{name: "given too few, without leases", given: func(p *plane) []string { return p.endpoints[1:] }, spoil: func(p *plane) { p.refuse[leasesPath] = 403 }, asked: 2, agree: "no",
			says: []string{`"missing":["ADDRESS0"]`}},
		{name: "given what is no address", given: func(p *plane) []string { return append(addresses(p), "http://127.0.0.1") }, known: 4, agree: "no", says: []string{"cannot be understood"}},
		{name: "given one three times", given: addresses, spoil: sameServer, asked: 1, agree: "no", says: []string{"apiserver-1", "apiserver-2"}},
		{name: "given one three times, known by its process", given: addresses, spoil: func(p *plane) {
			sameServer(p)
			for _, s := range p.servers {
				s.config = ""
			}
		}, asked: 1, agree: "no", says: []string{"2 of apiserver-0"}},
		{name: "given one three times, known by its address", given: addresses, spoil: func(p *plane) {
			sameServer(p)
			anonymous(p)
			p.leases[0].address = p.servers[0].external
		}, matter: StorageVersion, asked: 1, agree: "no", says: []string{`"apiserver-1 (host-of-apiserver-1)","apiserver-2 (host-of-apiserver-2)"`}},
		{name: "given some that cannot be told apart", given: addresses, spoil: func(p *plane) { sameServer(p); anonymous(p); p.refuse[endpointsPath] = 403 }, matter: StorageVersion, asked: 1, agree: "unknown",
			says: []string{"are two apiservers"}},

		{name: "one apiserver out of reach but for the kubeconfig", spoil: func(p *plane) { only(p); p.endpoints = []string{nowhere} }, known: 1, asked: 1, agree: "yes"},
		{name: "one apiserver, and the endpoints may not be read", spoil: func(p *plane) { only(p); p.refuse[endpointsPath] = 403 }, known: 1, asked: 1, agree: "yes"},
		{name: "more metrics than are read", spoil: func(p *plane) { p.servers[1].extra = strings.Repeat(strings.Repeat("x", 1023)+"\n", maxMetrics>>10) }, agree: "no",
			says: []string{"its metrics: the answer is too long"}},
		{name: "two, out of reach but for the kubeconfig", spoil: func(p *plane) { only(p); p.endpoints = []string{nowhere, "127.0.0.1:2"} }, known: 2, asked: 1, agree: "no"},
		{name: "one of two out of reach but for the kubeconfig", spoil: func(p *plane) {
			p.leases = p.leases[:2]
			p.endpoints = []string{p.servers[1].address, nowhere}
		}, known: 2, asked: 2, agree: "yes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlane(t, 3)
			req := Request{Config: p.config(), Resources: []schema.GroupResource{requests, secrets}}
			if c.given != nil {
				req.Addresses = c.given(p)
			}
			if c.spoil != nil {
				c.spoil(p)
			}
			if c.matter == 0 {
				c.matter = both
			}
			a := Ask(t.Context(), req).Agreement(Question{Resources: req.Resources, Matter: c.matter})
			text, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			said := string(text)
			for i, s := range p.servers {
				said = strings.ReplaceAll(said, s.address, "ADDRESS"+string(rune('0'+i)))
			}
			if got := word(a.Agree); got != c.agree {
				t.Errorf("agree %s, want %s", got, c.agree)
			}
			if want := max(0, defaulted(c.known)); a.Known != want {
				t.Errorf("known %d, want %d", a.Known, want)
			}
			if want := max(0, defaulted(c.asked)); a.Asked != want {
				t.Errorf("asked %d, want %d", a.Asked, want)
			}
			for _, s := range c.says {
				if !strings.Contains(said, s) {
					t.Errorf("does not say %s", s)
				}
			}
			for _, s := range append(c.silent, "CANARY") {
				if strings.Contains(said, s) {
					t.Errorf("says %s", s)
				}
			}
			if t.Failed() {
				t.Log(said)
			}
		})
	}
}

func defaulted(n int) int {
	if n == 0 {
		return 3
	}
	return n
}

func word(agree *bool) string {
	switch {
	case agree == nil:
		return "unknown"
	case *agree:
		return "yes"
	}
	return "no"
}

// kms gives the apiservers a KMS plugin each, unless the key is empty.
func kms(keys ...string) func(*plane) {
	return func(p *plane) {
		for i, key := range keys {
			if key != "" {
				p.servers[i].kms = map[string]string{"vault": key}
			}
		}
	}
}

// sameServer makes all addresses those of one apiserver.
func sameServer(p *plane) {
	for _, s := range p.servers {
		s.identity, s.started, s.external = p.servers[0].identity, p.servers[0].started, p.servers[0].external
	}
}

// only leaves the first lease.
func only(p *plane) {
	p.leases = p.leases[:1]
}
