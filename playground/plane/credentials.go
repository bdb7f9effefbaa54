package plane

import (
	"crypto/rand"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/svmctl/svmctl/playground/pki"
)

const (
	adminUser             = "admin"
	controllerManagerUser = "system:kube-controller-manager"
)

// internalUsers are those that every plane has. The controller manager is an administrator here:
// it runs without service accounts, and its controllers act under its own name.
func internalUsers() []User {
	return []User{
		{Name: adminUser, Groups: []string{"system:masters"}},
		{Name: controllerManagerUser, Groups: []string{"system:masters"}},
	}
}

// certificates are the files that the processes are pointed at.
type certificates struct {
	ca, etcdCA string

	etcdServer, etcdClient, apiserverEtcdClient pki.Files
	apiserver, controllerManager                pki.Files

	serviceAccountPublic, serviceAccountPrivate string
}

// issue makes what is missing. The webhook's certificate is issued with the rest because the
// authority's key is at hand here; its server is a process that others start.
func issue(layout Layout, spec Spec) (certificates, error) {
	etcdCA, err := pki.OpenAuthority(layout.PKI(), "etcd-ca")
	if err != nil {
		return certificates{}, err
	}
	ca, err := pki.OpenAuthority(layout.PKI(), "ca")
	if err != nil {
		return certificates{}, err
	}
	certs := certificates{ca: ca.CertFile, etcdCA: etcdCA.CertFile}
	loopback := []string{"127.0.0.1", "::1", "localhost"}
	apiserver := pki.Leaf{Name: "apiserver", CommonName: "kube-apiserver", Hosts: append([]string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", serviceIP,
	}, loopback...)}
	if spec.NetNS {
		// A certificate of its own: a directory that held a plane before has one without these addresses.
		apiserver.Name = "apiserver-netns"
		for index := range maxAPIServers {
			apiserver.Hosts = append(apiserver.Hosts, namespaceAddress(index))
		}
	}
	var webhook pki.Files
	for _, wanted := range []struct {
		files     *pki.Files
		authority *pki.Authority
		leaf      pki.Leaf
	}{
		{&certs.etcdServer, etcdCA, pki.Leaf{Name: "etcd-server", CommonName: "etcd", Hosts: loopback}},
		// With --etcd-auth the common name is the etcd user: root for the apiserver, and for
		// everybody else one that etcd does not know, so that they have to give a password.
		{&certs.apiserverEtcdClient, etcdCA, pki.Leaf{Name: "apiserver-etcd-client", CommonName: "root"}},
		{&certs.etcdClient, etcdCA, pki.Leaf{Name: "etcd-client", CommonName: "etcd-client"}},
		{&certs.apiserver, ca, apiserver},
		{&certs.controllerManager, ca, pki.Leaf{Name: "kube-controller-manager", CommonName: "kube-controller-manager", Hosts: loopback}},
		{&webhook, ca, pki.Leaf{Name: "webhook", CommonName: "webhook", Hosts: loopback}},
	} {
		if *wanted.files, err = wanted.authority.Issue(wanted.leaf); err != nil {
			return certificates{}, err
		}
	}
	certs.serviceAccountPublic, certs.serviceAccountPrivate, err = pki.OpenKeyPair(layout.PKI(), "service-account")
	return certs, err
}

// writeTokens writes the apiserver's token file and returns the token of each user.
// A user who had a token keeps it.
func writeTokens(layout Layout, users []User) (map[string]string, error) {
	tokens, err := readTokens(layout.tokens())
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	writer := csv.NewWriter(&out)
	for _, user := range users {
		if tokens[user.Name] == "" {
			tokens[user.Name] = rand.Text()
		}
		record := []string{tokens[user.Name], user.Name, "uid-" + user.Name}
		if len(user.Groups) > 0 {
			record = append(record, strings.Join(user.Groups, ","))
		}
		writer.Write(record)
	}
	writer.Flush()
	if err := writer.Error(); err != nil {
		return nil, fmt.Errorf("encoding tokens: %w", err)
	}
	return tokens, writeFile(layout.tokens(), []byte(out.String()), 0o600)
}

func readTokens(path string) (map[string]string, error) {
	tokens := map[string]string{}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return tokens, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading tokens: %w", err)
	}
	defer file.Close()
	reader := csv.NewReader(file)
	reader.FieldsPerRecord = -1
	records, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("parsing %s: %w", path, err)
	}
	for _, record := range records {
		if len(record) >= 2 {
			tokens[record[1]] = record[0]
		}
	}
	return tokens, nil
}
