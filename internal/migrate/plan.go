package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/node"
	"github.com/svmctl/svmctl/internal/verify"
)

// plan adds up what is stale, per target, and finds where the targets lie.
func (m *migration) plan(ctx context.Context) error {
	plan := Plan{Backend: m.Backend, Revision: m.report.Before.Source.Revision, Resources: []PlannedResource{}}
	for i := range m.targets {
		p, err := m.planTarget(&m.targets[i])
		if err != nil {
			return err
		}
		plan.Resources = append(plan.Resources, p)
		if p.Refused == "" {
			plan.Bytes += p.Bytes
			m.report.Outcomes.AlreadyCurrent += p.current
			if p.Unreadable > 0 {
				m.report.Warnings = append(m.report.Warnings, fmt.Sprintf("%d %s are left as they are: no apiserver with this EncryptionConfiguration could read them", p.Unreadable, p.Resource))
			}
			if unknown := p.Objects - p.Stale - p.Unreadable - p.current; unknown > 0 {
				m.report.Warnings = append(m.report.Warnings, fmt.Sprintf("whether %d %s are stale could not be told: the reasons say why", unknown, p.Resource))
			}
		}
	}
	if health, err := m.Store.Health(ctx); err == nil {
		plan.DBSize, plan.Quota = health.DBSize, m.quota(health)
	}
	m.report.Plan = plan
	m.scope = m.targetPrefixes()
	return nil
}

func (m *migration) planTarget(t *target) (PlannedResource, error) {
	e, _ := m.Expectations.For(t.name)
	p := PlannedResource{Target: targetOf(e), Refused: t.refused, Preflight: []Note{}}
	for _, g := range m.report.Before.Groups {
		if g.Resource != t.name.Name || g.Group != t.name.Group {
			continue
		}
		p.Objects += g.Objects
		if g.Worst == "" || g.Worst == verify.Info {
			p.current += g.Objects
		}
	}
	namespaces := make(map[string]bool)
	for s, err := range m.stale(m.report.Before, *t, 0) {
		if err != nil {
			return p, err
		}
		if t.root == "" {
			t.root = s.Object.Root
		}
		if t.root != s.Object.Root {
			return p, fmt.Errorf("stale %s lie under %s and under %s: name the storage root of this apiserver with --prefix", t.name, t.root, s.Object.Root)
		}
		p.Stale++
		if s.Terminating {
			p.Terminating++
		}
		p.Bytes += s.Size
		namespaces[s.Object.Namespace] = true
	}
	p.Namespaces = len(namespaces)
	for s, err := range m.report.Before.Suspects() {
		switch {
		case err != nil:
			return p, err
		case t.has(s) && shut(s):
			p.Unreadable++
		}
	}
	return p, nil
}

// stale yields the objects of a target that a rewrite would mend and that were written after a revision. From the beginning those
// are among them of which nobody can see at which version they lie: the apiserver writes nothing where nothing is stale.
func (m *migration) stale(r *audit.Report, t target, after int64) func(func(audit.Suspect, error) bool) {
	return func(yield func(audit.Suspect, error) bool) {
		for s, err := range r.Suspects() {
			if err == nil {
				mendable := slices.ContainsFunc(s.Faults, func(f verify.Fault) bool { return rewritable(f.Code) || after == 0 && t.unseen(f) })
				if !mendable || shut(s) || !t.has(s) || s.ModRevision <= after {
					continue
				}
			}
			if !yield(s, err) {
				return
			}
		}
	}
}

// has tells whether an object is of the target.
func (t target) has(s audit.Suspect) bool {
	return s.Object.Resource == t.name.Name && s.Object.Group == t.name.Group
}

// shut tells whether an apiserver could not read the object, and so cannot rewrite it.
func shut(s audit.Suspect) bool {
	return s.Entry.Fault == etcdscan.CannotOpen && !s.Entry.Obstacle.Unknown()
}

// unseen tells whether a fault is that the version of a custom resource cannot be seen.
func (t target) unseen(f verify.Fault) bool { return t.definition != nil && f.Code == verify.NotOpened }

// targetPrefixes is what has to be read again: the directories of the targets in every root that was scanned, as far as
// the scope of the first scan reaches.
func (m *migration) targetPrefixes() []string {
	before := m.report.Before
	switch {
	case len(m.Prefixes) > 0:
		return m.Prefixes // not those of the scope, which no longer tell that one may be a key itself
	case len(m.Resources) == 0:
		return before.Scope.Prefixes
	}
	var prefixes []string
	for _, root := range before.Roots {
		for _, t := range m.targets {
			prefixes = append(prefixes, root+"/"+key.DirIn(root, t.name.Group, t.name.Name))
		}
	}
	return prefixes
}

