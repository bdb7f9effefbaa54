// Package plane lays out one control plane in a directory: its settings, ports, certificates,
// users and the command lines of its processes. It starts nothing itself.
package plane

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Spec is what a person chose with the flags of `up`.
type Spec struct {
	EtcdOnly                 bool          `json:"etcdOnly"`
	EtcdPrefix               string        `json:"etcdPrefix"`
	EtcdAuth                 bool          `json:"etcdAuth"`
	NoEtcdTLS                bool          `json:"noEtcdTLS"`
	EtcdQuota                int64         `json:"etcdQuota"`
	Fsync                    bool          `json:"fsync"`
	EtcdArgs                 []string      `json:"etcdArgs,omitempty"`
	EncryptionProviderConfig string        `json:"encryptionProviderConfig,omitempty"`
	EncryptionReloadInterval time.Duration `json:"encryptionReloadInterval,omitempty"`
	AuditLog                 bool          `json:"auditLog"`
	APIServerArgs            []string      `json:"apiserverArgs,omitempty"`
	WithoutControllerManager bool          `json:"withoutControllerManager"`
	ControllerManagerArgs    []string      `json:"controllerManagerArgs,omitempty"`
	Users                    []User        `json:"users,omitempty"`
}

// User is a user that the apiserver knows by a token.
type User struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups,omitempty"`
}

// userName keeps a name usable in a file name and in the token file.
var userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]*$`)

// AddFlags defines one flag per field, with the field's present value as the default.
func (s *Spec) AddFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&s.EtcdOnly, "etcd-only", false, "start etcd and no Kubernetes at all")
	flags.StringVar(&s.EtcdPrefix, "etcd-prefix", "/registry", "etcd key `prefix` that the apiserver stores under")
	flags.BoolVar(&s.EtcdAuth, "etcd-auth", false, "have etcd authenticate its users: root, and svmctl, who may read everything and write nothing")
	flags.BoolVar(&s.NoEtcdTLS, "no-etcd-tls", false, "serve etcd without TLS")
	flags.Int64Var(&s.EtcdQuota, "etcd-quota", 0, "size limit of etcd's database in `bytes` (0: etcd's own)")
	flags.BoolVar(&s.Fsync, "fsync", false, "let etcd wait for the disk; slower, and what real clusters do")
	flags.StringArrayVar(&s.EtcdArgs, "etcd-arg", nil, "further `flag` of etcd, repeatable")
	flags.StringVar(&s.EncryptionProviderConfig, "encryption-provider-config", "", "EncryptionConfiguration `file`; edit it in place to see it reloaded")
	flags.DurationVar(&s.EncryptionReloadInterval, "encryption-reload-interval", 0, "how often the apiserver looks at that file (0: Kubernetes' own 1m)")
	flags.BoolVar(&s.AuditLog, "audit-log", false, "write the apiserver's audit events, level Metadata, to DIR/audit.log")
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
		"etcd-prefix":                func() { s.EtcdPrefix = flagged.EtcdPrefix },
		"etcd-auth":                  func() { s.EtcdAuth = flagged.EtcdAuth },
		"no-etcd-tls":                func() { s.NoEtcdTLS = flagged.NoEtcdTLS },
		"etcd-quota":                 func() { s.EtcdQuota = flagged.EtcdQuota },
		"fsync":                      func() { s.Fsync = flagged.Fsync },
		"etcd-arg":                   func() { s.EtcdArgs = flagged.EtcdArgs },
		"encryption-provider-config": func() { s.EncryptionProviderConfig = flagged.EncryptionProviderConfig },
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
	if s.EncryptionReloadInterval < 0 {
		return fmt.Errorf("--encryption-reload-interval: %s is negative", s.EncryptionReloadInterval)
	}
	if s.EncryptionReloadInterval > 0 && s.EncryptionProviderConfig == "" {
		return errors.New("--encryption-reload-interval needs --encryption-provider-config")
	}
	return nil
}

// ParseUser parses NAME[:GROUP,…].
func ParseUser(value string) (User, error) {
	name, groups, found := strings.Cut(value, ":")
	if !userName.MatchString(name) {
		return User{}, fmt.Errorf("user name %q: want letters, digits and ._@-", name)
	}
	if slices.ContainsFunc(internalUsers(), func(u User) bool { return u.Name == name }) {
		return User{}, fmt.Errorf("user name %q: the playground has that one itself", name)
	}
	user := User{Name: name}
	if !found {
		return user, nil
	}
	for group := range strings.SplitSeq(groups, ",") {
		if group == "" {
			return User{}, fmt.Errorf("user %q: empty group", value)
		}
		user.Groups = append(user.Groups, group)
	}
	return user, nil
}

// userList is the flag value of --user.
type userList struct {
	users *[]User
}

func (l *userList) Set(value string) error {
	if value == "" { // --user= forgets the users of an earlier `up`
		return nil
	}
	user, err := ParseUser(value)
	if err != nil {
		return err
	}
	*l.users = append(*l.users, user)
	return nil
}

func (l *userList) String() string { return "" }

func (l *userList) Type() string { return "user" }
