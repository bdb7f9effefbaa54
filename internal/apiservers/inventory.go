package apiservers

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// alive is how old the last renewal of a live lease may be.
const alive = 2 * time.Minute

// maxItems is how many leases or slices are read: far more than a control plane has.
const maxItems = 500

const tooMany = "there are more than 500"

// takeInventory reads who there should be through one apiserver. It tells whether that one could be reached.
func (s *Survey) takeInventory(ctx context.Context, c *client, now func() time.Time) bool {
	var (
		wg               sync.WaitGroup
		leases           coordinationv1.LeaseList
		endpoints        discoveryv1.EndpointSliceList
		at               time.Time
		noLeases, noEnds *problem
	)
	wg.Go(func() {
		at, noLeases = c.getJSON(ctx, "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases",
			selecting("apiserver.kubernetes.io/identity=kube-apiserver"), "LeaseList", &leases)
	})
	wg.Go(func() {
		_, noEnds = c.getJSON(ctx, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
			selecting(discoveryv1.LabelServiceName+"=kubernetes"), "EndpointSliceList", &endpoints)
	})
	wg.Wait()
	if noLeases == nil && leases.Continue != "" {
		noLeases = &problem{text: tooMany}
	}
	if noEnds == nil && endpoints.Continue != "" {
		noEnds = &problem{text: tooMany}
	}
	if s.LeasesRead = noLeases == nil; s.LeasesRead {
		if now != nil || at.IsZero() {
			at = clock(now)
		}
		s.Leases, s.LeasesProblem = readLeases(leases.Items, at), ""
	} else {
		s.LeasesProblem = noLeases.text
	}
	if s.EndpointsRead = noEnds == nil; s.EndpointsRead {
		s.Endpoints, s.EndpointsProblem = readEndpoints(endpoints.Items), ""
	} else {
		s.EndpointsProblem = noEnds.text
	}
	return (noLeases == nil || !noLeases.transport) && (noEnds == nil || !noEnds.transport)
}

func clock(now func() time.Time) time.Time {
	if now == nil {
		return time.Now()
	}
	return now()
}

func selecting(labels string) string {
	return url.Values{"labelSelector": {labels}, "limit": {strconv.Itoa(maxItems)}}.Encode()
}

func readLeases(items []coordinationv1.Lease, now time.Time) []Lease {
	var leases []Lease
	for _, item := range items {
		l := Lease{
			Identity: item.Name,
			ID:       idOf(item.Name),
			Hostname: item.Labels[corev1.LabelHostname],
			Address:  item.Annotations[corev1.AnnotationPeerAdvertiseAddress],
		}
		if item.Spec.RenewTime != nil {
			l.RenewedAt = item.Spec.RenewTime.Time
		}
		// A renewal in the future is one by a clock that goes fast.
		l.Live = now.Sub(l.RenewedAt) <= alive
		leases = append(leases, l)
	}
	slices.SortFunc(leases, func(a, b Lease) int { return strings.Compare(a.Identity, b.Identity) })
	return leases
}

// idOf is the label apiserver_id_hash of the apiserver with a lease of that name.
func idOf(identity string) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(identity)))
}

func readEndpoints(items []discoveryv1.EndpointSlice) []string {
	var addresses []string
	for _, slice := range items {
		for _, port := range slice.Ports {
			if port.Port == nil || port.Name == nil || *port.Name != "https" {
				continue
			}
			for _, e := range slice.Endpoints {
				if e.Conditions.Ready != nil && !*e.Conditions.Ready {
					continue
				}
				for _, a := range e.Addresses {
					addresses = append(addresses, net.JoinHostPort(a, strconv.Itoa(int(*port.Port))))
				}
			}
		}
	}
	slices.Sort(addresses)
	return slices.Compact(addresses)
}
