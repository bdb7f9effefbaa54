package atrest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"
)

// source makes stored values with random bodies, always the same ones for a seed.
type source struct{ random *rand.ChaCha8 }

func newSource(seed byte) source { return source{rand.NewChaCha8([32]byte{seed})} }

// value is one value under a key name, with the length that the provider gives some plaintext.
func (s source) value(provider Provider, name string) []byte {
	size := 28 + int(s.random.Uint64()%700)
	if provider == AESCBC {
		size = 32 + 16*int(s.random.Uint64()%40)
	}
	if provider == Secretbox {
		size += 12
	}
	return s.sized(provider, name, size)
}

func (s source) sized(provider Provider, name string, size int) []byte {
	body := make([]byte, size)
	s.random.Read(body)
	return append([]byte("k8s:enc:"+string(provider)+":v1:"+name+":"), body...)
}

// many is n values under a name.
func (s source) many(n int, provider Provider, name string) [][]byte {
	values := make([][]byte, n)
	for i := range values {
		values[i] = s.value(provider, name)
	}
	return values
}

// outcome counts what a census makes of values: those resolved to each name, and those that are ambiguous.
type outcome struct {
	names     map[string]int
	ambiguous map[string]int
	extended  int // values with more than one candidate
}

func resolve(values ...[][]byte) outcome {
	var c Census
	var parsed []Value
	for _, vs := range values {
		for _, b := range vs {
			v := Parse(b)
			c.Add(v)
			parsed = append(parsed, v)
		}
	}
	o := outcome{map[string]int{}, map[string]int{}, 0}
	for _, v := range parsed {
		if len(v.Ends) > 0 {
			o.extended++
		}
		e, ambiguous := c.Resolve(v.Encryption, v.Ends)
		o.names[e.Key]++
		if ambiguous {
			o.ambiguous[e.Key]++
		}
	}
	return o
}

func (o outcome) check(t *testing.T, names, ambiguous map[string]int) {
	t.Helper()
	if fmt.Sprint(o.names) != fmt.Sprint(names) || fmt.Sprint(o.ambiguous) != fmt.Sprint(ambiguous) {
		t.Errorf("names %v, ambiguous %v; want %v, %v", o.names, o.ambiguous, names, ambiguous)
	}
}

type counts = map[string]int

// Chance gives some values of a busy key a longer candidate name. They are not another key and not in doubt.
func TestCensusChance(t *testing.T) {
	for _, provider := range []Provider{AESCBC, AESGCM, Secretbox} {
		for _, n := range []int{5_000, 100_000} {
			for seed := range byte(2) {
				o := resolve(newSource(seed).many(n, provider, "key1"))
				o.check(t, counts{"key1": n}, counts{})
				if settled := provider == AESCBC; settled == (o.extended > 0) {
					t.Errorf("%s: %d of %d values have several candidates", provider, o.extended, n)
				}
			}
		}
	}
}

const (
	k3sCBC     = "aescbckey-2022-04-21T23:01:02-07:00"
	k3sBox     = "secretboxkey-2025-04-21T23:01:02Z"
	k3sBoxNext = "secretboxkey-2025-04-21T23:45:00Z"
)

func TestCensusNamesOfK3s(t *testing.T) {
	for _, n := range []int{1, 2, 20, 1_000} {
		s := newSource(1)
		// The length of whole blocks settles it from the first value on, whatever else is there.
		resolve(s.many(n, AESCBC, k3sCBC), s.many(50, AESCBC, "aescbckey")).check(t, counts{k3sCBC: n, "aescbckey": 50}, counts{})

		// Without blocks, it takes two values.
		doubt := counts{}
		if n < 2 {
			doubt[k3sBox] = n
		}
		resolve(s.many(n, Secretbox, k3sBox)).check(t, counts{k3sBox: n}, doubt)
		// A name without ':' beside it is no namesake.
		resolve(s.many(n, Secretbox, k3sBox), s.many(50, Secretbox, "secretboxkey")).check(t, counts{k3sBox: n, "secretboxkey": 50}, doubt)
	}
}

