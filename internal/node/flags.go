package node

import (
	"encoding/csv"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The flags of kube-apiserver that say something:
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/server/options/etcd.go
const (
	flagServers    = "etcd-servers"
	flagOverrides  = "etcd-servers-overrides"
	flagCA         = "etcd-cafile"
	flagCert       = "etcd-certfile"
	flagKey        = "etcd-keyfile"
	flagPrefix     = "etcd-prefix"
	flagEncryption = "encryption-provider-config"
	flagOpenShift  = "openshift-config" // of OpenShift's fork alone
)

// flags are the values of each flag in the order given. Flags that say nothing here are not kept.
type flags map[string][]string

// read takes the flags among the words of a command. It stops at nothing: before the apiserver's own name there may be
// flags of a wrapper, and none of these has a name from above.
func (f flags) read(command []string) {
	for i := 0; i < len(command); i++ {
		name, ok := strings.CutPrefix(command[i], "--")
		if !ok {
			continue
		}
		name, value, given := strings.Cut(name, "=")
		if !interesting(name) {
			continue
		}
		if !given && i+1 < len(command) {
			i++
			value = command[i]
		}
		f.add(name, value)
	}
}

func (f flags) add(name, value string) {
	if name = canonical(name); interesting(name) {
		f[name] = append(f[name], value)
	}
}

// canonical has hyphens where an apiserver takes underscores as well.
func canonical(name string) string { return strings.ReplaceAll(name, "_", "-") }

func interesting(name string) bool {
	switch canonical(name) {
	case flagServers, flagOverrides, flagCA, flagCert, flagKey, flagPrefix, flagEncryption, flagOpenShift:
		return true
	}
	return false
}

// last is the value that counts where there can be but one.
func (f flags) last(name string) (value string, given bool) {
	if values := f[name]; len(values) > 0 {
		return values[len(values)-1], true
	}
	return "", false
}

// list is all values of a list, which are comma separated; ok is false when the apiserver would refuse one.
func (f flags) list(name string) (values []string, ok bool) {
	ok = true
	for _, value := range f[name] {
		if value == "" {
			continue
		}
		row, err := csv.NewReader(strings.NewReader(value)).Read()
		if err != nil {
			ok = false
			continue
		}
		values = append(values, row...)
	}
	return values, ok
}

// source is an apiserver's flags and where they stand.
type source struct {
	file   string
	flags  flags
	toHost func(string) (string, bool) // the host's path of what the apiserver knows by another, if there is one
}

// fill sets the facts that flags were given for and leaves the others as they are.
func (s source) fill(t tree, f *Facts) {
	if s.flags[flagServers] != nil {
		servers, ok := s.flags.list(flagServers)
		if f.Endpoints = s.endpoints(servers); !ok || len(f.Endpoints) < len(servers) {
			f.warn("%s: --%s has what is no address, left out", s.file, flagServers)
		}
	}
	for _, named := range []struct {
		flag  string
		field *string
	}{{flagCA, &f.CACert}, {flagCert, &f.Cert}, {flagKey, &f.Key}} {
		if s.flags[named.flag] != nil {
			*named.field, _ = s.path(t, f, named.flag)
		}
	}
	if s.flags[flagEncryption] != nil {
		f.EncryptionConfig, f.EncryptionTold = s.path(t, f, flagEncryption)
	}
	if prefix, given := s.flags.last(flagPrefix); given {
		// As the apiserver does: https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/storage/etcd3/store.go#L151
		if root, ok := absolute(path.Join("/", prefix)); ok && !variable(prefix) {
			f.Prefixes = []string{root}
		} else {
			f.warn("%s: --%s cannot be understood, ignored", s.file, flagPrefix)
		}
	}
	if s.flags[flagOverrides] != nil {
		var ok bool
		if f.Overrides, ok = s.overrides(); !ok {
			f.OverridesTold = false
			f.warn("%s: --%s cannot be understood", s.file, flagOverrides)
		}
	}
}

// path is the host's path that a flag names. told is false when the flag names one that cannot be said.
func (s source) path(t tree, f *Facts, flag string) (file string, told bool) {
	value, _ := s.flags.last(flag)
	if value == "" {
		f.warn("%s: --%s is empty, ignored", s.file, flag)
		return "", true
	}
	named, ok := absolute(value)
	if !ok || variable(value) {
		f.warn("%s: --%s is no absolute path, ignored", s.file, flag)
		return "", false
	}
	if file, ok = s.toHost(named); !ok {
		f.warn("%s: --%s names %s inside the container, which is no file of the host", s.file, flag, named)
		return "", false
	}
	if there, err := t.exists(file); err == nil && !there {
		f.warn("%s: --%s names %s, which is not there", s.file, flag, file)
	}
	return file, true
}

// endpoints leaves out what cannot be dialled from the host, and what has more in it than an address.
func (s source) endpoints(values []string) []string {
	var usable []string
	for _, value := range values {
		value = strings.TrimSpace(value)
		scheme, rest, ok := strings.Cut(value, "://")
		switch {
		case rest == "" && ok, value == "", variable(value), strings.ContainsAny(value, "@?#"), !printable(value):
			continue
		case !ok && (!strings.Contains(value, ":") || strings.Contains(value, "/")):
			continue
		case scheme == "unix" || scheme == "unixs":
			socket, ok := absolute(rest)
			if !ok {
				continue
			}
			if socket, ok = s.toHost(socket); !ok {
				continue
			}
			value = scheme + "://" + socket
		case ok && scheme != "http" && scheme != "https":
			continue
		}
		usable = append(usable, value)
	}
	return usable
}

// overrides reads GROUP/RESOURCE#SERVER;SERVER as ParseEtcdServersOverrides does. ok is false when any of them could not
// be read, and the others are returned.
func (s source) overrides() (found []Override, ok bool) {
	values, ok := s.flags.list(flagOverrides)
	for _, value := range values {
		what, where, one := strings.Cut(value, "#")
		group, resource, two := strings.Cut(what, "/")
		servers := strings.Split(where, ";")
		endpoints := s.endpoints(servers)
		if !one || !two || !plain(resource) || group != "" && !plain(group) || len(endpoints) < len(servers) {
			ok = false
			continue
		}
		if group != "" {
			resource += "." + group
		}
		found = append(found, Override{Resource: resource, Endpoints: endpoints})
	}
	return found, ok
}

// plain tells whether s can be the name of a resource or of a group.
func plain(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.'
	})
}

// variable tells whether the kubelet or a shell would put something else in place of a part.
func variable(value string) bool { return strings.Contains(value, "$") }

// printable tells whether value may be shown, and is one word.
func printable(value string) bool {
	return utf8.ValidString(value) && !strings.ContainsFunc(value, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) })
}

// ParseOverrides reads values of the flag --etcd-servers-overrides. ok is false when any of them could not be read, and the
// others are returned.
func ParseOverrides(values []string) (found []Override, ok bool) {
	s := source{flags: flags{flagOverrides: values}, toHost: func(file string) (string, bool) { return file, true }}
	return s.overrides()
}
