package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify/evidence"
)

const unencrypted = "unencrypted"

// store is how the objects are encrypted: a bar for each resource, and the same in numbers.
type store struct {
	Keys     []key
	States   []key
	Expected group
	Rest     group
	Tables   []table
	RowCount int
	History  []row
	Older    string // how many older revisions there are; empty: nobody looked
}

// group is resources of one kind. What does not fit the page at first is folded.
type group struct {
	Objects      string
	Bars, Folded []bar
	More         string
}

// table is the rows of resources of one kind.
type table struct {
	Head string
	Rows []row
}

// key explains a fill or a pattern. Hash is all of a key ID's digest.
type key struct{ Fill, Over, Label, Hash string }

// bar is one resource, or one moment of it; the widths of the segments add up to barWidth.
type bar struct {
	Resource string
	Objects  string
	Segments []segment
	Text     string // the same as a sentence
	Loud     bool   // something is unencrypted that is expected not to be
	odd      bool   // something else is not as expected
	count    int64
}

type segment struct {
	X, Width string // of the bar, such as 12.5%
	Fill     string // which key: k1 …; plain, bare or odd where there is none
	Over     string // pattern over it: stale, covered; empty: none
	Label    string
	State    string // in words; empty where it is as expected, or nothing is
	Objects  string
	Loud     bool
	count    int64
	rank     int
	width    int // of barWidth
}

const (
	barWidth = 1000
	// A single object among a million is to be seen, and one that lies there unencrypted first of all.
	narrowest, narrowestLoud = 8, 24
	fillsOfKeys              = 6
	barsShown                = 12
	restShown                = 6
)

// palette gives each key a fill, in the order in which they are met.
type palette struct{ keys []key }

func (p *palette) key(label, hash string) key {
	for _, k := range p.keys {
		if k.Label == label && k.Hash == hash {
			return k
		}
	}
	k := key{Fill: fmt.Sprintf("k%d", len(p.keys)%fillsOfKeys+1), Label: label, Hash: hash}
	p.keys = append(p.keys, k)
	return k
}

// keyName names a key as svmctl's tables do, with what the apiservers' metrics show of a KMS key's ID.
func keyName(provider, version, name, idHash string) string {
	switch atrest.Provider(provider) {
	case atrest.Identity:
		return unencrypted
	case atrest.Unknown, "":
		return "unknown provider"
	}
	text := provider + ":" + name
	if provider == "kms" && version == "v1" {
		text += " (KMS v1)"
	}
	if idHash != "" {
		text += " " + shortHash(idHash)
	}
	return text
}

// shortHash is enough of a digest to tell keys apart; the legend has all of it.
func shortHash(hash string) string {
	if kind, hex, ok := strings.Cut(hash, ":"); ok && kind == "sha256" && len(hex) > 12 {
		return kind + ":" + hex[:12] + "…"
	}
	return hash
}

var stateWords = map[evidence.State]string{
	evidence.StateOK: "as expected", evidence.StatePlaintext: unencrypted, evidence.StateStale: "not as expected",
	evidence.StateUnknown: "not understood", evidence.StateError: "cannot be opened, or in the wrong place", evidence.StateNotJudged: "nothing expected",
}

func storeOf(s *evidence.Scan, keys *palette) store {
	var out store
	population := slices.SortedStableFunc(slices.Values(s.Population), func(a, b evidence.Population) int {
		// Keys that most objects lie under get the first fills.
		return cmp.Compare(b.Objects, a.Objects)
	})
	bars := make(map[bool]map[string][]segment)
	objects := make(map[bool]int64)
	seen := make(map[string]bool)
	for _, p := range population {
		seg := segment{Label: keyName(p.Provider, p.Version, p.Key, p.KeyIDHash), Objects: number(p.Objects), count: p.Objects}
		plain := atrest.Provider(p.Provider) == atrest.Identity
		switch {
		case plain && p.Expected && p.State != evidence.StateOK:
			seg.Fill, seg.Loud, seg.rank = "plain", p.State == evidence.StatePlaintext, 3
		case plain:
			seg.Fill, seg.rank = "bare", 2
		case p.State == evidence.StateUnknown || p.State == evidence.StateError:
			seg.Fill, seg.rank, seg.State = "odd", 4, stateWords[p.State]
		default:
			seg.Fill = keys.key(seg.Label, p.KeyIDHash).Fill
		}
		if p.State == evidence.StateStale {
			seg.Over, seg.State, seg.rank = "stale", stateWords[p.State], 1
		}
		if p.Exception != "" {
			seg.Over, seg.State = "covered", "under exception "+p.Exception
		}
		seen[seg.Fill], seen[seg.Over] = true, true
		if bars[p.Expected] == nil {
			bars[p.Expected] = make(map[string][]segment)
		}
		name := cmp.Or(p.Resource, "(unknown)")
		bars[p.Expected][name] = append(bars[p.Expected][name], seg)
		objects[p.Expected] += p.Objects
	}
	out.Keys = slices.Clone(keys.keys)
	for _, k := range []key{
		{Fill: "plain", Label: "unencrypted, and expected to be encrypted"},
		{Fill: "bare", Label: "unencrypted, and not expected to be otherwise"},
		{Fill: "odd", Label: "not understood, or cannot be opened"},
		{Over: "stale", Label: "another key or version than expected"},
		{Over: "covered", Label: "under an approved exception"},
	} {
		if seen[cmp.Or(k.Fill, k.Over)] {
			out.States = append(out.States, k)
		}
	}
	out.Expected = groupOf(bars[true], objects[true], barsShown)
	out.Rest = groupOf(bars[false], objects[false], restShown)
	for _, t := range []table{{Head: "Expected to be encrypted", Rows: populationRows(s.Population, true)}, {Head: "Not expected to be encrypted", Rows: populationRows(s.Population, false)}} {
		if len(t.Rows) > 0 {
			out.Tables = append(out.Tables, t)
			out.RowCount += len(t.Rows)
		}
	}
	if s.Audit != nil && s.Audit.History != nil {
		h := s.Audit.History
		out.Older = fmt.Sprintf("%s can still be had, ", count(h.Revisions, "older revision"))
		if h.Compacted > 0 {
			out.Older += fmt.Sprintf("from revision %s on.", number(h.Compacted))
		} else {
			out.Older += "as nothing was ever compacted."
		}
		for _, g := range h.Groups {
			name := cmp.Or(g.Resource, "(unknown)")
			if g.Group != "" {
				name += "." + g.Group
			}
			plain := g.AtRest.Provider == atrest.Identity
			out.History = append(out.History, row{Cells: []string{name, keyName(string(g.AtRest.Provider), g.AtRest.Version, g.AtRest.Key, g.AtRest.KeyID), number(g.Revisions)}, Loud: plain && slices.Contains(s.Scope.Resources, name)})
		}
	}
	return out
}

