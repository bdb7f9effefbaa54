package plane

import (
	"fmt"
	"net"
	"strconv"
)

// maxAPIServers is how many apiservers a plane can have, as many as the control planes of most clusters.
const maxAPIServers = 3

// apiserver is one of the apiservers of a plane.
type apiserver struct {
	// name is that of the process.
	name string
	// hostname is what the apiserver makes its identity of; empty is the machine's own.
	hostname string
	ip       string
	port     int
	// advertise is its address for the EndpointSlice of the service kubernetes, where it writes
	// it if it is announced.
	advertise string
	announced bool
	// encryption is its EncryptionConfiguration; empty is none.
	encryption string
}

// apiserverName is the name of the process by its index: kube-apiserver, kube-apiserver-2, …
// A plane keeps the identity of its first one whatever the number of the others is.
func apiserverName(index int) string {
	if index == 0 {
		return APIServer
	}
	return APIServer + "-" + strconv.Itoa(index+1)
}

// namespaceAddress is the address of an apiserver inside the plane's own network namespace.
func namespaceAddress(index int) string {
	return fmt.Sprintf("10.250.0.%d", 11+index)
}

func (s *Spec) apiserverNames() []string {
	var out []string
	for index := range s.apiservers() {
		out = append(out, apiserverName(index))
	}
	return out
}

// Addresses are those that the network namespace of the plane must have besides loopback.
func (s *Spec) Addresses() []string {
	var out []string
	for index := range s.apiservers() {
		out = append(out, namespaceAddress(index))
	}
	return out
}

// apiservers is how many there are. A plane of before the setting has one.
func (s *Spec) apiservers() int {
	if s.EtcdOnly {
		return 0
	}
	return max(1, s.APIServers)
}

func (p *Plane) apiservers() []apiserver {
	var out []apiserver
	for index := range p.spec.apiservers() {
		name := apiserverName(index)
		one := apiserver{name: name, ip: "127.0.0.1", encryption: p.spec.EncryptionProviderConfig}
		if file, ok := p.spec.EncryptionProviderConfigOf[name]; ok {
			one.encryption = file
		}
		if index > 0 {
			one.hostname = name
		}
		if p.spec.NetNS {
			one.ip, one.port = namespaceAddress(index), p.ports.APIServer
			one.advertise, one.announced = one.ip, true
		} else {
			one.advertise = advertiseAddress()
			// The slice has one list of ports: apiservers with different ones would rewrite it for ever.
			one.announced = index == 0
			one.port = p.ports.APIServer
			if index > 0 {
				one.port = p.ports.FurtherAPIServers[index-1]
			}
		}
		out = append(out, one)
	}
	return out
}

func (a apiserver) address() string {
	return net.JoinHostPort(a.ip, strconv.Itoa(a.port))
}

func (a apiserver) server() string {
	return "https://" + a.address()
}

// advertiseAddress is what an apiserver on loopback writes in the EndpointSlice of the service
// kubernetes, which must not be a loopback address. Nobody listens there. A machine without a
// network gets one of the addresses reserved for documentation.
func advertiseAddress() string {
	addresses, err := net.InterfaceAddrs()
	if err == nil {
		for _, a := range addresses {
			if network, ok := a.(*net.IPNet); ok && network.IP.To4() != nil && network.IP.IsGlobalUnicast() {
				return network.IP.String()
			}
		}
	}
	return "192.0.2.1"
}
