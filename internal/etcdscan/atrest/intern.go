package atrest

import (
	"maps"
	"sync"
	"sync/atomic"
)

// interned keeps one string for each name that is seen often, so that reading a million values under a few keys allocates a few names.
// Reading takes no lock. It holds at most maxInterned names for the life of the process; further ones are allocated each time.
type interned struct {
	seen atomic.Pointer[map[string]string]
	mu   sync.Mutex // held while replacing seen
}

const maxInterned = 256

var names interned

func (in *interned) intern(b []byte) string {
	if m := in.seen.Load(); m != nil {
		if s, ok := (*m)[string(b)]; ok {
			return s
		}
		if len(*m) >= maxInterned {
			return string(b)
		}
	}
	return in.add(string(b))
}

func (in *interned) add(s string) string {
	in.mu.Lock()
	defer in.mu.Unlock()
	next := map[string]string{}
	if m := in.seen.Load(); m != nil {
		maps.Copy(next, *m)
	}
	if len(next) < maxInterned {
		next[s] = s
		in.seen.Store(&next)
	}
	return s
}
