package snapshot

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// oddKey makes keys of which one is the beginning of another, with and without directories, with zeros, and too long for a chunk.
func oddKey(rnd *rand.Rand) string {
	parts := []string{"/", "a", "b", "a\x00", "\x00", "/registry/", "/registry/secrets/", "ns-1/", "0123456789", "\xff", strings.Repeat("l", 200)}
	if rnd.IntN(200) == 0 {
		parts = append(parts, strings.Repeat("n", longName), strings.Repeat("d", longName)+"/")
	}
	k := ""
	for range 1 + rnd.IntN(6) {
		k += parts[rnd.IntN(len(parts))]
	}
	return k
}

func TestOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for _, dirs := range []int{0, 2 * manyDirs} {
		seed := maphash.MakeSeed()
		sets := []*keySet{newKeySet(seed), newKeySet(seed), newKeySet(seed)}
		live := make(map[string]place)
		next := place(0)
		met := make(map[string]bool)
		for i, set := range sets { // the oldest first: what follows outweighs it
			clear(met)
			for n := range 4000 + dirs {
				k := oddKey(rnd)
				if n >= 4000 && i == 1 {
					k = fmt.Sprintf("/registry/d%d/%s", n%(dirs-7), k)
				}
				next++
				here := next
				if rnd.IntN(5) == 0 {
					here |= gone
				}
				first, err := set.meet([]byte(k), here)
				if err != nil || first == met[k] {
					t.Fatalf("%.40q: first %v, %v", k, first, err)
				}
				if met[k] = true; !first {
					continue
				}
				if delete(live, k); here&gone == 0 {
					live[k] = here
				}
			}
		}
		all := make([]*names, len(sets))
		for i, older := range sets {
			for _, newer := range sets[i+1:] {
				older.forget(newer)
			}
			all[i] = &older.names
		}
		places, err := order(t.Context(), all)
		if err != nil || len(places) != len(live) {
			t.Fatalf("%d keys, %v; want %d", len(places), err, len(live))
		}
		for i, k := range slices.Sorted(maps.Keys(live)) {
			if places[i] != live[k] {
				t.Fatalf("key %d is not %.40q", i, k)
			}
		}
		if dirs > 0 != sets[1].names.whole {
			t.Errorf("%d directories: keys kept whole: %v", dirs, sets[1].names.whole)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	empty := newNames()
	if _, err := order(ctx, []*names{&empty}); err == nil {
		t.Error("nobody saw the end of the context")
	}
}
