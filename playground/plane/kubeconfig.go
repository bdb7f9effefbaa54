package plane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// kubeconfig is one file to write.
type kubeconfig struct {
	path, user, server string
}

// kubeconfigs are one per user, all with the first apiserver, and where there are several
// apiservers the admin's for each of them.
func (p *Plane) kubeconfigs() []kubeconfig {
	apiservers := p.apiservers()
	first := apiservers[0].server()
	out := []kubeconfig{
		{p.layout.Kubeconfig(), adminUser, first},
		{p.layout.controllerManagerKubeconfig(), controllerManagerUser, first},
	}
	for _, user := range p.spec.Users {
		out = append(out, kubeconfig{p.layout.UserKubeconfig(user.Name), user.Name, first})
	}
	if len(apiservers) > 1 {
		for index, one := range apiservers {
			out = append(out, kubeconfig{p.layout.APIServerKubeconfig(index + 1), adminUser, one.server()})
		}
	}
	return out
}

// writeKubeconfigs writes them, and takes away those of apiservers that are no more.
func (p *Plane) writeKubeconfigs() error {
	bundle, err := os.ReadFile(p.certificates.ca)
	if err != nil {
		return fmt.Errorf("reading %s: %w", p.certificates.ca, err)
	}
	for number := range maxAPIServers {
		path := p.layout.APIServerKubeconfig(number + 1)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing old kubeconfig: %w", err)
		}
	}
	for _, file := range p.kubeconfigs() {
		config := clientcmdapi.NewConfig()
		config.Clusters["playground"] = &clientcmdapi.Cluster{Server: file.server, CertificateAuthorityData: bundle}
		config.AuthInfos[file.user] = &clientcmdapi.AuthInfo{Token: p.tokens[file.user]}
		config.Contexts["playground"] = &clientcmdapi.Context{Cluster: "playground", AuthInfo: file.user}
		config.CurrentContext = "playground"
		data, err := clientcmd.Write(*config)
		if err != nil {
			return fmt.Errorf("encoding kubeconfig of %s: %w", file.user, err)
		}
		if err := writeFile(file.path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// controllerManagerKubeconfig lies apart from the users' files.
func (l Layout) controllerManagerKubeconfig() string {
	return filepath.Join(l.PKI(), "kube-controller-manager.kubeconfig")
}
