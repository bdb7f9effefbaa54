package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/storedversions"
	"github.com/svmctl/svmctl/internal/verify"
)

// restoreStoredVersions puts back into status.storedVersions what etcd still holds: the in-tree controller trims it without
// looking, and a version that is not named there can be dropped from the definition while objects depend on it.
func (m *migration) restoreStoredVersions(ctx context.Context) {
	r := m.report
	if m.Backend != SVM || m.DryRun != NoDryRun {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleGrace)
	defer cancel()
	for _, t := range m.targets {
		if t.definition == nil || t.refused != "" {
			continue
		}
		d, err := m.Definitions.Get(ctx, t.definition.Name)
		if err != nil {
			r.Warnings = append(r.Warnings, fmt.Sprintf("whether the in-tree controller trimmed storedVersions of %s could not be read: %v", t.definition.Name, err))
			continue
		}
		needed, seen := stillStored(r.After, t, r.Before.Roots)
		if !seen {
			// Nobody can tell which versions are left, so that all that were named before may be needed.
			needed = append(needed, t.definition.StoredVersions...)
		}
		var lost []string
		for _, v := range needed {
			if !slices.Contains(d.StoredVersions, v) && !slices.Contains(lost, v) {
				lost = append(lost, v)
			}
		}
		if len(lost) > 0 {
			m.putBack(ctx, t, lost)
		}
	}
}

// stillStored lists the versions at which a look found objects of a target; seen is false if some could not be told, or were
// not looked at.
func stillStored(after *audit.Report, t target, roots []string) (versions []string, seen bool) {
	if after == nil || !after.Scope.Whole {
		return nil, false
	}
	seen = true
	for _, root := range roots {
		dir := root + "/" + key.DirIn(root, t.name.Group, t.name.Name)
		if !slices.ContainsFunc(after.Scope.Prefixes, func(p string) bool { return strings.HasPrefix(dir, p) }) {
			seen = false
		}
	}
	for _, g := range after.Groups {
		switch {
		case t.root != "" && g.Root != t.root: // of another control plane in the same etcd
		case g.Resource == "" && misfits[g.Note]:
			seen = false
		case g.Group != t.name.Group || g.Resource != t.name.Name:
		case g.Stored == nil:
			seen = false
		default:
			versions = append(versions, strings.TrimPrefix(g.Stored.APIVersion, t.name.Group+"/"))
		}
	}
	return versions, seen
}

// misfits are the notes of keys that may lie among the objects of a resource without naming one: a LIST reads them.
var misfits = map[string]bool{key.NoteSegments: true, key.NoteEmptySegment: true, key.NoteBadName: true, key.NoteBadNamespace: true}

func (m *migration) putBack(ctx context.Context, t target, versions []string) {
	what := fmt.Sprintf("%s in storedVersions of %s", strings.Join(versions, ", "), t.definition.Name)
	reason := audit.Reason{Code: verify.StoredVersions, Severity: verify.Error, Resource: t.name.String(), Found: strings.Join(versions, ", "),
		Message: "the in-tree controller took out of storedVersions what etcd may still hold; it was put back"}
	if _, err := storedversions.PutBack(ctx, m.Definitions, t.definition.Name, versions); err != nil {
		reason.Message = "storedVersions does not name what etcd may still hold, and it could not be put back"
		m.report.Warnings = append(m.report.Warnings, fmt.Sprintf("could not put back %s: %v", what, err))
	}
	m.report.Reasons = append(m.report.Reasons, reason)
}