// Two keys of one hour share the beginning of their names. Neither may swallow the other.
func TestCensusNamesakes(t *testing.T) {
	s := newSource(2)
	resolve(s.many(1_000, Secretbox, k3sBox), s.many(500, Secretbox, k3sBoxNext)).check(t, counts{k3sBox: 1_000, k3sBoxNext: 500}, counts{})
	// With 2 % of the values the second one is not certain by the rule, and it says so.
	resolve(s.many(1_000, Secretbox, k3sBox), s.many(20, Secretbox, k3sBoxNext)).check(t,
		counts{k3sBox: 1_000, "secretboxkey-2025-04-21T23": 20}, counts{"secretboxkey-2025-04-21T23": 20})
	// Nor with one value.
	resolve(s.many(1_000, Secretbox, k3sBox), s.many(1, Secretbox, k3sBoxNext)).check(t,
		counts{k3sBox: 1_000, "secretboxkey-2025-04-21T23": 1}, counts{"secretboxkey-2025-04-21T23": 1})
}

// A second key whose name continues the first one's must not vanish in it, and the first must not be split.
func TestCensusSecondKey(t *testing.T) {
	const n = 5_000
	for _, tc := range []struct {
		old  int
		name string
		want string // what the second key's values are resolved to
		sure bool
	}{
		{2_500, "key1:old", "key1:old", true},
		{300, "key1:old", "key1:old", true},
		{100, "key1:old", "key1", false}, // 2 %: too many for chance
		{10, "key1:old", "key1", false},
		{2, "key1:old", "key1", false},
		{1, "key1:before-2024-rotation", "key1", false},
		{100, "key1:2", "key1", false},
		{2_500, "key1:a:b:c", "key1:a:b:c", true},
		{1, "key1:x:yyyyyyyy", "key1", false},
		{5_000, "key1:", "key1:", true}, // chance alone gives 0.4 % of a bare ':'
	} {
		s := newSource(3)
		o := resolve(s.many(n, AESGCM, "key1"), s.many(tc.old, AESGCM, tc.name))
		got, doubtful := o.names[tc.want], 0
		for _, k := range o.ambiguous {
			doubtful += k
		}
		want := tc.old
		if tc.want == "key1" {
			want += n
		}
		// Chance may move a few values of key1 to a short second name, and a few to longer names of their own that are resolved back.
		if math.Abs(float64(got-want)) > 0.01*n {
			t.Errorf("%d values of %s: %v", tc.old, tc.name, o.names)
		}
		if tc.sure && doubtful > 0 || !tc.sure && doubtful < tc.old {
			t.Errorf("%d values of %s: ambiguous are %v", tc.old, tc.name, o.ambiguous)
		}
		if len(o.names) > 2 {
			t.Errorf("%d values of %s: %v", tc.old, tc.name, o.names)
		}
	}
}

// Under a provider or version a name says nothing about the same name under another.
func TestCensusByProvider(t *testing.T) {
	s := newSource(4)
	o := resolve(s.many(1_000, AESGCM, "key1:old"), s.many(1_000, Secretbox, "key1"), s.many(1_000, AESCBC, "key1"))
	o.check(t, counts{"key1:old": 1_000, "key1": 2_000}, counts{})
}

// In a small cluster one chance ':' is 5 % of the values. That is no other key, but nothing proves it.
func TestCensusFewValues(t *testing.T) {
	s := newSource(5)
	chance := [][]byte{s.value(AESGCM, "key1:ab")}
	resolve(s.many(10, AESGCM, "key1"), chance).check(t, counts{"key1": 11}, counts{"key1": 1})
	resolve(s.many(100, AESGCM, "key1"), chance).check(t, counts{"key1": 101}, counts{})
	resolve(chance).check(t, counts{"key1:ab": 1}, counts{"key1:ab": 1})
	resolve(s.many(2, AESGCM, "team:b")).check(t, counts{"team:b": 2}, counts{})
	resolve(s.many(3, AESGCM, "team:b")).check(t, counts{"team:b": 3}, counts{})
}

