package node

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// rancher is k3s or rke2, which share their options and the layout of their directories.
type rancher struct {
	name string // of the distribution, of its program, and of its directories
	unit string // of systemd
}

var (
	k3s  = rancher{K3s, "k3s"}
	rke2 = rancher{RKE2, "rke2-server"}
)

// find reads the manifest that rke2 writes for its kubelet (https://github.com/rancher/rke2/blob/01893d97/pkg/podtemplate/podtemplate.go),
// or else what the options and the data directory say: the apiserver of k3s is a part of its one process. An agent has
// neither.
func (r rancher) find(t tree) (Facts, error) {
	s, err := r.settings(t)
	if err != nil {
		return Facts{}, doubt{err}
	}
	data := "/var/lib/rancher/" + r.name
	if named := s.last("data-dir"); named != "" {
		var ok bool
		if data, ok = absolute(named); !ok {
			return Facts{}, doubt{fmt.Errorf("reading the options of %s: data-dir is no absolute path", r.name)}
		}
	}
	f := Facts{Distribution: r.name, Kubeconfig: t.firstOf(r.kubeconfigs(s)...)}
	if r.name == RKE2 {
		found, warnings, err := staticPods(t, path.Join(data, "agent/pod-manifests"))
		var d doubt
		switch {
		case err == nil:
			f.Warnings = warnings
			if err := found.fill(t, &f); err != nil {
				return Facts{}, err
			}
			return f, nil
		case errors.As(err, &d):
			s.warn("%v", d)
		case !errors.Is(err, ErrNone):
			return Facts{}, err
		}
	}
	server := path.Join(data, "server")
	if ok, err := t.exists(path.Join(server, "tls")); err != nil {
		return Facts{}, err
	} else if !ok {
		return Facts{}, ErrNone
	}
	if err := r.fill(t, server, s, &f); err != nil {
		return Facts{}, err
	}
	return f, nil
}

func (r rancher) kubeconfigs(s settings) []string {
	standard := "/etc/rancher/" + r.name + "/" + r.name + ".yaml"
	if named, ok := absolute(s.last("write-kubeconfig")); ok {
		return []string{named, standard}
	}
	return []string{standard}
}

// fill says what a server does by its options and by what is in its directory.
func (r rancher) fill(t tree, server string, s settings, f *Facts) error {
	f.Files, f.Warnings = s.files, s.warnings
	if len(f.Files) == 0 {
		f.Files = []string{server}
	}
	// The options of rke2 go into a manifest; where there is none, there is no apiserver on this node.
	runs := r.name == K3s && !s.on("disable-apiserver")
	f.OverridesTold, f.EncryptionTold = s.complete && runs, s.complete && runs

	if err := r.datastore(t, server, s, f); err != nil {
		return err
	}
	config := path.Join(server, "cred/encryption-config.json")
	switch there, err := t.exists(config); {
	case err != nil:
		return err
	case there:
		f.EncryptionConfig = config
		if f.EncryptionTold && !s.on("secrets-encryption") {
			f.warn("%s is there, but no option has %s encrypt", config, r.name)
		}
	}
	given := make(flags)
	for _, arg := range s.options["kube-apiserver-arg"] {
		// A + or - behind the name would join the value with what k3s has itself; it is taken alone.
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		given.add(strings.TrimRight(name, "-+"), value)
	}
	r.source(given).fill(t, f)
	return nil
}

// source is that of flags among the options, whose paths are the host's.
func (r rancher) source(given flags) source {
	return source{file: "the options of " + r.name, flags: given, toHost: func(file string) (string, bool) { return file, true }}
}

// datastore sets where the server keeps its objects, as k3s decides it:
// https://github.com/k3s-io/k3s/blob/0663681a/pkg/cluster/managed.go
func (r rancher) datastore(t tree, server string, s settings, f *Facts) error {
	certs, socket := path.Join(server, "tls/etcd"), path.Join(server, "kine.sock")
	began, err := t.exists(path.Join(server, "db/etcd/member/wal"))
	if err != nil {
		return err
	}
	external := s.last("datastore-endpoint")
	scheme, _, _ := strings.Cut(external, "://")
	switch {
	// Once an etcd was begun, that is it, whatever else the options say. A server that is to have none has a proxy to those
	// of others at the same address: https://github.com/k3s-io/k3s/blob/003e094b/pkg/cluster/cluster.go
	case began, s.on("disable-etcd"):
		f.Endpoints = []string{"https://" + s.loopback() + ":2379"}
		f.CACert, f.Cert, f.Key = path.Join(certs, "server-ca.crt"), path.Join(certs, "client.crt"), path.Join(certs, "client.key")
	case slices.Contains([]string{"http", "https", "unix", "unixs"}, scheme):
		given := flags{flagServers: {external}}
		for option, flag := range map[string]string{"datastore-cafile": flagCA, "datastore-certfile": flagCert, "datastore-keyfile": flagKey} {
			if file := s.last(option); file != "" {
				given.add(flag, file)
			}
		}
		r.source(given).fill(t, f)
	// Any other database is behind kine, which asks for no certificate, and shows etcd's when it has TLS at all:
	// https://github.com/k3s-io/kine/blob/fcf4e5a4/pkg/endpoint/endpoint.go
	case t.firstOf(socket) == "":
		f.warn("%s is not there: %s is not running", socket, r.name)
	case s.on("kine-tls"):
		f.Endpoints, f.CACert = []string{"unixs://" + socket}, path.Join(certs, "server-ca.crt")
	default:
		f.Endpoints = []string{"unix://" + socket}
	}
	return nil
}
