package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// ranked is a key with the bytes of it that are compared.
type ranked struct {
	head uint64
	set  uint32
	name name
}

const few = 12 // so many keys are compared as they are

// order gives back the places of all keys in their order. No two are the same. They are put into the groups of their directories, and
// each group is sorted. Keys of one share a long beginning: what is compared is eight bytes of each, behind what all of them share.
func order(ctx context.Context, sets []*names) ([]place, error) {
	s := sorter{ctx: ctx, sets: sets}
	groups, of := grouped(sets)
	ends := s.deal(groups, of)
	places := make([]place, len(s.items))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), maxParts) {
		wg.Go(func() {
			for g := int(next.Add(1)) - 1; g < len(groups); g = int(next.Add(1)) - 1 {
				from, to := 0, ends[g]
				if g > 0 {
					from = ends[g-1]
				}
				s.sort(s.items[from:to], len(groups[g]))
				for i := from; i < to; i++ {
					places[i] = sets[s.items[i].set].place(s.items[i].name)
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return places, nil
}

// grouped gives back the beginnings of keys, in order, that are directories and lie in no other, and the number of its group for each
// directory of each set.
func grouped(sets []*names) (groups []string, of [][]uint32) {
	var dirs []string
	for _, set := range sets {
		dirs = append(dirs, set.used()...)
	}
	slices.Sort(dirs)
	for _, dir := range dirs {
		if len(groups) == 0 || !strings.HasPrefix(dir, groups[len(groups)-1]) {
			groups = append(groups, dir)
		}
	}
	for _, set := range sets {
		numbers := make([]uint32, len(set.dirs))
		for i, dir := range set.dirs {
			n, found := slices.BinarySearch(groups, dir)
			if !found {
				n-- // it lies in the one before it
			}
			numbers[i] = uint32(max(0, n)) // less than none if nothing is in the empty directory
		}
		of = append(of, numbers)
	}
	return groups, of
}

type sorter struct {
	ctx   context.Context
	sets  []*names
	items []ranked
}

// deal puts the keys of each group together, and tells where each group ends.
func (s *sorter) deal(groups []string, of [][]uint32) (ends []int) {
	next := make([][]int, len(s.sets)) // by set and group: how many there are, and then where the next one belongs
	s.eachSet(func(i int, set *names) {
		next[i] = make([]int, len(groups))
		set.each(func(at name) { next[i][of[i][set.dir(at)]]++ })
	})
	ends = make([]int, len(groups))
	n := 0
	for g := range groups {
		for i := range next {
			next[i][g], n = n, n+next[i][g]
		}
		ends[g] = n
	}
	s.items = make([]ranked, n)
	s.eachSet(func(i int, set *names) {
		set.each(func(at name) {
			to := &next[i][of[i][set.dir(at)]]
			s.items[*to] = ranked{set: uint32(i), name: at}
			*to++
		})
	})
	return ends
}

func (s *sorter) eachSet(f func(i int, set *names)) {
	var wg sync.WaitGroup
	for i, set := range s.sets {
		wg.Go(func() { f(i, set) })
	}
	wg.Wait()
}

// sort sorts items whose keys have the first skip bytes in common.
func (s *sorter) sort(items []ranked, skip int) {
	if s.ctx.Err() != nil {
		return
	}
	if len(items) <= few {
		s.compare(items)
		return
	}
	common := s.common(items, skip)
	for i := range items {
		items[i].head = s.head(items[i], common)
	}
	slices.SortFunc(items, func(a, b ranked) int { return cmp.Compare(a.head, b.head) })
	for from := 0; from < len(items); {
		to := from + 1
		for to < len(items) && items[to].head == items[from].head {
			to++
		}
		switch same := items[from:to]; {
		case len(same) == 1:
		case len(same) == len(items), same[0].head&0xff == 0:
			// Keys that end here look like those that go on with zeros.
			s.compare(same)
		default:
			s.sort(same, common+8)
		}
		from = to
	}
}

// head is eight bytes of a key, from at on.
func (s *sorter) head(item ranked, from int) uint64 {
	dir, rest := s.sets[item.set].of(item.name)
	var head [8]byte
	n := 0
	if from < len(dir) {
		n = copy(head[:], dir[from:])
		copy(head[n:], rest)
	} else {
		copy(head[:], rest[from-len(dir):])
	}
	return binary.BigEndian.Uint64(head[:])
}

// common is how many bytes the keys have in common, of which skip are known.
func (s *sorter) common(items []ranked, skip int) int {
	first := s.sets[items[0].set].append(nil, items[0].name)
	n := len(first)
	for _, item := range items[1:] {
		dir, rest := s.sets[item.set].of(item.name)
		n = min(n, len(dir)+len(rest))
		if end := min(n, len(dir)); skip < end && dir[skip:end] != string(first[skip:end]) {
			for n = skip; dir[n] == first[n]; n++ {
			}
			continue
		}
		if from := max(skip, len(dir)); from < n && !bytes.Equal(rest[from-len(dir):n-len(dir)], first[from:n]) {
			for n = from; rest[n-len(dir)] == first[n]; n++ {
			}
		}
	}
	return n
}

// compare sorts by whole keys.
func (s *sorter) compare(items []ranked) {
	var x, y []byte
	slices.SortFunc(items, func(a, b ranked) int {
		x, y = s.sets[a.set].append(x[:0], a.name), s.sets[b.set].append(y[:0], b.name)
		return bytes.Compare(x, y)
	})
}
