package plane

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are on 127.0.0.1, but for those of apiservers in a network namespace of their own. They lie below the range from which Linux takes the ports of outgoing
// connections, so that nobody gets one by accident while its process is down.
type Ports struct {
	Etcd              int `json:"etcd"`
	EtcdPeer          int `json:"etcdPeer"`
	APIServer         int `json:"apiserver"`
	ControllerManager int `json:"controllerManager"`
	// FurtherAPIServers are those of kube-apiserver-2 and so on, as far as there were any.
	FurtherAPIServers [maxAPIServers - 1]int `json:"furtherAPIServers,omitzero"`
}

const (
	firstPort = 20000
	lastPort  = 29999
	// portTries is enough to find a free one unless nearly all are taken.
	portTries = 200
)

// choose keeps each port that is free and replaces the others. Further is how many apiservers
// need a port besides the first.
func (p Ports) choose(further int) (Ports, error) {
	wanted := []*int{&p.Etcd, &p.EtcdPeer, &p.APIServer, &p.ControllerManager}
	for index := range further {
		wanted = append(wanted, &p.FurtherAPIServers[index])
	}
	taken := map[int]bool{}
	for _, port := range wanted {
		for tries := 0; *port == 0 || taken[*port] || !free(*port); tries++ {
			if tries == portTries {
				return Ports{}, fmt.Errorf("choosing a port: none is free between %d and %d", firstPort, lastPort)
			}
			*port = firstPort + rand.IntN(lastPort-firstPort+1)
		}
		taken[*port] = true
	}
	return p, nil
}

func free(port int) bool {
	listener, err := net.Listen("tcp", address(port))
	if err != nil {
		return false
	}
	listener.Close()
	return true
}

func address(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
