package node

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// settings are the options of k3s or rke2, from the variables, the files and the command line of its unit. Where one
// value counts it is the last.
type settings struct {
	options  map[string][]string
	files    []string // those that were read
	warnings []string
	complete bool // the command line was seen as well
}

func (s settings) last(option string) string {
	if values := s.options[option]; len(values) > 0 {
		return values[len(values)-1]
	}
	return ""
}

func (s settings) on(option string) bool {
	on, _ := strconv.ParseBool(s.last(option))
	return on
}

func (s *settings) warn(format string, args ...any) {
	s.warnings = append(s.warnings, fmt.Sprintf(format, args...))
}

// loopback is where the server listens for itself: IPv6 when all services have IPv6 addresses.
func (s settings) loopback() string {
	services := strings.Split(strings.Join(s.options["service-cidr"], ","), ",")
	if slices.ContainsFunc(services, func(cidr string) bool { return !strings.Contains(cidr, ":") }) {
		return "127.0.0.1"
	}
	return "[::1]"
}

// optionVariables are those that stand for an option: https://github.com/k3s-io/k3s/blob/005499a9/pkg/cli/cmds/server.go
var optionVariables = map[string]string{
	"DATA_DIR":           "data-dir",
	"DATASTORE_ENDPOINT": "datastore-endpoint",
	"DATASTORE_CAFILE":   "datastore-cafile",
	"DATASTORE_CERTFILE": "datastore-certfile",
	"DATASTORE_KEYFILE":  "datastore-keyfile",
	"KUBECONFIG_OUTPUT":  "write-kubeconfig",
}

// settings reads all there is. Files of the unit that cannot be read make it incomplete, those of the program are an
// error.
func (r rancher) settings(t tree) (settings, error) {
	s := settings{options: make(map[string][]string)}
	u := readUnit(t, r.unit)
	s.complete = u.complete && slices.Contains(u.command, "server")
	s.warnings = u.warnings
	prefix := strings.ToUpper(r.name) + "_"
	for name, option := range optionVariables {
		if value := u.env[prefix+name]; value != "" {
			s.options[option] = []string{value}
		}
	}
	args := arguments(u.command)
	config := "/etc/rancher/" + r.name + "/config.yaml"
	if named := cmp.Or(u.env[prefix+"CONFIG_FILE"], strings.Join(args["config"], "")); named != "" {
		var ok bool
		if config, ok = absolute(named); !ok {
			s.complete = false
			s.warn("the options of %s: config is no absolute path, ignored", r.name)
			config = ""
		}
	}
	if config != "" {
		if err := s.readConfig(t, config); err != nil {
			return settings{}, err
		}
	}
	for option, values := range args {
		s.options[option] = append(s.options[option], values...)
	}
	s.files = append(s.files, u.files...)
	return s, nil
}

// readConfig reads a file of options and those in the directory beside it, as
// https://github.com/k3s-io/k3s/blob/f6466040/pkg/configfilearg/parser.go does: a later file replaces an option, or adds to it
// when a + follows its name.
func (s *settings) readConfig(t tree, config string) error {
	names, err := t.list(config + ".d")
	if err != nil {
		return err
	}
	files := []string{config}
	for _, name := range names {
		if ext := strings.ToLower(path.Ext(name)); ext == ".yaml" || ext == ".yml" {
			files = append(files, path.Join(config+".d", name))
		}
	}
	for _, file := range files {
		content, err := t.read(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		var parsed map[string]any
		if yaml.Unmarshal(content, &parsed) != nil {
			return fmt.Errorf("parsing %s: not a mapping of options", file)
		}
		s.files = append(s.files, file)
		for _, adds := range []bool{false, true} {
			for key, value := range parsed {
				option, plus := strings.CutSuffix(key, "+")
				if plus != adds {
					continue
				}
				if !adds {
					s.options[option] = nil
				}
				s.options[option] = append(s.options[option], texts(value)...)
			}
		}
	}
	return nil
}

// arguments are the options of a command line that say something here.
func arguments(command []string) map[string][]string {
	found := make(map[string][]string)
	for i := 0; i < len(command); i++ {
		name, ok := strings.CutPrefix(command[i], "-")
		if !ok {
			continue
		}
		name, value, given := strings.Cut(strings.TrimPrefix(name, "-"), "=")
		switch name {
		case "c":
			name = "config"
		case "d":
			name = "data-dir"
		case "o":
			name = "write-kubeconfig"
		}
		switch name {
		case "disable-apiserver", "disable-etcd", "kine-tls", "secrets-encryption":
			if !given {
				value = "true"
			}
		case "config", "data-dir", "datastore-endpoint", "datastore-cafile", "datastore-certfile", "datastore-keyfile",
			"kube-apiserver-arg", "service-cidr", "write-kubeconfig":
			if !given && i+1 < len(command) {
				i++
				value = command[i]
			}
		default:
			continue
		}
		found[name] = append(found[name], value)
	}
	return found
}

// texts is a value of YAML as the words of a command line.
func texts(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case bool:
		return []string{strconv.FormatBool(v)}
	case float64:
		return []string{strconv.FormatFloat(v, 'f', -1, 64)}
	case []any:
		var all []string
		for _, one := range v {
			if _, nested := one.([]any); !nested {
				all = append(all, texts(one)...)
			}
		}
		return all
	}
	return nil
}
