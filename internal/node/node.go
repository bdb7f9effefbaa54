// Package node says what the files of a control-plane node tell of its apiserver: where its etcd is, which certificate
// files it goes there with, and how it encrypts. It never dials, never opens a certificate, a key, a kubeconfig or an
// EncryptionConfiguration, and never prints.
package node

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
)

// Values of Facts.Distribution.
const (
	Kubeadm        = "kubeadm"
	K3s            = "k3s"
	RKE2           = "rke2"
	OpenShift      = "openshift"
	StaticManifest = "static manifest" // an unknown distribution whose apiserver is a static Pod
)

// ErrNone is returned when nothing on the host tells of an apiserver.
var ErrNone = errors.New("this is no control-plane node")

// Facts are what the files say. All paths are absolute paths of the host, and empty where there is none. A file that is
// named need not be there, nor be readable.
type Facts struct {
	Distribution string
	// Files are those that were read, the apiserver's own first.
	Files []string
	// Endpoints are addresses of etcd as clientv3 takes them: http, https, unix and unixs URLs, or host:port. Empty when
	// the files name none; Warnings then says why.
	Endpoints []string
	// CACert, Cert and Key are the files with which the apiserver trusts etcd, and is trusted.
	CACert, Cert, Key string
	// Prefixes are the storage roots that the apiserver was told, with a leading slash and, but for "/", no trailing one. Empty:
	// it uses its default. Other apiservers may keep their objects in the same etcd below other roots, as OpenShift's do.
	Prefixes []string
	// EncryptionConfig is the EncryptionConfiguration.
	EncryptionConfig string
	// EncryptionTold is true when an empty EncryptionConfig means that the apiserver has none.
	EncryptionTold bool
	// Kubeconfig is an administrator's, and is there.
	Kubeconfig string
	// Overrides are those of --etcd-servers-overrides.
	Overrides []Override
	// OverridesTold is true when all flags of the apiserver were seen, so that Overrides are all there are.
	OverridesTold bool
	// Warnings are made of fixed words, names of flags, and paths.
	Warnings []string
}

// Find reads the files of the host whose root is host: static Pods, or else what k3s and rke2 keep. It returns ErrNone
// when there is no apiserver; any other error names a file that could not be read or understood, and nothing of what is
// in it.
func Find(host fs.FS) (Facts, error) {
	t := tree{host}
	var (
		found  Facts
		taken  bool
		doubts []error
	)
	for _, look := range []func(tree) (Facts, error){kubernetesManifests, rke2.find, k3s.find} {
		facts, err := look(t)
		var d doubt
		switch {
		case errors.Is(err, ErrNone):
		case errors.As(err, &d):
			doubts = append(doubts, d.error)
		case err != nil && !taken:
			return Facts{}, err
		case err != nil:
			found.warn("%v", err)
		case taken:
			found.warn("%s tells of another apiserver, of %s: left aside", facts.Files[0], facts.Distribution)
		default:
			found, taken = facts, true
		}
	}
	if !taken {
		return Facts{}, cmp.Or(append(doubts, ErrNone)...)
	}
	for _, err := range doubts {
		found.warn("%v", err)
	}
	return found, nil
}

// doubt is an error of a file that need not be an apiserver's. It is Find's when nothing else is.
type doubt struct{ error }

func (f *Facts) warn(format string, args ...any) {
	f.Warnings = append(f.Warnings, fmt.Sprintf(format, args...))
}
