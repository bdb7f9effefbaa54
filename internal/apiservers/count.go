package apiservers

import (
	"fmt"
	"slices"
	"strings"
)

// countServers settles how many apiservers there must be, and which of them gave no answer.
func (s *Survey) countServers(a *Agreement) {
	live := s.live()
	a.Counted = s.LeasesRead && len(live) > 0
	var (
		doubtful  []Server // answered, and may be one that answered under another address
		anonymous int      // answered, and no lease is known to be theirs
		strange   []string // answered, and have no lease though they tell who they are
		silent    []Server
		places    int // known addresses, those of one apiserver once
		covered   = map[string]bool{}
	)
	for _, server := range s.Servers {
		if !server.extra && (server.SameAs == "" || s.isExtra(server.SameAs)) {
			places++
		}
		switch {
		case !server.Answered:
			if !server.extra && !s.stoodFor(server) {
				silent = append(silent, server)
			}
		case server.SameAs != "":
		case server.like != "":
			doubtful = append(doubtful, server)
		default:
			a.Asked++
			switch {
			case server.Identity != "":
				covered[server.Identity] = true
			case server.ID != "":
				strange = append(strange, server.Address)
			default:
				anonymous++
			}
		}
	}
	places = max(places, len(s.Endpoints))
	a.Known = max(places, a.Asked)
	if a.Counted {
		a.Known = max(a.Known, len(live))
	}

	if a.Asked < a.Known {
		s.nameMissing(a, silent, covered, anonymous, len(doubtful))
	}
	for _, server := range doubtful {
		if a.Asked < a.Known {
			a.Unchecked = append(a.Unchecked, fmt.Sprintf("whether %s and %s are two apiservers", server.like, server.Address))
		}
	}
	s.nameLeases(a, strange)
}

// nameMissing lists who gave no answer: leases, where it is known who did, else addresses. Anonymous and doubtful answers may be
// those of any lease.
func (s *Survey) nameMissing(a *Agreement, silent []Server, covered map[string]bool, anonymous, doubtful int) {
	var uncovered []string
	for _, l := range s.live() {
		if !covered[l.Identity] {
			uncovered = append(uncovered, Server{Identity: l.Identity, Hostname: l.Hostname}.who())
		}
	}
	spare := anonymous + doubtful
	lacking := max(0, len(uncovered)-spare)
	if spare == 0 {
		a.Missing = append(a.Missing, uncovered...)
	}
	if spare > 0 || lacking < len(silent) {
		for _, server := range silent {
			a.Missing = append(a.Missing, fmt.Sprintf("%s (%s)", server.Address, server.Problem))
		}
	}
	if n := lacking - len(silent); n > 0 && spare > 0 {
		a.Missing = append(a.Missing, fmt.Sprintf("%d of %s", n, strings.Join(uncovered, ", ")))
	}
	// The EndpointSlice may have more than was given.
	if len(a.Missing) == 0 && len(s.Endpoints) > a.Asked+doubtful {
		for _, e := range s.Endpoints {
			if !slices.ContainsFunc(s.Servers, func(o Server) bool { return o.Answered && (o.Address == e || o.Advertised == e) }) {
				a.Missing = append(a.Missing, e)
			}
		}
	}
}

// stoodFor tells whether the apiserver of a silent address answered through the kubeconfig's.
func (s *Survey) stoodFor(silent Server) bool {
	return slices.ContainsFunc(s.Servers, func(o Server) bool {
		return o.extra && o.Answered && o.SameAs == "" && o.Advertised == silent.Address
	})
}

func (s *Survey) isExtra(address string) bool {
	return slices.ContainsFunc(s.Servers, func(o Server) bool { return o.extra && o.Address == address })
}

// nameLeases says what the leases leave open.
func (s *Survey) nameLeases(a *Agreement, strange []string) {
	switch {
	case !s.LeasesRead:
		a.Unchecked = append(a.Unchecked, "how many apiservers there are: reading their leases: "+s.LeasesProblem)
		if !s.EndpointsRead {
			a.Unchecked = append(a.Unchecked, "where the apiservers are: reading the EndpointSlices kubernetes: "+s.EndpointsProblem)
		}
		return
	case !a.Counted:
		a.Unchecked = append(a.Unchecked, "how many apiservers there are: no live lease says that one is there")
		return
	}
	for _, address := range strange {
		a.Unchecked = append(a.Unchecked, fmt.Sprintf("whether %s is an apiserver of this cluster: it has no lease", address))
	}
	for _, l := range s.Leases {
		switch who := (Server{Identity: l.Identity, Hostname: l.Hostname}).who(); {
		case l.Gone:
			a.Gone = append(a.Gone, who)
		case !l.Live && !s.EndpointsRead:
			a.Unchecked = append(a.Unchecked, fmt.Sprintf("whether %s is gone: reading the EndpointSlices kubernetes: %s", who, s.EndpointsProblem))
		}
	}
}
