package keys

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
	"github.com/svmctl/svmctl/internal/verify"
)

// makeRows has a row for each key of the file and each that was found, in the order of the file, and counts the objects.
func (l *look) makeRows() {
	if l.Config != nil {
		for i, k := range l.Config.Keys {
			l.configured(i, k)
		}
	}
	for i := range l.entries {
		l.count(&l.entries[i])
	}
	for i := range l.old {
		if e := &l.old[i]; e.AtRest.Provider != atrest.Identity {
			l.row(e.AtRest, 0).History += e.Objects
		}
	}
	l.judgeKept()
	l.askedAbout()
	slices.SortStableFunc(l.rows, func(a, b *Row) int { return cmp.Or(compareBool(!a.Configured, !b.Configured), l.compare(a, b)) })
}

// compare orders rows of which both or none are in the file.
func (l *look) compare(a, b *Row) int {
	if a.Configured && (a.Provider != b.Provider || a.Version != b.Version || a.Key != b.Key) {
		return 0 // as the file has them
	}
	return cmp.Or(strings.Compare(string(a.Provider), string(b.Provider)), strings.Compare(a.Version, b.Version), strings.Compare(a.Key, b.Key),
		compareBool(!a.Write, !b.Write), strings.Compare(a.KeyID, b.KeyID), cmp.Compare(a.Twin, b.Twin))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// configured adds the row of a key of the file. A KMS v2 provider has one for the key that its plugin encrypts with.
func (l *look) configured(i int, k encryption.Key) {
	e := k.AtRest()
	if k.Provider == atrest.KMS && k.Version == atrest.V2 {
		e.KeyID = l.Current[k.Name].KeyID
	}
	row := l.row(e, k.Twin)
	row.Configured = true
	for _, p := range l.Config.WrittenWith(i) {
		row.Writes, row.Write = append(row.Writes, p.String()), true
	}
	for _, p := range l.Config.ReadWith(i) {
		row.Reads = append(row.Reads, p.String())
	}
}

// row finds or adds a row.
func (l *look) row(e atrest.Encryption, twin int) *Row {
	for _, r := range l.rows {
		if r.Provider == e.Provider && r.Version == e.Version && r.Key == e.Key && r.KeyID == e.KeyID && r.Twin == twin {
			return r
		}
	}
	r := &Row{Provider: e.Provider, Version: e.Version, Key: e.Key, KeyID: e.KeyID, Twin: twin, Writes: []string{}, Reads: []string{}, Objects: make(map[string]int64)}
	if e.KeyID != "" {
		r.KeyIDHash = encryption.KeyIDHash(e.KeyID)
	}
	l.rows = append(l.rows, r)
	return r
}

// count adds the objects of an entry to the row of their key, and to those rows whose key they may need.
func (l *look) count(e *etcdscan.Entry) {
	if e.AtRest.Provider == atrest.Identity {
		l.countPlaintext(e)
		return
	}
	open := e.Stored != (stored.Type{})
	row := l.row(e.AtRest, e.Twin)
	row.add(e, open)
	if open {
		return
	}
	// An apiserver tries every key whose name the value begins with.
	for _, other := range l.rows {
		if other == row || other.Provider != row.Provider || other.Version != row.Version {
			continue
		}
		twin := other.Key == row.Key && other.Twin != row.Twin
		continued := other.Key != "" && strings.HasPrefix(row.Key, other.Key+":")
		candidate := slices.ContainsFunc(e.Candidates(), func(g etcdscan.Group) bool { return g.AtRest.Key == other.Key && other.Key != row.Key })
		if twin || continued || candidate {
			other.doubtful += e.Objects
		}
	}
}

// askedAbout adds the row of a KMS key ID that somebody asks about and that nothing is under: no list tells which there once were.
func (l *look) askedAbout() {
	w := l.CanRemove
	if w == nil || w.Provider != string(atrest.KMS) || w.KeyID == "" {
		return
	}
	e := encryption.Key{Provider: atrest.KMS, Version: atrest.V2, Name: w.Key}.AtRest()
	if l.Config != nil && !slices.ContainsFunc(l.Config.Keys, func(k encryption.Key) bool { return k.AtRest() == e }) {
		return
	}
	e.KeyID = w.KeyID
	r := l.row(e, 0)
	r.unmet = r.Total == 0 && !slices.Contains(l.met[w.Key], r.KeyIDHash)
}

// countPlaintext counts what needs the identity provider: objects of resources that the file covers.
func (l *look) countPlaintext(e *etcdscan.Entry) {
	r := verify.Resource{Group: e.Group.Group, Name: e.Resource}
	if beside, err := verify.ParseResource(e.Beside); e.Resource == "" && err == nil {
		r = beside // a list of that resource reads it
	}
	if l.Config == nil || e.Unserved || r.Name == "" || len(l.Config.For(r.Group, r.Name)) == 0 {
		return
	}
	l.row(e.AtRest, 0).add(e, e.Stored != (stored.Type{}))
}

func (r *Row) add(e *etcdscan.Entry, open bool) {
	name := verify.Resource{Group: e.Group.Group, Name: e.Resource}.String()
	if e.Resource == "" {
		name = "(" + e.Note + ")"
	}
	r.Objects[name] += e.Objects
	r.Total += e.Objects
	if open {
		r.Opened += e.Objects
	}
}

// spec is the row as PROVIDER:KEY[:KEYID].
func (r *Row) spec() string {
	return verify.Value{Provider: string(r.Provider), Key: r.Key, KeyID: r.KeyID}.String()
}

// opened doubts everything while values are closed that the file could open, or that lie under a key of its names and are not.
func (l *look) opened() {
	closed := make(map[string]int64)
	for _, e := range l.entries {
		if e.AtRest.Provider == atrest.Identity || e.Stored != (stored.Type{}) {
			continue
		}
		switch {
		case e.Fault == etcdscan.CannotOpen && e.Obstacle == etcdscan.NoSuchKey && !e.Ambiguous:
			// Its prefix is that of no key of the file, so that it needs none.
		case e.Fault == etcdscan.CannotOpen:
			closed[string(e.Obstacle)] += e.Objects
		case e.Fault != etcdscan.NoFault:
			closed["no apiserver could have written them"] += e.Objects
		default:
			closed["nobody tried"] += e.Objects
		}
	}
	if l.Config == nil {
		return // nothing is called removable anyway
	}
	for _, why := range slices.Sorted(maps.Keys(closed)) {
		l.doubt("%d values are not open: %s", closed[why], why)
	}
}

// warnOfThree calls out a rotation that was begun on one that is not finished: one resource under three keys or more, the one
// that writes it now included.
func (l *look) warnOfThree() {
	under := make(map[string][]string)
	add := func(resource string, r *Row) {
		spec := r.spec()
		if r.Twin > 0 {
			spec = fmt.Sprintf("%s (number %d of that name)", spec, r.Twin+1)
		}
		if !slices.Contains(under[resource], spec) {
			under[resource] = append(under[resource], spec)
		}
	}
	for _, r := range l.rows {
		if r.Provider == atrest.Identity || r.Provider == atrest.Unknown {
			continue
		}
		for resource := range r.Objects {
			add(resource, r)
		}
	}
	for resource := range under {
		name, err := verify.ParseResource(resource)
		if err != nil || l.Config == nil {
			continue
		}
		writes := l.Config.Writes(name.Group, name.Name)
		for _, r := range l.rows {
			if r.Write && writes.Claims(atrest.Encryption{Provider: r.Provider, Version: r.Version, Key: r.Key}) && r.Twin == writes.Twin {
				add(resource, r)
			}
		}
	}
	for _, resource := range slices.Sorted(maps.Keys(under)) {
		if specs := under[resource]; len(specs) >= 3 {
			slices.Sort(specs)
			l.report.Warnings = append(l.report.Warnings, fmt.Sprintf("%s have %d live keys at once: a rotation was begun before the last one had ended: %s", resource, len(specs), strings.Join(specs, ", ")))
		}
	}
}
