package plane

import (
	"fmt"
	"strings"
)

// Exports are the lines to source in a shell so that etcdctl, kubectl and svmctl find the plane.
// What this plane does not have is unset, lest it come from another one.
func (p *Plane) Exports() string {
	certs := p.certificates
	var servers []string
	for _, one := range p.apiservers() {
		servers = append(servers, one.server())
	}
	variables := [][2]string{
		{"PLAYGROUND_DIR", p.layout.Dir},
		{"ETCDCTL_ENDPOINTS", p.etcdURL(p.ports.Etcd)},
		{"ETCDCTL_CACERT", certs.etcdCA},
		{"ETCDCTL_CERT", certs.etcdClient.Cert},
		{"ETCDCTL_KEY", certs.etcdClient.Key},
		{"KUBECONFIG", p.layout.Kubeconfig()},
		{"PLAYGROUND_APISERVERS", strings.Join(servers, ",")},
	}
	var out strings.Builder
	for _, variable := range variables {
		name, value := variable[0], variable[1]
		switch {
		case p.spec.NoEtcdTLS && (name == "ETCDCTL_CACERT" || name == "ETCDCTL_CERT" || name == "ETCDCTL_KEY"),
			p.spec.EtcdOnly && (name == "KUBECONFIG" || name == "PLAYGROUND_APISERVERS"):
			fmt.Fprintf(&out, "unset %s\n", name)
		default:
			fmt.Fprintf(&out, "export %s=%s\n", name, quote(value))
		}
	}
	if p.spec.EtcdAuth {
		for _, user := range []string{etcdRoot, etcdReader} {
			fmt.Fprintf(&out, "# etcd user %s: etcdctl --user %s --password \"$(cat %s)\"\n",
				user, user, quote(p.layout.EtcdPassword(user)))
		}
	}
	return out.String()
}

// quote leaves plain words as they are.
func quote(value string) string {
	if !strings.ContainsFunc(value, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._:,-", r)
	}) {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// unquote takes back what quote did.
func unquote(value string) string {
	if !strings.HasPrefix(value, "'") {
		return value
	}
	return strings.ReplaceAll(value[1:len(value)-1], `'\''`, "'")
}
