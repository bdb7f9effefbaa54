package atrest

import (
	"hash/maphash"
	"math"
	"strings"
)

const (
	// leastShare is the share of the values under a name that must carry an extension before the name is extended by it.
	leastShare = 0.05
	// witnesses is how many different values with an ambiguous name are told from copies of each other.
	witnesses = 3
	// unlikely is the probability below which an extension is no longer put down to chance.
	unlikely = 1e-3
	// impossible is the probability below which chance is out of the question.
	impossible = 1e-6
	// maxNames bounds the names that a Census counts, and with it its memory: some 25 MB if every name had the longest length.
	maxNames = 1 << 16
)

// Census counts candidate key names over a scan and decides where ambiguous names end. The zero value is an empty one.
// It is not safe for concurrent use. Its memory is bounded.
//
// Behind the ':' of a key name lie random bytes, and about one value in 160 continues there with printable bytes and a further ':',
// by chance. A key name that really holds ':' is continued so in every value under that key. So a name is extended while at least
// 5 % of the values under the shorter name carry the extension, else the shorter name holds; and where that rule alone could be
// wrong, Resolve says so.
type Census struct {
	tallies map[counted]*tally
	seed    maphash.Seed
}

// counted is a name within its namesakes: names of another provider or version are other names.
type counted struct {
	provider Provider
	version  string
	name     string
}

// tally counts the values that carry a name as a candidate. A copied value is no independent witness against chance, so one
// with the body of an early witness is not counted again.
type tally struct {
	values int
	bodies [witnesses]uint64 // hashes of the first ambiguous values' bodies; 0 is unused
}

// Add counts one value. Values with a Fault do not count.
func (c *Census) Add(v Value) {
	e := v.Encryption
	if v.Fault != "" || e.Key == "" || e.Version != V1 {
		return
	}
	if len(v.Ends) == 0 {
		if t := c.tally(e, len(e.Key)); t != nil {
			t.values++
		}
		return
	}
	body := c.hash(v.Body(e))
	for _, end := range v.Ends {
		c.tally(e, end).witness(body)
	}
	c.tally(e, len(e.Key)).witness(body)
}

// tally returns the count of e.Key cut at end, or nil when it would be one name too many.
func (c *Census) tally(e Encryption, end int) *tally {
	t, ok := c.tallies[counted{e.Provider, e.Version, e.Key[:end]}]
	if ok || len(c.tallies) >= maxNames {
		return t
	}
	c.start()
	t = &tally{}
	c.tallies[counted{e.Provider, e.Version, strings.Clone(e.Key[:end])}] = t
	return t
}

// values is how many values carry e.Key cut at end. 0 means that they were not counted.
func (c *Census) values(e Encryption, end int) int {
	if t := c.tallies[counted{e.Provider, e.Version, e.Key[:end]}]; t != nil {
		return t.values
	}
	return 0
}

// hash tells bodies apart by their first bytes, which hold the nonce. It is never 0.
func (c *Census) hash(body []byte) uint64 {
	c.start()
	return maphash.Bytes(c.seed, body[:min(len(body), 256)]) | 1
}

func (c *Census) start() {
	if c.tallies == nil {
		c.tallies = map[counted]*tally{}
		c.seed = maphash.MakeSeed()
	}
}

func (t *tally) witness(body uint64) {
	if t == nil {
		return
	}
	for i, known := range t.bodies {
		if known == body {
			return
		}
		if known == 0 {
			t.bodies[i] = body
			break
		}
	}
	t.values++
}

// Resolve decides which candidate name a value has, out of its Encryption and Ends, once all values of the scan were added.
// Without ends the name is certain. ambiguous is true when the name is the best guess and no more:
//
//   - at least 5 % of the values under the shorter name carry the extension, but chance could have done it (more often than once
//     in a million scans). The longer name is returned if chance does that less than once in 1,000 scans, else the shorter one;
//   - less than 5 % carry it, but chance does that less than once in 1,000 scans: probably a second key, whose name continues the
//     first one's. The shorter name is returned;
//   - the name was not counted, because the scan held more than 65,536 names.
//
// What chance does is reckoned for the number of values under the shorter name and for all extensions of the same length together,
// so 17 odd ones in 5,000 values are put down to chance, and three equal ones of three bytes are not. A single value whose name
// really continues a busy key's name by a few bytes cannot be told from chance and counts under the shorter name; KeyInferred stays
// true on it. In turn, once a longer name is certain, a value of the shorter one that begins just so by chance counts under the longer
// one: one value in 65,536 for an extension of one byte. Only the EncryptionConfiguration can settle all of this.
func (c *Census) Resolve(e Encryption, ends []int) (resolved Encryption, ambiguous bool) {
	if len(ends) == 0 {
		return e, false
	}
	end := func(i int) int {
		if i < len(ends) {
			return ends[i]
		}
		return len(e.Key)
	}
	at := 0
	for ; at < len(ends); at++ {
		with := c.values(e, end(at+1))
		// Bodies that are impossible under the shorter name leave values under the longer one alone; they count as evidence for it.
		under := max(c.values(e, end(at)), with)
		if c.values(e, end(at)) == 0 || with == 0 {
			ambiguous = true
			break
		}
		if float64(with) < leastShare*float64(under) {
			for further := at + 1; further <= len(ends); further++ {
				n := c.values(e, end(further))
				if n == 0 || chance(under, n, e.Key[end(at)+1:end(further)]) < math.Log(unlikely) {
					ambiguous = true
				}
			}
			break
		}
		p := chance(under, with, e.Key[end(at)+1:end(at+1)])
		if p >= math.Log(impossible) {
			ambiguous = true
		}
		if p >= math.Log(unlikely) {
			break
		}
	}
	e.Key = e.Key[:end(at)]
	return e, ambiguous
}

// chance is the logarithm of an upper bound for the probability that among values with random bodies at least with of them begin
// with one and the same extension of this shape and a ':', whichever extension that is.
func chance(values, with int, extension string) float64 {
	const printableButColon = 0x7e - 0x20
	free := len(extension) - strings.Count(extension, ":")
	same := -float64(len(extension)+1) * math.Log(256)
	return min(0, float64(free)*math.Log(printableButColon)+tail(values, with, same))
}

// tail is the logarithm of an upper bound for the probability of at least k successes in n trials, each of probability e^logP:
// the better one of the union bound and Chernoff's.
func tail(n, k int, logP float64) float64 {
	trials, successes := float64(n), float64(k)
	share := successes / trials
	if math.Log(share) <= logP {
		return 0
	}
	choose := logGamma(trials+1) - logGamma(successes+1) - logGamma(trials-successes+1)
	divergence := share * (math.Log(share) - logP)
	if share < 1 {
		divergence += (1 - share) * (math.Log1p(-share) - math.Log1p(-math.Exp(logP)))
	}
	return min(0, choose+successes*logP, -trials*divergence)
}

func logGamma(x float64) float64 {
	y, _ := math.Lgamma(x)
	return y
}
