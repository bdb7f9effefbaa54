package apiservers

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
)

// Ask asks every apiserver that it can find, all at once. It never fails: what could not be read is said in the
// Survey. Every answer is waited for 10 s at most; when ctx ends, what is there is returned.
func Ask(ctx context.Context, req Request) *Survey {
	s := &Survey{given: len(req.Addresses) > 0}
	own := ownTarget(req.Config)
	reached := s.takeInventoryThrough(ctx, own, req)

	var targets []target
	if s.given {
		for _, a := range req.Addresses {
			targets = append(targets, givenTarget(req.Config, a))
		}
	} else {
		for _, a := range s.Endpoints {
			targets = append(targets, endpointTarget(req.Config, a))
		}
	}
	slices.SortStableFunc(targets, func(a, b target) int { return strings.Compare(a.server.Address, b.server.Address) })
	targets = slices.CompactFunc(targets, func(a, b target) bool { return a.server.Address == b.server.Address })
	if i := slices.IndexFunc(targets, func(t target) bool { return t.server.Address == own.server.Address }); i >= 0 {
		targets[i] = own
	} else {
		own.server.extra = true
		targets = append(targets, own)
	}

	servers := make([]Server, len(targets))
	var wg sync.WaitGroup
	for i := range targets {
		wg.Go(func() { servers[i] = targets[i].ask(ctx, req) })
	}
	wg.Wait()
	s.Servers = servers
	for i := range targets {
		if !reached && targets[i].server.Address != own.server.Address && servers[i].Answered {
			way := target{server: servers[i], ways: []*rest.Config{servers[i].cfg}}
			reached = s.takeInventoryThrough(ctx, way, req)
		}
	}
	s.settle()
	return s
}

func (s *Survey) takeInventoryThrough(ctx context.Context, t target, req Request) bool {
	c, p := newClient(t.ways[0])
	if p != nil {
		s.LeasesProblem, s.EndpointsProblem = p.text, p.text
		return false
	}
	return s.takeInventory(ctx, c, req.Now)
}

// settle finds out who is who: which addresses lead to one apiserver, and which lease is whose.
func (s *Survey) settle() {
	silent := func(o Server) bool { return !o.Answered && !o.extra }
	others := func(o Server) bool { return !o.extra }
	if slices.ContainsFunc(s.Servers, others) && !slices.ContainsFunc(s.Servers, silent) {
		s.Servers = slices.DeleteFunc(s.Servers, func(o Server) bool { return o.extra })
	}
	for i := range s.Servers {
		server := &s.Servers[i]
		if l := s.leaseOf(*server); l != nil && server.Answered {
			server.Identity, server.Hostname = l.Identity, l.Hostname
			l.Live = true
		}
	}
	// Of two that are one, that which tells who it is stands for both, and a known address rather than the kubeconfig's, which
	// may be a load balancer's.
	slices.SortFunc(s.Servers, func(a, b Server) int {
		return cmp.Or(-compareBool(a.Identity != "", b.Identity != ""), compareBool(a.extra, b.extra), strings.Compare(a.Address, b.Address))
	})
	for i := range s.Servers {
		s.Servers[i].SameAs, s.Servers[i].like = s.twin(i)
	}
	for i := range s.Leases {
		s.Leases[i].Gone = !s.Leases[i].Live && s.noPlaceFor(s.Leases[i])
	}
	slices.SortFunc(s.Servers, func(a, b Server) int { return strings.Compare(a.Address, b.Address) })
}

// twin finds an apiserver before i that is the same one as i, or may be.
func (s *Survey) twin(i int) (same, like string) {
	b := s.Servers[i]
	for _, a := range s.Servers[:i] {
		if a.SameAs != "" || !a.Answered || !b.Answered {
			continue
		}
		switch s.compare(a, b) {
		case isSame:
			return a.Address, ""
		case maySame:
			like = a.Address
		}
	}
	return "", like
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

type likeness int

const (
	maySame likeness = iota
	isSame
	notSame
)

// compare tells whether two addresses led to one apiserver. Identities decide; next the start of the process, which is given in
// hundredths of a second. Addresses that apiservers give of themselves only tell them apart, as
// --external-hostname may be one for all. The EndpointSlice has each apiserver once.
func (s *Survey) compare(a, b Server) likeness {
	same := func(is bool) likeness {
		if is {
			return isSame
		}
		return notSame
	}
	switch {
	case a.ID != "" && b.ID != "":
		return same(a.ID == b.ID)
	case a.Identity != "" && b.Identity != "":
		return same(a.Identity == b.Identity)
	case a.startTime != "" && b.startTime != "":
		return same(a.startTime == b.startTime && a.Advertised == b.Advertised)
	case a.Advertised != "" && b.Advertised != "" && a.Advertised != b.Advertised:
		return notSame
	case !s.given && !a.extra && !b.extra:
		return notSame
	}
	return maySame
}

// leaseOf finds the lease of a server: by its identity, else by an address that one live lease alone names.
func (s *Survey) leaseOf(server Server) *Lease {
	var found *Lease
	for i := range s.Leases {
		l := &s.Leases[i]
		if server.ID != "" {
			if l.ID == server.ID {
				return l
			}
			continue
		}
		if l.Live && l.Address != "" && (l.Address == server.Address || l.Address == server.Advertised) {
			if found != nil {
				return nil
			}
			found = l
		}
	}
	return found
}

// noPlaceFor tells whether no address is left that could be the one of a lease that is not live.
func (s *Survey) noPlaceFor(l Lease) bool {
	if !s.EndpointsRead || slices.Contains(s.Endpoints, l.Address) && !s.isOther(l.Address) {
		return false
	}
	if len(s.Endpoints) <= len(s.live()) {
		return true
	}
	return !slices.ContainsFunc(s.Endpoints, func(a string) bool { return !s.isOther(a) })
}

// isOther tells whether an address is known to be that of an apiserver with a live lease.
func (s *Survey) isOther(address string) bool {
	for _, server := range s.Servers {
		if (server.Address == address || server.Answered && server.Advertised == address) && server.Identity != "" {
			return true
		}
	}
	return slices.ContainsFunc(s.live(), func(l Lease) bool { return l.Address == address })
}

func (s *Survey) live() []Lease {
	var live []Lease
	for _, l := range s.Leases {
		if l.Live {
			live = append(live, l)
		}
	}
	return live
}
