package plane

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// apiserverUser begins the names that no user may have, for the sake of APIServerKubeconfig.
const apiserverUser = "apiserver-"

// Layout names the files of a plane under one directory.
type Layout struct {
	// Dir is absolute.
	Dir string
}

// NewLayout returns the layout of dir, which need not exist.
func NewLayout(dir string) (Layout, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return Layout{}, fmt.Errorf("resolving %s: %w", dir, err)
	}
	return Layout{Dir: absolute}, nil
}

// Create makes the directories. They hold keys and tokens, so they are for the owner only.
func (l Layout) Create() error {
	for _, dir := range []string{l.Dir, l.PKI(), l.logs(), l.etcdData()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("creating %s: %w", dir, err)
		}
	}
	return nil
}

// PKI is the directory of certificates and keys.
func (l Layout) PKI() string { return l.path("pki") }

// Log is the log file of a process.
func (l Layout) Log(name string) string { return filepath.Join(l.logs(), name+".log") }

// Lock is held by the supervisor while it lives.
func (l Layout) Lock() string { return l.path("lock") }

// Env is the file to source in a shell.
func (l Layout) Env() string { return l.path("env") }

// Kubeconfig is the admin's.
func (l Layout) Kubeconfig() string { return l.path("kubeconfig") }

// UserKubeconfig is that of a user given with --user.
func (l Layout) UserKubeconfig(name string) string { return l.path("kubeconfig-" + name) }

// APIServerKubeconfig is the admin's with one of several apiservers, counted from 1.
func (l Layout) APIServerKubeconfig(number int) string {
	return l.UserKubeconfig(apiserverUser + strconv.Itoa(number))
}

// EtcdPassword is the file with the password of an etcd user.
func (l Layout) EtcdPassword(user string) string { return l.path("etcd-" + user + "-password") }

// KMSKeys is the file with the keys of a KMS plugin.
func (l Layout) KMSKeys(name string) string { return l.path("kms-" + name + ".json") }

// WebhookCertificate is the pair for a webhook server on the loopback address.
func (l Layout) WebhookCertificate() (cert, key string) {
	return filepath.Join(l.PKI(), "webhook.crt"), filepath.Join(l.PKI(), "webhook.key")
}

// CA verifies the apiserver and the webhook.
func (l Layout) CA() string { return filepath.Join(l.PKI(), "ca.crt") }

func (l Layout) logs() string        { return l.path("logs") }
func (l Layout) etcdData() string    { return l.path("etcd") }
func (l Layout) state() string       { return l.path("state.json") }
func (l Layout) socket() string      { return l.path("control.sock") }
func (l Layout) tokens() string      { return l.path("tokens.csv") }
func (l Layout) auditPolicy() string { return l.path("audit-policy.yaml") }

// auditLog is that of an apiserver: audit.log of the first.
func (l Layout) auditLog(process string) string {
	if process == APIServer {
		return l.path("audit.log")
	}
	return l.path("audit-" + process + ".log")
}

func (l Layout) path(name string) string { return filepath.Join(l.Dir, name) }

// writeFile replaces a file in one step, so that no reader sees half of it.
func writeFile(path string, data []byte, mode os.FileMode) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, data, mode); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
