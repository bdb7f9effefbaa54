package etcdscan

import (
	"context"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan/key"
)

// Scope is what a scan reads: ranges that do not overlap, and the storage roots by which their keys are named.
type Scope struct {
	Prefixes []string // as read, each with a trailing slash; an exact key that lies beside one is read with it
	Ranges   []Range
	Roots    []string // without a trailing slash, longest first
}

// NewScope reads prefixes, each with or without a trailing slash, and never the keys of a sibling: /a/b covers /a/b
// and /a/b/c, not /a/bc. Roots are the storage roots known to exist; a prefix outside all of them gets the root that
// its own segments suggest.
func NewScope(prefixes, roots []string) Scope {
	var s Scope
	for _, p := range prefixes {
		dir := p
		if !strings.HasSuffix(p, "/") {
			dir += "/"
		}
		s.Prefixes = append(s.Prefixes, dir)
	}
	slices.Sort(s.Prefixes)
	outer := "" // the last one kept: in this order all that lie within it follow
	s.Prefixes = slices.DeleteFunc(s.Prefixes, func(p string) bool {
		if outer != "" && strings.HasPrefix(p, outer) {
			return true
		}
		outer = p
		return false
	})
	for _, dir := range s.Prefixes {
		bare := strings.TrimSuffix(dir, "/")
		if bare != "" && slices.Contains(prefixes, bare) {
			s.Ranges = append(s.Ranges, Key(bare))
		}
		s.Ranges = append(s.Ranges, Prefix(dir))
	}
	for _, root := range roots {
		s.Roots = append(s.Roots, strings.TrimSuffix(root, "/"))
	}
	for _, dir := range s.Prefixes {
		if s.covered(dir) {
			continue
		}
		if root, ok := key.Root(dir); ok {
			s.Roots = append(s.Roots, root)
		} else {
			s.Roots = append(s.Roots, firstSegment(dir))
		}
	}
	slices.Sort(s.Roots)
	s.Roots = slices.Compact(s.Roots)
	slices.SortStableFunc(s.Roots, func(a, b string) int { return len(b) - len(a) })
	return s
}

// Outside are the ranges that make up the rest of the store.
func (s Scope) Outside() []Range {
	ranges := slices.SortedFunc(slices.Values(s.Ranges), func(a, b Range) int { return strings.Compare(a.Start, b.Start) })
	var outside []Range
	at := ""
	for _, r := range ranges {
		if r.Start > at {
			outside = append(outside, Range{Start: at, End: r.Start})
		}
		if r.End == "" {
			return outside
		}
		at = max(at, r.End)
	}
	return append(outside, Range{Start: at})
}

// CountOutside is the number of keys that a scan of the scope does not read.
func CountOutside(ctx context.Context, src Source, scope Scope, revision int64) (int64, error) {
	var n int64
	for _, r := range scope.Outside() {
		inside, err := src.Count(ctx, r, revision)
		if err != nil {
			return 0, err
		}
		n += inside
	}
	return n, nil
}

// besidePrefix tells whether a range is the single key that bears the name of a prefix, which follows it.
func (s Scope) besidePrefix(i int) bool {
	return i+1 < len(s.Ranges) && s.Ranges[i] == Key(s.Ranges[i].Start) && s.Ranges[i+1] == Prefix(s.Ranges[i].Start+"/")
}

// covered tells whether the keys under dir are named by a root that is already known: one above it, or one below.
func (s Scope) covered(dir string) bool {
	return slices.ContainsFunc(s.Roots, func(root string) bool {
		return strings.HasPrefix(dir, root+"/") || strings.HasPrefix(root+"/", dir)
	})
}

// Root is the storage root of k: the longest that holds it, or its first segment.
func (s Scope) Root(k string) string {
	for _, root := range s.Roots {
		if len(k) > len(root) && k[len(root)] == '/' && k[:len(root)] == root {
			return root
		}
	}
	return firstSegment(k)
}

func firstSegment(k string) string {
	if i := strings.IndexByte(k[min(1, len(k)):], '/'); i >= 0 {
		return k[:i+1]
	}
	return ""
}