// populationRows are what is not as expected before the rest.
func populationRows(population []evidence.Population, expected bool) []row {
	order := []evidence.State{evidence.StatePlaintext, evidence.StateError, evidence.StateUnknown, evidence.StateStale, evidence.StateOK, evidence.StateNotJudged}
	sorted := slices.SortedStableFunc(slices.Values(population), func(a, b evidence.Population) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State)), cmp.Compare(b.Objects, a.Objects), cmp.Compare(a.Resource, b.Resource),
			cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Key, b.Key), cmp.Compare(a.KeyIDHash, b.KeyIDHash), cmp.Compare(a.Exception, b.Exception))
	})
	var rows []row
	for _, p := range sorted {
		if p.Expected != expected {
			continue
		}
		state := cmp.Or(stateWords[p.State], string(p.State))
		if p.Exception != "" {
			state += ", covered by exception " + p.Exception
		}
		rows = append(rows, row{
			Cells: []string{
				cmp.Or(p.Resource, "(unknown)"), keyName(p.Provider, p.Version, p.Key, p.KeyIDHash), state,
				number(p.Objects), number(p.Opened),
			},
			Loud: p.Expected && (p.State == evidence.StatePlaintext || p.State == evidence.StateError),
		})
	}
	return rows
}

func groupOf(resources map[string][]segment, objects int64, shown int) group {
	out := group{Objects: number(objects)}
	for name, segments := range resources {
		out.Bars = append(out.Bars, *newBar(name, segments))
	}
	rank := func(b bar) int {
		switch {
		case b.Loud:
			return 0
		case b.odd:
			return 1
		}
		return 2
	}
	slices.SortFunc(out.Bars, func(a, b bar) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.count, a.count), cmp.Compare(a.Resource, b.Resource))
	})
	for shown < len(out.Bars) && rank(out.Bars[shown]) < 2 {
		shown++
	}
	if len(out.Bars) > shown {
		out.Bars, out.Folded = out.Bars[:shown], out.Bars[shown:]
		out.More = count(int64(len(out.Folded)), "more resource")
	}
	return out
}

// newBar lays the segments out: those as expected first, each wide enough to be seen.
func newBar(resource string, segments []segment) *bar {
	b := &bar{Resource: resource, Segments: segments}
	slices.SortStableFunc(b.Segments, func(a, c segment) int {
		return cmp.Or(cmp.Compare(a.rank, c.rank), cmp.Compare(c.count, a.count), cmp.Compare(a.Label, c.Label), cmp.Compare(a.State, c.State))
	})
	var texts []string
	spare := barWidth
	for i := range b.Segments {
		s := &b.Segments[i]
		b.count += s.count
		b.Loud = b.Loud || s.Loud
		b.odd = b.odd || s.State != "" || s.Fill == "plain"
		s.width = min(narrowest, barWidth/len(segments))
		if s.Loud {
			s.width = min(narrowestLoud, barWidth/len(segments))
		}
		spare -= s.width
		text := fmt.Sprintf("%s %s", s.Objects, s.Label)
		if s.State != "" {
			text += ", " + s.State
		}
		texts = append(texts, text)
	}
	x := 0
	for i := range b.Segments {
		s := &b.Segments[i]
		s.width += int(float64(max(spare, 0)) * float64(s.count) / float64(max(b.count, 1)))
		if i == len(b.Segments)-1 {
			s.width = barWidth - x
		}
		s.X, s.Width = percent(x), percent(s.width)
		x += s.width
	}
	b.Objects = count(b.count, "object")
	b.Text = fmt.Sprintf("%s, %s: %s", resource, b.Objects, strings.Join(texts, "; "))
	return b
}

func percent(width int) string { return fmt.Sprintf("%d.%d%%", width/10, width%10) }
