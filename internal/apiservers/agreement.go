package apiservers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/svmctl/svmctl/internal/storageversion"
)

// Matter is what apiservers have to agree on.
type Matter uint8

const (
	StorageVersion Matter = 1 << iota // of the resources in question
	Encryption                        // the EncryptionConfiguration and the keys of KMS v2 plugins
)

// Question is what the apiservers have to agree on, with one another and with what is known already.
type Question struct {
	Matter    Matter
	Resources []schema.GroupResource // for StorageVersion

	// EncryptionConfig is the EncryptionConfiguration that each should have loaded, as sha256:…; empty: any.
	EncryptionConfig string
	// KMSKeyIDs are the keys that each should encrypt with, as sha256:… of the keyID, by the names of the KMS v2 providers.
	KMSKeyIDs map[string]string
	// KMSProviders are those that EncryptionConfig encrypts with, where that is known: apiservers that have loaded it may still speak of
	// others, of a file before. nil: any.
	KMSProviders []string
}

// Agreement is what may be believed of all apiservers of a control plane together.
type Agreement struct {
	// Known is how many apiservers there must be: as many as there are live leases, and no fewer than known addresses.
	// Without Counted it is only how many are known.
	Known   int  `json:"known"`
	Counted bool `json:"counted"` // there are leases, and they could be read
	Asked   int  `json:"asked"`   // those that answered, each once

	// Agree is true if every apiserver was asked and all told the same of all that was asked for, false if they differ
	// or one is missing, and nil if it is not known: Unchecked says why.
	Agree *bool `json:"agree"`

	Disagreements []Disagreement `json:"disagreements,omitempty"`
	Missing       []string       `json:"missing,omitempty"`   // apiservers that gave no answer: leases or addresses
	Gone          []string       `json:"gone,omitempty"`      // leases that are left of apiservers no longer there
	Unchecked     []string       `json:"unchecked,omitempty"` // what could not be compared and why, in fixed words and names
}

// Disagreement is one apiserver that would write otherwise than the others, or does not tell what all others tell.
type Disagreement struct {
	Server     string    `json:"server"`             // its address
	Identity   string    `json:"identity,omitempty"` // its lease and machine, if known
	What       string    `json:"what"`
	Found      string    `json:"found"`
	Others     string    `json:"others,omitempty"` // what more than half of them have; empty where no such majority is
	Wanted     string    `json:"wanted,omitempty"` // what was known to be right; empty where nothing was
	KMS        bool      `json:"-"`                // it is about the key of a KMS plugin, which apiservers ask for once a minute
	ReloadedAt time.Time `json:"reloadedAt,omitzero"`
}

// Agreement judges what was asked.
func (s *Survey) Agreement(q Question) Agreement {
	var a Agreement
	s.countServers(&a)
	servers := s.Distinct()
	if len(servers) == 0 {
		text := "no apiserver answered"
		for _, server := range s.Servers {
			text += fmt.Sprintf(", %s: %s", server.Address, server.Problem)
		}
		a.Unchecked = append(a.Unchecked, text)
	}
	if q.Matter&StorageVersion != 0 {
		for _, gr := range q.Resources {
			a.judgeVersion(servers, gr)
		}
	}
	if q.Matter&Encryption != 0 && len(servers) > 0 {
		a.judgeEncryption(servers, q)
	}
	switch {
	case len(a.Disagreements) > 0 || len(a.Missing) > 0:
		a.Agree = new(false)
	case len(a.Unchecked) == 0 && q.Matter != 0:
		a.Agree = new(true)
	}
	return a
}

// told is one apiserver's answer to one question.
type told struct {
	server Server
	value  string // compared
	shown  string
}

// compare adds a disagreement for every apiserver that differs from most, or for all where there is no most.
func (a *Agreement) compare(what string, answers []told, reloads bool) {
	count := map[string]int{}
	for _, t := range answers {
		count[t.value]++
	}
	if len(count) < 2 {
		return
	}
	var most *told
	for i, t := range answers {
		if 2*count[t.value] > len(answers) {
			most = &answers[i]
		}
	}
	for _, t := range answers {
		if most != nil && t.value == most.value {
			continue
		}
		d := Disagreement{Server: t.server.Address, Identity: t.server.who(), What: what, Found: t.shown, KMS: strings.HasPrefix(what, kmsKey)}
		if most != nil {
			d.Others = most.shown
		}
		if reloads {
			d.ReloadedAt = t.server.ReloadedAt
		}
		a.Disagreements = append(a.Disagreements, d)
	}
}

// want adds a disagreement for every answer that is not the one wanted, unless the apiserver has one about it already.
func (a *Agreement) want(what string, answers []told, wanted string) {
	if wanted == "" {
		return
	}
	for _, t := range answers {
		i := slices.IndexFunc(a.Disagreements, func(d Disagreement) bool { return d.Server == t.server.Address && d.What == what })
		switch {
		case t.value == wanted && i >= 0: // the odd one of two, or of many that lag
			a.Disagreements = slices.Delete(a.Disagreements, i, i+1)
		case t.value == wanted:
		case i >= 0:
			a.Disagreements[i].Wanted = wanted
		default:
			d := Disagreement{Server: t.server.Address, Identity: t.server.who(), What: what, Found: t.shown, Wanted: wanted, KMS: strings.HasPrefix(what, kmsKey)}
			if !d.KMS {
				d.ReloadedAt = t.server.ReloadedAt
			}
			a.Disagreements = append(a.Disagreements, d)
		}
	}
}