// elsewhere finds what lies under another key than the targets', in resources that are not migrated now. Where versions
// alone are migrated there is no other key.
func (m *migration) elsewhere() {
	if !slices.ContainsFunc(m.Expectations, func(e verify.Expectation) bool { return e.Value != (verify.Value{}) }) {
		return
	}
	if len(m.Prefixes) > 0 {
		m.noElsewhere()
		return
	}
	counts := make(map[Elsewhere]int64)
	for _, g := range m.report.Before.Entries {
		if g.AtRest.Provider == atrest.Identity || m.isTarget(g) || m.asConfigured(g) {
			continue
		}
		e := Elsewhere{Resource: resourceOf(g).String(), Value: verify.Describe(g.AtRest)}
		if g.Resource == "" {
			// No API rewrites it, and its key is needed all the same.
			e.Note = g.Note
		}
		counts[e] += g.Objects
	}
	for e, n := range counts {
		e.Objects = &n
		m.report.Elsewhere = append(m.report.Elsewhere, e)
	}
	for _, r := range m.away() {
		if slices.ContainsFunc(m.targets, func(t target) bool { return t.name == r }) {
			continue // a reason of the verdict
		}
		m.report.Elsewhere = append(m.report.Elsewhere, Elsewhere{Resource: r.String(), Note: "in another etcd, not read"})
	}
	slices.SortFunc(m.report.Elsewhere, func(a, b Elsewhere) int {
		return strings.Compare(a.Value+"\x00"+a.Resource, b.Value+"\x00"+b.Resource)
	})
}

// asConfigured tells whether objects are under the key that the EncryptionConfiguration writes their resource with.
func (m *migration) asConfigured(g etcdscan.Entry) bool {
	e, ok := m.Configured.For(resourceOf(g))
	return ok && g.Resource != "" && e.Configured.KeyIDUnknown == "" && e.Value.Matches(g.AtRest) && !slices.ContainsFunc(m.Configured.EntryFaults(g), func(f verify.Fault) bool { return f.Severity != verify.Info })
}

func resourceOf(g etcdscan.Entry) verify.Resource {
	return verify.Resource{Group: g.Group.Group, Name: g.Resource}
}

// away are resources that an apiserver is known to keep in another etcd.
func (m *migration) away() []verify.Resource {
	overrides := slices.Clone(m.Overrides)
	for _, s := range m.survey.Distinct() {
		if s.Flags != nil {
			overrides = append(overrides, s.Flags.Overrides...)
		}
	}
	var resources []verify.Resource
	for _, name := range node.Away(overrides, m.Origin.Endpoints) {
		if r, err := verify.ParseResource(name); err == nil {
			resources = append(resources, r)
		}
	}
	return resources
}

func (m *migration) noElsewhere() {
	m.report.Elsewhere = []Elsewhere{{Resource: "*", Note: "not scanned"}}
}

// isTarget tells whether objects are migrated now, or lie where the migration brings its own. A KMS target without a key ID
// names no KEK, so that nothing can be told to be under the same; nor can what is not opened where several keys bear the name.
func (m *migration) isTarget(g etcdscan.Entry) bool {
	name := resourceOf(g)
	if slices.ContainsFunc(m.targets, func(t target) bool { return t.name == name && t.refused != "" }) {
		return false // it stays where it is
	}
	for _, e := range m.Expectations {
		if e.Resource == name && g.Resource != "" && e.Value != (verify.Value{}) {
			return true
		}
		if e.Value.Key != "" && (e.Value.Provider != string(atrest.KMS) || e.Value.KeyID != "") && e.Matches(g.Group) {
			return true
		}
	}
	return slices.ContainsFunc(m.targets, func(t target) bool { return t.name == name })
}

// current tells whether a value, read just now, is as the target is expected to be, as far as a rewrite can bring it
// there, and names what was found of that.
func (m *migration) current(ctx context.Context, t target, kv etcdscan.KeyValue) (bool, string) {
	entry := etcdscan.Inspect(ctx, m.rootOf(t, kv.Key), &kv, m.Opener)
	found := verify.Describe(entry.AtRest)
	if want, _ := m.Expectations.For(t.name); want.Version != "" && entry.Stored.APIVersion != "" {
		found += " at " + entry.Stored.APIVersion
		if want.Value == (verify.Value{}) {
			found = entry.Stored.APIVersion
		}
	}
	return !m.Expectations.Stale(&entry, rewritable), found
}

// rootOf is the storage root of a key of the target.
func (m *migration) rootOf(t target, k string) string {
	root, _, found := strings.Cut(k, "/"+key.Dir(t.name.Group, t.name.Name))
	if !found {
		return t.root
	}
	return root
}
