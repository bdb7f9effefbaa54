// Package apiservers asks every kube-apiserver of a control plane itself what it would write: the storage version of
// each resource, the EncryptionConfiguration in force, and the key that a KMS plugin offers.
//
// It reads discovery, metrics, identity leases and the EndpointSlices of the service kubernetes, no object of a user,
// and writes nothing. What could not be read is said in the Survey; what to do about it is the caller's decision.
package apiservers

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// Request is whom to ask, and for what.
type Request struct {
	Config *rest.Config // as the kubeconfig has it; its credentials go to every apiserver that its CA vouches for

	// Addresses are given ones, as host:port or https URL: see ParseAddress. None: those of the EndpointSlices
	// `kubernetes` in the namespace default, and the kubeconfig's own where these cannot be reached.
	Addresses []string

	Resources []schema.GroupResource // whose storage version to read; nil: that of every resource served
	Flags     bool                   // read the flags as well
	Now       func() time.Time       // by which leases are judged; nil: the clock of the apiserver that lists them
}

// Survey is what the apiservers said. The zero value: nothing is known.
type Survey struct {
	Servers []Server // every address that is known, whether it answered or not, sorted

	Leases        []Lease // of kube-apiservers in kube-system, sorted; meaningless unless LeasesRead
	LeasesRead    bool
	LeasesProblem string // why not, in fixed words

	Endpoints        []string // ready addresses of the EndpointSlices, as host:port, sorted; meaningless unless EndpointsRead
	EndpointsRead    bool
	EndpointsProblem string // why not, in fixed words

	given bool // the addresses came with the request
}

// Server is one address, and what the apiserver there said.
type Server struct {
	Address  string // host:port; behind a proxy with the path of the given URL
	Own      bool   // the address is the kubeconfig's
	Answered bool   // it told what groups it serves; false: see Problem
	Problem  string // why it did not answer, in fixed words

	// SameAs is the address of another Server that proved to be this very apiserver, as behind a load balancer.
	SameAs string

	ID         string // sha256:… of the identity, as its metrics have it; empty: not known
	Identity   string // the name of its lease, if that is known
	Hostname   string // of that lease
	Advertised string // the address that it gives to others, as host:port; a cluster may have one name for all
	Version    string // such as v1.37.2, as its metrics have it

	MetricsRead    bool
	MetricsProblem string // why not, in fixed words

	EncryptionConfig string            // sha256:… of the EncryptionConfiguration's bytes in force; see Encryption
	ReloadedAt       time.Time         // when it last loaded another one without a restart; zero: never, or not known
	KMSKeyIDs        map[string]string // KMS v2 provider → sha256:… of the keyID that its plugin offered last
	KMSSilent        []string          // KMS v2 providers whose plugin has named no keyID for some minutes, sorted

	KMSMet map[string][]string // KMS v2 provider → sha256:… of each keyID that it has had to do with since it was started

	Transformations []Transformation // what it has encrypted and decrypted since it was started: writes first, sorted

	Flags        *Flags // nil: not known
	FlagsProblem string // why not, in fixed words; empty when nobody asked

	extra      bool // asked beside the known addresses, as one of them was silent
	like       string
	startTime  string    // of the process, as its metrics have it
	kmsUnready string    // why the keys of KMSKeyIDs may not be in use yet, in fixed words; empty: they are
	toldAt     time.Time // by its own clock, when its metrics were read
	otherKeyAt time.Time // when it last encrypted with a KMS v2 key that is no longer its plugin's; zero: never, or not known
	resources  map[schema.GroupResource]served
	unread     map[string]string // group → why its resources are not known; key allGroups: of all groups
	cfg        *rest.Config
}

// Lease is how an apiserver says that it is there.
type Lease struct {
	Identity  string    // its name
	ID        string    // sha256:… of that
	Hostname  string    // of the machine, empty if it does not say
	Address   string    // where other apiservers reach it (Kubernetes 1.36 and later), empty if it does not say
	RenewedAt time.Time // by the apiserver's clock; apiservers renew every 10 s
	Live      bool      // renewed within the last 2 minutes, or its apiserver answered
	Gone      bool      // not live, and no address is left that could be its apiserver's
}