// inUse doubts the apiservers whose plugin has named the key that is wanted, and which may go on with the one before.
func (a *Agreement) inUse(what string, answers []told, wanted string) {
	for _, t := range answers {
		switch {
		case t.value != wanted || t.server.kmsUnready == "":
		case strings.HasPrefix(t.server.kmsUnready, "5"):
			a.Disagreements = append(a.Disagreements, Disagreement{Server: t.server.Address, Identity: t.server.who(), What: what,
				Found: "named by its plugin, and not known to be in use (" + readiness + ": " + t.server.kmsUnready + ")", KMS: true})
		default:
			a.Unchecked = append(a.Unchecked, fmt.Sprintf("%s: whether %s uses it is not known (%s: %s)", what, t.server.Address, readiness, t.server.kmsUnready))
		}
	}
}

func (s Server) who() string {
	if s.Hostname == "" {
		return s.Identity
	}
	return fmt.Sprintf("%s (%s)", s.Identity, s.Hostname)
}

func (a *Agreement) judgeVersion(servers []Server, gr schema.GroupResource) {
	what := "storage version of " + gr.String()
	var answers []told
	var untold []string
	isServed, hashed := false, false
	for _, server := range servers {
		hash, there, problem := server.StorageVersionHash(gr)
		if problem != "" {
			untold = append(untold, fmt.Sprintf("%s (%s)", server.Address, problem))
			continue
		}
		isServed, hashed = isServed || there, hashed || hash != ""
		t := told{server: server, value: hash, shown: versionOf(servers, gr, hash)}
		switch {
		case !there:
			t.value, t.shown = "not served", "not served"
		case hash == "":
			t.shown = "not told"
		}
		answers = append(answers, t)
	}
	a.compare(what, answers, false)
	switch {
	case len(untold) > 0:
		a.Unchecked = append(a.Unchecked, what+": not told by "+strings.Join(untold, ", "))
	case len(answers) > 0 && !isServed:
		a.Unchecked = append(a.Unchecked, what+": no apiserver serves it")
	case len(answers) > 0 && !hashed:
		a.Unchecked = append(a.Unchecked, what+": the apiservers do not tell it, as where that version is not served")
	}
}

// versionOf gives a hash as the version that any of the apiservers serves, or that Kubernetes ever used, if one has it.
func versionOf(servers []Server, gr schema.GroupResource, hash string) string {
	for _, server := range servers {
		r := server.resources[gr]
		if apiVersion, ok := storageversion.Recover(hash, r.kind, []string{gr.Group}, r.versions); ok {
			return apiVersion
		}
	}
	return "storageVersionHash " + hash
}

const (
	encryptionConfiguration = "EncryptionConfiguration"
	kmsKey                  = "key of the KMS provider "
)

func (a *Agreement) judgeEncryption(servers []Server, q Question) {
	var answers []told
	var untold []Server
	var reasons []string
	for _, server := range servers {
		hash, problem := server.Encryption()
		if problem != "" {
			untold = append(untold, server)
			reasons = append(reasons, problem)
			continue
		}
		t := told{server: server, value: hash, shown: hash}
		if hash == "" {
			t.shown = "none"
		}
		answers = append(answers, t)
	}
	a.compare(encryptionConfiguration, answers, true)
	a.want(encryptionConfiguration, answers, q.EncryptionConfig)
	if len(answers) == 0 {
		slices.Sort(reasons)
		a.Unchecked = append(a.Unchecked, fmt.Sprintf("%s: not told by %d of %d apiservers (%s)",
			encryptionConfiguration, len(untold), len(servers), strings.Join(slices.Compact(reasons), ", ")))
		return
	}
	// One that keeps silent among others that do not is the one to fear.
	for i, server := range untold {
		a.Disagreements = append(a.Disagreements, Disagreement{Server: server.Address, Identity: server.who(),
			What: encryptionConfiguration, Found: "not told (" + reasons[i] + ")"})
	}
	a.judgeKMS(servers, q)
}

// judgeKMS compares the keys that plugins offer. A provider that is not in a server's EncryptionConfiguration is no matter of
// its own: the configurations differ then.
func (a *Agreement) judgeKMS(servers []Server, q Question) {
	wanted := q.KMSKeyIDs
	loaded := q.EncryptionConfig != "" && q.KMSProviders != nil && !slices.ContainsFunc(servers, func(s Server) bool { return s.EncryptionConfig != q.EncryptionConfig })
	configs := map[string][]string{} // provider → configurations that have it
	for _, server := range servers {
		for provider := range server.KMSKeyIDs {
			configs[provider] = append(configs[provider], server.EncryptionConfig)
		}
		for _, provider := range server.KMSSilent {
			configs[provider] = append(configs[provider], server.EncryptionConfig)
		}
	}
	var providers []string
	for provider := range configs {
		providers = append(providers, provider)
	}
	for provider := range wanted {
		if configs[provider] == nil {
			providers = append(providers, provider)
		}
	}
	slices.Sort(providers)
	for _, provider := range providers {
		if loaded && !slices.Contains(q.KMSProviders, provider) {
			continue
		}
		what := fmt.Sprintf(kmsKey+"%q", provider)
		var answers []told
		var untold []Server
		for _, server := range servers {
			if id, ok := server.KMSKeyIDs[provider]; ok {
				answers = append(answers, told{server: server, value: id, shown: id})
			} else if slices.Contains(configs[provider], server.EncryptionConfig) && server.EncryptionConfig != "" {
				untold = append(untold, server)
			}
		}
		a.compare(what, answers, false)
		a.want(what, answers, wanted[provider])
		a.inUse(what, answers, wanted[provider])
		if len(answers) == 0 {
			a.Unchecked = append(a.Unchecked, what+": its plugin names none to any apiserver")
			continue
		}
		for _, server := range untold {
			a.Disagreements = append(a.Disagreements, Disagreement{Server: server.Address, Identity: server.who(), What: what,
				Found: "not told (its plugin has named none for minutes)"})
		}
	}
}
