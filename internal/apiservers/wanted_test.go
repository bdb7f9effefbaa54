package apiservers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/svmctl/svmctl/internal/node"
)

// dropVault leaves one apiserver alone with what it knows of a KMS plugin.
func dropVault(p *plane) { p.servers[0].kms, p.servers[1].kms = nil, nil }

// TestWanted has apiservers that agree with one another, and not with the file or the KMS plugin at hand.
func TestWanted(t *testing.T) {
	for _, c := range []struct {
		name    string
		spoil   func(p *plane)
		want    Question
		agree   string
		kms     bool // all disagreements are about a KMS plugin
		unready bool // and none of them is about another key
		about   []int
	}{
		{name: "the file at hand", want: Question{EncryptionConfig: idOf("file")}, agree: "yes"},
		{name: "another file", want: Question{EncryptionConfig: idOf("other")}, agree: "no", about: []int{0, 1, 2}},
		{name: "one lags, and the others have it", spoil: func(p *plane) { p.servers[2].config = "older" }, want: Question{EncryptionConfig: idOf("file")}, agree: "no", about: []int{2}},
		{name: "one has it, and the others lag", spoil: func(p *plane) { p.servers[2].config = "newer" }, want: Question{EncryptionConfig: idOf("newer")}, agree: "no", about: []int{0, 1}},
		{name: "one still speaks of a provider that the file has no more", spoil: dropVault, want: Question{EncryptionConfig: idOf("file"), KMSProviders: []string{"other"}}, agree: "yes"},
		{name: "one does not speak of a provider of the file", spoil: dropVault, want: Question{EncryptionConfig: idOf("file"), KMSProviders: []string{"vault"}}, agree: "no", kms: true, unready: true, about: []int{}},
		{name: "one has none", spoil: func(p *plane) { p.servers[1].config, p.servers[1].kms = "", nil }, want: Question{EncryptionConfig: idOf("file")}, agree: "no", about: []int{1}},
		{name: "the plugin's key", want: Question{KMSKeyIDs: map[string]string{"vault": idOf("kek-1")}}, agree: "yes"},
		{name: "the plugin's new key", want: Question{KMSKeyIDs: map[string]string{"vault": idOf("kek-2")}}, agree: "no", kms: true, about: []int{0, 1, 2}},
		{name: "one has asked the plugin", spoil: func(p *plane) { p.servers[0].kms = map[string]string{"vault": "kek-2"} }, want: Question{KMSKeyIDs: map[string]string{"vault": idOf("kek-2")}}, agree: "no", kms: true, about: []int{1, 2}},
		{name: "one has asked, and cannot use it yet", spoil: func(p *plane) { p.servers[1].refuse = map[string]int{"/readyz": 500} }, want: Question{KMSKeyIDs: map[string]string{"vault": idOf("kek-1")}}, agree: "no", kms: true, unready: true, about: []int{1}},
		{name: "one does not say whether it uses it", spoil: func(p *plane) { p.servers[1].refuse = map[string]int{"/readyz": 403} }, want: Question{KMSKeyIDs: map[string]string{"vault": idOf("kek-1")}}, agree: "unknown"},
		{name: "one checks no plugin", spoil: func(p *plane) { p.servers[1].readyz = "[+]ping ok\n" }, want: Question{KMSKeyIDs: map[string]string{"vault": idOf("kek-1")}}, agree: "unknown"},
		{name: "a plugin that no apiserver knows", want: Question{KMSKeyIDs: map[string]string{"other": idOf("kek-1")}}, agree: "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlane(t, 3)
			for _, s := range p.servers {
				s.config, s.kms = "file", map[string]string{"vault": "kek-1"}
			}
			if c.spoil != nil {
				c.spoil(p)
			}
			c.want.Matter = Encryption
			a := Ask(t.Context(), Request{Config: p.config(), Resources: []schema.GroupResource{}}).Agreement(c.want)
			if word(a.Agree) != c.agree {
				t.Fatalf("agree is %s: %+v", word(a.Agree), a)
			}
			var about []int
			for i, s := range p.servers {
				if slices.ContainsFunc(a.Disagreements, func(d Disagreement) bool {
					return d.Server == s.address && (d.Wanted == "") == c.unready && d.KMS == c.kms
				}) {
					about = append(about, i)
				}
			}
			if !slices.Equal(about, c.about) {
				t.Errorf("the wrong ones are %v, want %v: %s", about, c.about, a.Summary())
			}
			if c.agree == "no" && !c.unready && !strings.Contains(a.Summary(), "and should be sha256:") {
				t.Error(a.Summary())
			}
		})
	}
}