// served is what one apiserver says of one resource.
type served struct {
	hash     string   // storageVersionHash; empty where it gives none
	kind     string   // empty: the resource is not there
	versions []string // in which it is served
}

// StorageVersionHash is what a server says of a resource in its discovery: base64 of the first 8 bytes of sha256 of
// group/version/kind. It is empty where the server serves the resource without one, as for a custom resource whose
// storage version is not served, or not at all. A problem, in fixed words, says that it is not known.
func (s Server) StorageVersionHash(gr schema.GroupResource) (hash string, isServed bool, problem string) {
	if !s.Answered {
		return "", false, cmp.Or(s.Problem, "not asked")
	}
	for _, key := range []string{allGroups, gr.Group} {
		if p := s.unread[key]; p != "" {
			return "", false, p
		}
	}
	r, known := s.resources[gr]
	if !known {
		return "", false, "not asked for"
	}
	return r.hash, r.kind != "", ""
}

// Encryption is the EncryptionConfiguration in force: sha256:… of its bytes, or empty for none at all. A problem, in
// fixed words, says that it is not known.
func (s Server) Encryption() (hash, problem string) {
	switch {
	case !s.Answered:
		return "", cmp.Or(s.Problem, "not asked")
	case !s.MetricsRead:
		return "", "its metrics: " + s.MetricsProblem
	case s.EncryptionConfig != "":
		return s.EncryptionConfig, ""
	case len(s.KMSKeyIDs) > 0 || len(s.KMSSilent) > 0 || !tellsConfig(s.Version):
		return "", "its release has no metric for that"
	}
	return "", ""
}

// StartedAt is when its process was started, by its own clock. The zero time: not known.
func (s Server) StartedAt() time.Time {
	started, err := strconv.ParseFloat(s.startTime, 64)
	if err != nil {
		return time.Time{}
	}
	return seconds(started)
}

// LoadedAt is since when the apiserver writes as it does now, as far as that is known: it was started, loaded another
// EncryptionConfiguration, or last encrypted with a KMS key of before. The zero time: not known.
func (s Server) LoadedAt() time.Time {
	latest := s.ReloadedAt
	if started := s.StartedAt(); started.After(latest) {
		latest = started
	}
	if s.otherKeyAt.After(latest) {
		latest = s.otherKeyAt
	}
	return latest
}

// Steady is for how long, by its own clock, the apiserver has written as it does. Where that is not known it is as long as can be.
func (s Server) Steady() time.Duration {
	loaded := s.LoadedAt()
	if loaded.IsZero() {
		return math.MaxInt64
	}
	return max(0, s.toldAt.Sub(loaded))
}

// Config is how to send a request through that very apiserver, with the kubeconfig's credentials. It is nil for a
// Server that did not answer, or is of another Survey.
func (s *Survey) Config(server Server) *rest.Config {
	i := slices.IndexFunc(s.Servers, func(o Server) bool { return o.Address == server.Address && o.Own == server.Own })
	if i < 0 || !s.Servers[i].Answered {
		return nil
	}
	return rest.CopyConfig(s.Servers[i].cfg)
}

// Distinct are the apiservers that answered, each once. Those that could be another one under a second address are
// among them.
func (s *Survey) Distinct() []Server {
	var distinct []Server
	for _, server := range s.Servers {
		if server.Answered && server.SameAs == "" {
			distinct = append(distinct, server)
		}
	}
	return distinct
}

// Each are the apiservers that are known of, each once, by address: those of Distinct, and the addresses that gave no answer where none
// of these is known to have it.
func (s *Survey) Each() []Server {
	each := s.Distinct()
	for _, server := range s.Servers {
		if !server.Answered && (!server.extra && !s.stoodFor(server) || len(s.Servers) == 1) {
			each = append(each, server)
		}
	}
	slices.SortFunc(each, func(a, b Server) int { return strings.Compare(a.Address, b.Address) })
	return each
}
