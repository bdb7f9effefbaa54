package plane

import (
	"github.com/svmctl/svmctl/playground/supervisor"
)

// The names of the processes, which are those of the programs as well.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
)

// Plane is a plane whose files are all in place.
type Plane struct {
	layout       Layout
	spec         Spec
	ports        Ports
	certificates certificates
	// tokens holds the bearer token of each user; nil without Kubernetes.
	tokens map[string]string
}

// Prepare writes the files of the plane as the state says, and notes the ports it chose in it.
// Files that exist are kept or brought up to date; the etcd data is not touched.
func Prepare(layout Layout, state *State) (*Plane, error) {
	if err := layout.Create(); err != nil {
		return nil, err
	}
	further := 0
	if !state.Spec.NetNS {
		further = max(0, state.Spec.apiservers()-1)
	}
	ports, err := state.Ports.choose(further)
	if err != nil {
		return nil, err
	}
	state.Ports = ports
	certs, err := issue(layout, state.Spec)
	if err != nil {
		return nil, err
	}
	p := &Plane{layout: layout, spec: state.Spec, ports: ports, certificates: certs}
	if p.spec.EtcdAuth {
		if err := p.writeEtcdPasswords(); err != nil {
			return nil, err
		}
	}
	if !p.spec.EtcdOnly {
		p.tokens, err = writeTokens(layout, append(internalUsers(), p.spec.Users...))
		if err != nil {
			return nil, err
		}
		if err := p.writeKubeconfigs(); err != nil {
			return nil, err
		}
		if err := writeFile(layout.auditPolicy(), []byte(auditPolicy), 0o600); err != nil {
			return nil, err
		}
	}
	if err := writeFile(layout.Env(), []byte(p.Exports()), 0o600); err != nil {
		return nil, err
	}
	return p, nil
}

// Definitions are the processes in the order in which they start, all of them calls of the
// same executable.
func (p *Plane) Definitions(executable string) []supervisor.Definition {
	definitions := []supervisor.Definition{p.etcd(executable)}
	if p.spec.EtcdOnly {
		return definitions
	}
	apiservers := p.apiservers()
	for index, one := range apiservers {
		definition := p.apiserver(executable, one)
		// The first one makes what every cluster starts with; the others need not race it for that.
		definition.Together = index > 1
		definitions = append(definitions, definition)
	}
	if p.spec.WithoutControllerManager {
		return definitions
	}
	controllers := p.controllerManager(executable)
	controllers.Together = len(apiservers) > 1
	return append(definitions, controllers)
}

// given leaves out the empty strings by which a flag like --etcd-arg= takes back earlier ones.
func given(args []string) []string {
	var out []string
	for _, arg := range args {
		if arg != "" {
			out = append(out, arg)
		}
	}
	return out
}