// A value that lies in etcd and in a snapshot is one witness.
func TestCensusCopies(t *testing.T) {
	s := newSource(6)
	odd := s.value(AESGCM, "key1:abc")
	resolve(s.many(500, AESGCM, "key1"), [][]byte{odd, odd, odd, odd}).check(t, counts{"key1": 504}, counts{})
	resolve([][]byte{odd, odd, odd, odd}).check(t, counts{"key1:abc": 4}, counts{"key1:abc": 4})
}

// Under KMS v1 the frame settles all but large values, and those it settled are evidence for the others.
func TestCensusFrame(t *testing.T) {
	s := newSource(7)
	value := func(size int) []byte {
		frame := append([]byte{0, 58}, make([]byte, 58)...)
		body := make([]byte, size)
		s.random.Read(body)
		return append(append([]byte("k8s:enc:kms:v1:vault:prod:"), frame...), body...)
	}
	var small [][]byte
	for range 50 {
		small = append(small, value(900))
	}
	resolve(small, [][]byte{value(100_000)}).check(t, counts{"vault:prod": 51}, counts{})
	resolve([][]byte{value(100_000)}).check(t, counts{"vault:prod": 1}, counts{"vault:prod": 1})
}

func TestCensusBound(t *testing.T) {
	var c Census
	add := func(name string) Value {
		v := Parse([]byte("k8s:enc:aesgcm:v1:" + name + ":" + strings.Repeat("\xa5", 40)))
		c.Add(v)
		return v
	}
	for i := range maxNames + 100 {
		add(fmt.Sprintf("key%d", i))
	}
	if len(c.tallies) != maxNames {
		t.Fatalf("%d names", len(c.tallies))
	}
	if size := maxNames * (unsafe.Sizeof(counted{}) + unsafe.Sizeof(tally{}) + maxName); size > 25<<20 {
		t.Errorf("%d bytes of names at most", size)
	}
	late := add("late:name")
	if e, ambiguous := c.Resolve(late.Encryption, late.Ends); e.Key != "late" || !ambiguous {
		t.Errorf("%q, ambiguous %v", e.Key, ambiguous)
	}
	beside := add("key1:name")
	if e, ambiguous := c.Resolve(beside.Encryption, beside.Ends); e.Key != "key1" || !ambiguous {
		t.Errorf("%q, ambiguous %v", e.Key, ambiguous)
	}
	// One candidate needs no census.
	certain := add("later")
	if e, ambiguous := c.Resolve(certain.Encryption, certain.Ends); e.Key != "later" || ambiguous {
		t.Errorf("%q, ambiguous %v", e.Key, ambiguous)
	}
}

func TestCensusEmpty(t *testing.T) {
	var c Census
	v := Parse([]byte("k8s:enc:aesgcm:v1:a:b:" + strings.Repeat("\xa5", 40)))
	if e, ambiguous := c.Resolve(v.Encryption, v.Ends); e.Key != "a" || !ambiguous {
		t.Errorf("%q, ambiguous %v", e.Key, ambiguous)
	}
}

// The bounds must never be below the truth. The truth for small cases is summed up here.
func TestTail(t *testing.T) {
	for _, logP := range []float64{math.Log(1. / 256), -2 * math.Log(256), math.Log(0.2)} {
		for _, n := range []int{1, 2, 20, 300} {
			exact := 0.
			for k := n; k >= 1; k-- {
				p := math.Exp(logP)
				exact += math.Exp(logGamma(float64(n+1)) - logGamma(float64(k+1)) - logGamma(float64(n-k+1)) + float64(k)*logP + float64(n-k)*math.Log1p(-p))
				if exact < 1e-290 {
					continue
				}
				if bound := tail(n, k, logP); bound < math.Log(exact)-1e-9 || bound > 0 {
					t.Errorf("P(at least %d of %d) is e^%v, bound e^%v", k, n, math.Log(exact), bound)
				}
			}
		}
	}
}

func BenchmarkCensusAdd(b *testing.B) {
	values := newSource(8).many(10_000, AESGCM, "key1")
	parsed := make([]Value, len(values))
	for i, v := range values {
		parsed[i] = Parse(v)
	}
	var c Census
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Add(parsed[i%len(parsed)])
	}
}