func TestFlags(t *testing.T) {
	const flagsPath = "/flagz"
	for _, c := range []struct {
		name, answer string
		want         *Flags
	}{
		{"none", `{"kind":"Flagz","flags":{"etcd-servers-overrides":"[]","etcd-prefix":"/registry"}}`, &Flags{Prefix: "/registry"}},
		{"two", `{"kind":"Flagz","flags":{"etcd-servers-overrides":"[/events#http://10.0.0.1:2379;http://10.0.0.2:2379,apps/deployments#https://10.0.0.3:2379]","etcd-prefix":"/k8s"}}`, &Flags{Prefix: "/k8s", Overrides: []node.Override{
			{Resource: "events", Endpoints: []string{"http://10.0.0.1:2379", "http://10.0.0.2:2379"}}, {Resource: "deployments.apps", Endpoints: []string{"https://10.0.0.3:2379"}},
		}}},
		{"not told", `{"kind":"Flagz","flags":{"etcd-prefix":"/registry"}}`, nil},
		{"nonsense", `{"kind":"Flagz","flags":{"etcd-servers-overrides":"[nonsense]","etcd-prefix":"/registry"}}`, nil},
		{"another kind", `{"kind":"Status","flags":{"etcd-servers-overrides":"[]","etcd-prefix":"/registry"}}`, nil},
		{"text", "kube-apiserver flags", nil},
		{"refused", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlane(t, 1)
			p.servers[0].flags = c.answer
			if c.answer == "" {
				p.refuse[flagsPath] = 403
			}
			for _, s := range Ask(t.Context(), Request{Config: p.config(), Resources: []schema.GroupResource{}, Flags: true}).Distinct() {
				switch {
				case c.want == nil && (s.Flags != nil || s.FlagsProblem == "" || strings.Contains(s.FlagsProblem, canary)):
					t.Errorf("%+v, %q", s.Flags, s.FlagsProblem)
				case c.want != nil && (s.Flags == nil || s.Flags.Prefix != c.want.Prefix || len(s.Flags.Overrides) != len(c.want.Overrides)):
					t.Errorf("%+v, %q", s.Flags, s.FlagsProblem)
				case c.want != nil:
					for i, o := range c.want.Overrides {
						if got := s.Flags.Overrides[i]; got.Resource != o.Resource || !slices.Equal(got.Endpoints, o.Endpoints) {
							t.Errorf("%+v, want %+v", got, o)
						}
					}
				}
			}
			if s := Ask(t.Context(), Request{Config: p.config(), Resources: []schema.GroupResource{}}).Distinct()[0]; s.Flags != nil || s.FlagsProblem != "" {
				t.Error("flags were read unasked")
			}
		})
	}
}

func TestLoadedAt(t *testing.T) {
	started, reloaded := time.Unix(1_700_000_000, 0), time.Unix(1_700_000_100, 0)
	for _, c := range []struct {
		server Server
		want   time.Time
	}{
		{Server{}, time.Time{}}, {Server{startTime: "1700000000.00"}, started}, {Server{startTime: "1700000000.00", ReloadedAt: reloaded}, reloaded},
		{Server{startTime: "1700000100.00", ReloadedAt: started}, reloaded}, {Server{startTime: "nonsense", ReloadedAt: reloaded}, reloaded},
	} {
		if got := c.server.LoadedAt(); !got.Equal(c.want) {
			t.Errorf("%+v: %s, want %s", c.server, got, c.want)
		}
	}
}

// TestLoadedAtAfterAKMSRotation has an apiserver that went on with the old key of a KMS plugin after it was started.
func TestLoadedAtAfterAKMSRotation(t *testing.T) {
	p := newPlane(t, 1)
	s := p.servers[0]
	s.started, s.kms = "1700000000.00", map[string]string{"vault": "kek-2"}
	use := func(way, key string, at int64) {
		s.extra += fmt.Sprintf("%s{apiserver_id_hash=%q,key_id_hash=%q,provider_name=\"vault\",transformation_type=%q} %d\n", kmsUse, idOf(s.identity), idOf(key), way, at)
	}
	use("to_storage", "kek-1", 1700000100)
	use("from_storage", "kek-1", 1700000300)
	use("from_storage", "kek-0", 1700000200)
	use("to_storage", "kek-2", 1700000400)
	server := Ask(t.Context(), Request{Config: p.config(), Resources: []schema.GroupResource{}}).Distinct()[0]
	if at := server.LoadedAt(); at.Unix() != 1700000100 {
		t.Errorf("it writes as it does since %v, and wrote under kek-1 last at 1700000100", at.Unix())
	}
	for _, key := range []string{"kek-0", "kek-1", "kek-2"} {
		if !slices.Contains(server.KMSMet["vault"], idOf(key)) {
			t.Errorf("%s is not among %v", key, server.KMSMet)
		}
	}
}
