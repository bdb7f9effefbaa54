package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
)

// etcdFlags are etcdctl's, with its environment variables.
type etcdFlags struct {
	endpoints []string
	config    live.Config
	prefixes  []string
	snapshots []string // files in place of an etcd
	stream    bool     // read a snapshot that etcd is asked for
	env       func(string) (string, bool)
}

func addEtcdFlags(fs *pflag.FlagSet, env func(string) (string, bool)) *etcdFlags {
	f := &etcdFlags{env: env}
	fs.StringSliceVar(&f.endpoints, "endpoints", nil, "etcd `URL`s, comma-separated (ETCDCTL_ENDPOINTS)")
	fs.StringVar(&f.config.CACert, "cacert", "", "PEM `file` with the authority of etcd's certificate (ETCDCTL_CACERT)")
	fs.StringVar(&f.config.Cert, "cert", "", "PEM `file` with the client certificate for etcd (ETCDCTL_CERT)")
	fs.StringVar(&f.config.Key, "key", "", "PEM `file` with the key of that certificate (ETCDCTL_KEY)")
	fs.StringVar(&f.config.User, "etcd-user", "", "`name` of an etcd user, where etcd authenticates by password")
	fs.StringVar(&f.config.PasswordFile, "etcd-password-file", "", "`file` that holds the password of --etcd-user")
	fs.DurationVar(&f.config.DialTimeout, "etcd-dial-timeout", 0, "how long to wait for etcd's first answer (default 5s)")
	fs.StringArrayVar(&f.prefixes, "prefix", nil, "etcd key `prefix` to read, with or without a trailing slash; repeatable (default: the storage roots found in etcd)")
	return f
}

// addSnapshot lets a command read files.
func (f *etcdFlags) addSnapshot(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.snapshots, "snapshot", nil, "read a `file` in place of an etcd: of etcdctl snapshot save, a copied member/snap/db, or a copied data directory; repeatable")
}

// addStream lets a command read snapshots that it takes itself.
func (f *etcdFlags) addStream(fs *pflag.FlagSet) {
	fs.BoolVar(&f.stream, "stream-snapshot", false, "have etcd stream a snapshot into a private temporary file, and read that, in place of a range scan: quicker where there is much to read")
}

// told tells whether a flag or a variable says how to reach etcd.
func (f *etcdFlags) told() bool {
	endpoints, _ := f.env("ETCDCTL_ENDPOINTS")
	c := f.config
	return len(f.snapshots) > 0 || len(f.endpoints) > 0 || endpoints != "" || c.CACert != "" || c.Cert != "" || c.Key != "" || c.User != ""
}

// open connects, taking from the environment what no flag names.
func (f *etcdFlags) open(ctx context.Context) (*live.Store, error) {
	cfg := f.config
	cfg.Endpoints = f.endpoints
	for variable, value := range map[string]*string{"ETCDCTL_CACERT": &cfg.CACert, "ETCDCTL_CERT": &cfg.Cert, "ETCDCTL_KEY": &cfg.Key} {
		if v, ok := f.env(variable); ok && *value == "" {
			*value = v
		}
	}
	if v, ok := f.env("ETCDCTL_ENDPOINTS"); ok && len(cfg.Endpoints) == 0 && v != "" {
		cfg.Endpoints = strings.Split(v, ",")
	}
	for i, ep := range cfg.Endpoints {
		cfg.Endpoints[i] = strings.TrimSpace(ep)
		if withoutCredentials(cfg.Endpoints[i]) != cfg.Endpoints[i] {
			return nil, usageError(errors.New("an endpoint is no place for credentials, and has no query"), "--etcd-user and --etcd-password-file, or --cert and --key")
		}
	}
	return live.Open(ctx, cfg)
}

// origin names the store in a report.
func origin(store *live.Store) audit.Source {
	return audit.Source{Type: "etcd", Endpoints: store.Endpoints(), Integrity: "absent", Kine: store.Kine()}
}
