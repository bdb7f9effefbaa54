package node

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// unit is what systemd runs a service with.
type unit struct {
	command  []string
	env      map[string]string
	files    []string // those that were read
	warnings []string
	complete bool // all files were read
}

// readUnit reads a unit's file, what is dropped in beside it, and its files of variables. The unit is incomplete when
// there is none, or when a part of it cannot be read: whoever may see the host's files may still not see tokens.
func readUnit(t tree, name string) unit {
	u := unit{env: make(map[string]string)}
	var main string
	var dropped []string
	for _, dir := range []string{"/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"} {
		file := path.Join(dir, name+".service")
		if main == "" {
			main = t.firstOf(file)
		}
		names, err := t.list(file + ".d")
		if err != nil {
			u.warnings = append(u.warnings, err.Error())
			return u
		}
		for _, name := range names {
			if strings.HasSuffix(name, ".conf") {
				dropped = append(dropped, path.Join(file+".d", name))
			}
		}
	}
	if main == "" {
		return u
	}
	u.complete = true
	var variables []string
	for _, file := range append([]string{main}, dropped...) {
		text, ok := u.read(t, file)
		if ok {
			variables = append(variables, u.apply(text)...)
		}
	}
	for _, file := range variables {
		optional := strings.HasPrefix(file, "-")
		file = strings.NewReplacer("%N", name, "%n", name+".service", "%p", name).Replace(strings.TrimPrefix(file, "-"))
		if file, ok := absolute(file); !ok || strings.ContainsAny(file, "*?[%") {
			u.complete = false
		} else if there, err := t.exists(file); !optional || there || err != nil {
			text, _ := u.read(t, file)
			u.assign(strings.Split(text, "\n"))
		}
	}
	return u
}

func (u *unit) read(t tree, file string) (string, bool) {
	content, err := t.read(file)
	if err != nil {
		u.complete = false
		if !errors.Is(err, fs.ErrNotExist) {
			u.warnings = append(u.warnings, err.Error())
		}
		return "", false
	}
	u.files = append(u.files, file)
	return string(content), true
}

// apply takes the directives of a file, and returns the files of variables that it names.
func (u *unit) apply(text string) (variables []string) {
	section := ""
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' {
			section = line
			continue
		}
		name, value, _ := strings.Cut(line, "=")
		if section != "[Service]" {
			continue
		}
		switch strings.TrimSpace(name) {
		case "ExecStart":
			// An empty one takes back those before.
			u.command = directive(value)
			u.complete = u.complete && !variable(value)
		case "Environment":
			u.assign(directive(value))
		case "EnvironmentFile":
			variables = append(variables, strings.TrimSpace(value))
		}
	}
	return variables
}

// assign reads NAME=VALUE, whose quotes may or may not be there any more.
func (u *unit) assign(lines []string) {
	for _, line := range lines {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(name, "#") || strings.HasPrefix(name, ";") {
			continue
		}
		u.env[name] = strings.Join(directive(value), " ")
	}
}
