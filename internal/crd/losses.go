package crd

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxPaths = 32
	maxPath  = 256 // bytes of one path
)

// losses collects the paths of fields that an object had and has no longer.
type losses struct{ paths map[string]bool }

// regard says what counts as a loss.
type regard int

const (
	exactly regard = iota
	// besidesEmpty passes over null, "", 0, false, {} and []: object metadata leaves them out when it is written.
	besidesEmpty
)

// compare adds the topmost fields of before that after lacks. Both are trees of JSON, and neither is changed.
func (l *losses) compare(before, after any, how regard) { l.walk("", before, after, how) }

func (l *losses) walk(at string, before, after any, how regard) {
	switch before := before.(type) {
	case map[string]any:
		kept, _ := after.(map[string]any)
		for k, v := range before {
			now, ok := kept[k]
			switch {
			case ok:
				l.walk(child(at, k), v, now, how)
			case how == exactly || !empty(v):
				l.add(child(at, k))
			}
		}
	case []any:
		kept, _ := after.([]any)
		for i, v := range before {
			switch path := at + "[" + strconv.Itoa(i) + "]"; {
			case i < len(kept):
				l.walk(path, v, kept[i], how)
			case how == exactly || !empty(v):
				l.add(path)
			}
		}
	}
}

func (l *losses) add(path string) {
	if l.paths == nil {
		l.paths = make(map[string]bool)
	}
	l.paths[path] = true
}

// beyond are the losses that are neither in other nor within one that is.
func (l losses) beyond(other losses) losses {
	var out losses
	for path := range l.paths {
		if !other.covers(path) {
			out.add(path)
		}
	}
	return out
}

func (l losses) covers(path string) bool {
	for i := range len(path) {
		if (path[i] == '.' || path[i] == '[') && l.paths[path[:i]] {
			return true
		}
	}
	return l.paths[path]
}

// sorted gives the first paths, and how many more there are.
func (l losses) sorted() (paths []string, omitted int) {
	paths = slices.Sorted(maps.Keys(l.paths))
	if len(paths) > maxPaths {
		paths, omitted = slices.Clone(paths[:maxPaths]), len(paths)-maxPaths
	}
	for i, path := range paths {
		paths[i] = clip(path, maxPath)
	}
	return paths, omitted
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_$-]+$`)

// child is the path of a field. A key that is no plain name is quoted, so that it is inert on a terminal.
func child(at, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return at + "[" + strconv.QuoteToASCII(key) + "]"
	case at == "":
		return key
	}
	return at + "." + key
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return reflect.ValueOf(v).IsZero()
}

// clip cuts a text at the end of a character and marks the cut.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	s = s[:limit]
	for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	if last, _ := utf8.DecodeLastRuneInString(s); last == utf8.RuneError && len(s) > 0 {
		s = s[:len(s)-1]
	}
	return strings.ToValidUTF8(s, "") + "…"
}
