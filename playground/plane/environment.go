package plane

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// environment is that of a process of the plane: the playground's without what etcd would take
// as its flags.
func (p *Plane) environment(further ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "ETCD_")
	})
	return append(p.spec.withoutProxies(env), further...)
}

// Environment is environ for a program that is to find the plane: it has what DIR/env says.
func (s *Spec) Environment(layout Layout, environ []string) ([]string, error) {
	exports, err := os.ReadFile(layout.Env())
	if err != nil {
		return nil, fmt.Errorf("reading what to export: %w", err)
	}
	return source(s.withoutProxies(environ), string(exports)), nil
}

// withoutProxies takes away what would have a program in a namespace of its own ask a proxy for
// the apiservers' addresses: nothing leaves the namespace.
func (s *Spec) withoutProxies(environ []string) []string {
	if !s.NetNS {
		return environ
	}
	return slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		switch strings.ToUpper(name) {
		case "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY":
			return true
		}
		return false
	})
}

// source does to environ what a shell does with the lines of Exports.
func source(environ []string, exports string) []string {
	environ = slices.Clone(environ)
	for line := range strings.Lines(exports) {
		line = strings.TrimSuffix(line, "\n")
		assignment, set := strings.CutPrefix(line, "export ")
		name, value, _ := strings.Cut(assignment, "=")
		if !set {
			var unset bool
			if name, unset = strings.CutPrefix(line, "unset "); !unset {
				continue
			}
		}
		environ = slices.DeleteFunc(environ, func(variable string) bool {
			return strings.HasPrefix(variable, name+"=")
		})
		if set {
			environ = append(environ, name+"="+unquote(value))
		}
	}
	return environ
}
