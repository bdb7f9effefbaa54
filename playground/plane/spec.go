// Package plane lays out one control plane in a directory: its settings, ports, certificates,
// users and the command lines of its processes. It starts nothing itself.
package plane

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Spec is what a person chose with the flags of `up`.
type Spec struct {
	EtcdOnly                 bool     `json:"etcdOnly"`
	APIServers               int      `json:"apiservers,omitempty"`
	NetNS                    bool     `json:"netns,omitempty"`
	EtcdPrefix               string   `json:"etcdPrefix"`
	EtcdAuth                 bool     `json:"etcdAuth"`
	NoEtcdTLS                bool     `json:"noEtcdTLS"`
	EtcdQuota                int64    `json:"etcdQuota"`
	Fsync                    bool     `json:"fsync"`
	EtcdArgs                 []string `json:"etcdArgs,omitempty"`
	EncryptionProviderConfig string   `json:"encryptionProviderConfig,omitempty"`
	// EncryptionProviderConfigOf is by the name of the apiserver; an empty file is none.
	EncryptionProviderConfigOf map[string]string `json:"encryptionProviderConfigOf,omitempty"`
	EncryptionReloadInterval   time.Duration     `json:"encryptionReloadInterval,omitempty"`
	AuditLog                   bool              `json:"auditLog"`
	APIServerArgs              []string          `json:"apiserverArgs,omitempty"`
	WithoutControllerManager   bool              `json:"withoutControllerManager"`
	ControllerManagerArgs      []string          `json:"controllerManagerArgs,omitempty"`
	Users                      []User            `json:"users,omitempty"`
}

// AddFlags defines one flag per field, with the field's present value as the default.
func (s *Spec) AddFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&s.EtcdOnly, "etcd-only", false, "start etcd and no Kubernetes at all")
	flags.IntVar(&s.APIServers, "apiservers", 1, "how many apiservers to start on the one etcd, up to 3; more than one needs root")
	flags.BoolVar(&s.NetNS, "netns", false, "run everything in a network namespace of its own, where each apiserver has its own address; needs root")
	flags.StringVar(&s.EtcdPrefix, "etcd-prefix", "/registry", "etcd key `prefix` that the apiserver stores under")
	flags.BoolVar(&s.EtcdAuth, "etcd-auth", false, "have etcd authenticate its users: root, and svmctl, who may read everything and write nothing")
	flags.BoolVar(&s.NoEtcdTLS, "no-etcd-tls", false, "serve etcd without TLS")
	flags.Int64Var(&s.EtcdQuota, "etcd-quota", 0, "size limit of etcd's database in `bytes` (0: etcd's own)")
	flags.BoolVar(&s.Fsync, "fsync", false, "let etcd wait for the disk; slower, and what real clusters do")
	flags.StringArrayVar(&s.EtcdArgs, "etcd-arg", nil, "further `flag` of etcd, repeatable")
	flags.StringVar(&s.EncryptionProviderConfig, "encryption-provider-config", "", "EncryptionConfiguration `file`; edit it in place to see it reloaded")
	flags.Var(&filesByName{&s.EncryptionProviderConfigOf}, "encryption-provider-config-of", "another such file for one apiserver, as `NAME=FILE` with the name of its process, repeatable; without FILE it has none")
	flags.DurationVar(&s.EncryptionReloadInterval, "encryption-reload-interval", 0, "how often the apiserver looks at that file (0: Kubernetes' own 1m)")
	flags.BoolVar(&s.AuditLog, "audit-log", false, "write the apiserver's audit events, level Metadata, to DIR/audit.log (DIR/audit-NAME.log of a further one)")
	flags.StringArrayVar(&s.APIServerArgs, "apiserver-arg", nil, "further `flag` of kube-apiserver, repeatable")
	flags.BoolVar(&s.WithoutControllerManager, "without-controller-manager", false, "start no kube-controller-manager")
	flags.StringArrayVar(&s.ControllerManagerArgs, "controller-manager-arg", nil, "further `flag` of kube-controller-manager, repeatable")
	flags.Var(&userList{users: &s.Users}, "user", "further user, as `NAME[:GROUP,…]`, with a kubeconfig of its own, repeatable")
}

// Overlay takes over from flagged those fields whose flag was given. The rest stays,
// so that `up` without flags brings back the plane as it was.
func (s *Spec) Overlay(flagged Spec, given func(flag string) bool) {
	for flag, take := range map[string]func(){
		"etcd-only":                  func() { s.EtcdOnly = flagged.EtcdOnly },
		"apiservers":                 func() { s.APIServers = flagged.APIServers },
		"netns":                      func() { s.NetNS = flagged.NetNS },
		"etcd-prefix":                func() { s.EtcdPrefix = flagged.EtcdPrefix },
		"etcd-auth":                  func() { s.EtcdAuth = flagged.EtcdAuth },
		"no-etcd-tls":                func() { s.NoEtcdTLS = flagged.NoEtcdTLS },
		"etcd-quota":                 func() { s.EtcdQuota = flagged.EtcdQuota },
		"fsync":                      func() { s.Fsync = flagged.Fsync },
		"etcd-arg":                   func() { s.EtcdArgs = flagged.EtcdArgs },
		"encryption-provider-config": func() { s.EncryptionProviderConfig = flagged.EncryptionProviderConfig },
		"encryption-provider-config-of": func() {
			s.EncryptionProviderConfigOf = flagged.EncryptionProviderConfigOf
		},
		"encryption-reload-interval": func() { s.EncryptionReloadInterval = flagged.EncryptionReloadInterval },
		"audit-log":                  func() { s.AuditLog = flagged.AuditLog },
		"apiserver-arg":              func() { s.APIServerArgs = flagged.APIServerArgs },
		"without-controller-manager": func() { s.WithoutControllerManager = flagged.WithoutControllerManager },
		"controller-manager-arg":     func() { s.ControllerManagerArgs = flagged.ControllerManagerArgs },
		"user":                       func() { s.Users = flagged.Users },
	} {
		if given(flag) {
			take()
		}
	}
}

// Validate refuses what cannot work together.
func (s *Spec) Validate() error {
	if s.EtcdAuth && s.NoEtcdTLS {
		return errors.New("--etcd-auth needs TLS: the apiserver shows etcd who it is with its certificate")
	}
	if s.APIServers < 0 || s.APIServers > maxAPIServers {
		return fmt.Errorf("--apiservers %d: want 1 to %d", s.APIServers, maxAPIServers)
	}
	for _, name := range slices.Sorted(maps.Keys(s.EncryptionProviderConfigOf)) {
		if !slices.Contains(s.apiserverNames(), name) {
			return fmt.Errorf("--encryption-provider-config-of %q: the apiservers are %s", name, strings.Join(s.apiserverNames(), ", "))
		}
	}
	if s.EncryptionReloadInterval < 0 {
		return fmt.Errorf("--encryption-reload-interval: %s is negative", s.EncryptionReloadInterval)
	}
	if s.EncryptionReloadInterval > 0 && s.EncryptionProviderConfig == "" && len(s.EncryptionProviderConfigOf) == 0 {
		return errors.New("--encryption-reload-interval needs --encryption-provider-config")
	}
	return nil
}
