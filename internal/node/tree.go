package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFile is far beyond what any of the files holds, in bytes.
const maxFile = 4 << 20

// tree is the host's file system, by absolute paths.
type tree struct{ host fs.FS }

func inside(file string) string {
	if name := path.Clean("/" + file)[1:]; name != "" {
		return name
	}
	return "."
}

// read is the content of a regular file. Nothing else is opened: a pipe would never end.
func (t tree) read(file string) ([]byte, error) {
	info, err := fs.Stat(t.host, inside(file))
	if err != nil {
		return nil, reading(file, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("reading %s: not a regular file", file)
	}
	f, err := t.host.Open(inside(file))
	if err != nil {
		return nil, reading(file, err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, reading(file, err)
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("reading %s: larger than %d MiB", file, maxFile>>20)
	}
	return content, nil
}

// list is the names in a directory, sorted, without those that begin with a dot. A directory that is not there is empty.
func (t tree) list(dir string) ([]string, error) {
	entries, err := fs.ReadDir(t.host, inside(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, reading(dir, err)
	}
	var names []string
	for _, entry := range entries {
		if !entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// exists tells whether something of that name is there. The error says that it could not be seen.
func (t tree) exists(file string) (bool, error) {
	_, err := fs.Stat(t.host, inside(file))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, reading(file, err)
	}
	return true, nil
}

// firstOf is the first of the files that can be seen to be there.
func (t tree) firstOf(files ...string) string {
	for _, file := range files {
		if ok, err := t.exists(file); ok && err == nil {
			return file
		}
	}
	return ""
}

// reading names the file as the host does; a PathError has it without the leading slash.
func reading(file string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Errorf("reading %s: %w", file, err)
}

// absolute is a path as it may be shown. What is relative, or would not print, is no path here.
func absolute(file string) (string, bool) {
	if !strings.HasPrefix(file, "/") || !utf8.ValidString(file) || strings.ContainsFunc(file, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", false
	}
	return path.Clean(file), true
}
