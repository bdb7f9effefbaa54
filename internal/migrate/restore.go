package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/storedversions"
	"github.com/svmctl/svmctl/internal/verify"
)

// restoreStoredVersions puts back into status.storedVersions what etcd still holds: the in-tree controller trims it without
// looking, and a version that is not named there can be dropped from the definition while objects depend on it.
func (m *migration) restoreStoredVersions(ctx context.Context) {
	r := m.report
	if m.Backend != SVM || r.After == nil || ctx.Err() != nil {
		return
	}
	for _, t := range m.targets {
		if t.definition == nil || t.refused != "" {
			continue
		}
		d, err := m.Definitions.Get(ctx, t.definition.Name)
		if err != nil {
			r.Warnings = append(r.Warnings, fmt.Sprintf("whether the in-tree controller trimmed storedVersions of %s could not be read: %v", t.definition.Name, err))
			continue
		}
		var lost []string
		var unseen int64
		for _, g := range r.After.Groups {
			if g.Group != t.name.Group || g.Resource != t.name.Name {
				continue
			}
			if g.Stored == nil {
				unseen += g.Objects
				continue
			}
			version := strings.TrimPrefix(g.Stored.APIVersion, d.Group+"/")
			if !slices.Contains(d.StoredVersions, version) && !slices.Contains(lost, version) {
				lost = append(lost, version)
			}
		}
		trimmed := slices.ContainsFunc(t.definition.StoredVersions, func(v string) bool { return !slices.Contains(d.StoredVersions, v) })
		if unseen > 0 && trimmed {
			// Nobody can see at which version these lie, so all that were named before may be needed.
			for _, v := range t.definition.StoredVersions {
				if !slices.Contains(d.StoredVersions, v) && !slices.Contains(lost, v) {
					lost = append(lost, v)
				}
			}
		}
		if len(lost) > 0 {
			m.putBack(ctx, t, lost)
		}
	}
}

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
