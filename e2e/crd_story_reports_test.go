package e2e

import (
	"maps"
	"strings"
	"testing"
)

// selfieMigration has what the JSON of a migration says of custom resources, besides what every migration says.
type selfieMigration struct {
	migrationReport
	Stopped *struct {
		Code string `json:"code"`
	} `json:"stopped"`
	Plan struct {
		Resources []struct {
			Stale     int64 `json:"stale"`
			Preflight []struct {
				Code     string `json:"code"`
				Severity string `json:"severity"`
			} `json:"preflight"`
		} `json:"resources"`
	} `json:"plan"`
	Outcomes struct {
		outcomes
		Accepted int `json:"accepted"`
	} `json:"outcomes"`
	Failures []struct {
		failure
		Kind string `json:"kind"`
	} `json:"failures"`
	FailureCount int `json:"failureCount"`
}

func (r result) selfieMigration(t *testing.T) selfieMigration {
	t.Helper()
	var report selfieMigration
	r.decode(t, &report, "stopped", "plan", "outcomes", "failures", "failureCount", "verdict", "before", "after")
	if len(report.Plan.Resources) != 1 || len(report.Failures) != report.FailureCount {
		t.Fatalf("%d planned resources, %d failures listed of %d\n%s", len(report.Plan.Resources), len(report.Failures), report.FailureCount, r)
	}
	return report
}

// preflight is the severity of the note with the code, "" when there is none.
func (r selfieMigration) preflight(code string) string {
	for _, n := range r.Plan.Resources[0].Preflight {
		if n.Code == code {
			return n.Severity
		}
	}
	return ""
}

func (r selfieMigration) stopCode() string {
	if r.Stopped == nil {
		return ""
	}
	return r.Stopped.Code
}

// selfieRow is the row of SelfieRequests in a CRDReport.
type selfieRow struct {
	Name           string           `json:"name"`
	State          string           `json:"state"`
	Reason         string           `json:"reason"`
	StorageVersion string           `json:"storageVersion"`
	StoredVersions []string         `json:"storedVersions"`
	Stored         map[string]int64 `json:"stored"`
	Unknown        int64            `json:"unknown"`
	FromRevision   int64            `json:"fromRevision"`
	ToRevision     int64            `json:"toRevision"`
	Dropped        []string         `json:"dropped"`
	Refused        bool             `json:"refused"`
}

func (r result) selfieRow(t *testing.T) selfieRow {
	t.Helper()
	var report struct {
		Kind string      `json:"kind"`
		CRDs []selfieRow `json:"crds"`
	}
	r.decode(t, &report, "apiVersion", "kind", "tool", "source", "crds")
	if report.Kind != "CRDReport" || len(report.CRDs) != 1 || report.CRDs[0].Name != selfies {
		t.Fatalf("not a report on %s alone\n%s", selfies, r)
	}
	return report.CRDs[0]
}

// wantPruneRefused checks that storedVersions is not trimmed while etcd holds so many objects of v1, and that the person
// is told how many and what to do.
func (p *plane) wantPruneRefused(t *testing.T, v1, v2 int64, count string) {
	t.Helper()
	refused := p.svmctl(t, "crds", "prune", selfies, "-o", "json")
	refused.wantCode(t, 3)
	refused.wantError(t, selfies, count, "svmctl migrate "+selfies)
	want := map[string]int64{"v1": v1}
	if v2 > 0 {
		want["v2"] = v2
	}
	if row := refused.selfieRow(t); !row.Refused || row.State != "NeedsMigration" || !strings.Contains(row.Reason, count) || !maps.Equal(row.Stored, want) ||
		row.Unknown != 0 || len(row.Dropped) != 0 {
		t.Errorf("unexpected row %+v, want %v", row, want)
	}
	p.wantSelfieStoredVersions(t, `["v1","v2"]`)
}

// wantPruned checks that v1 is taken out of storedVersions, behind a scan and before another.
func (p *plane) wantPruned(t *testing.T, v2 int64) {
	t.Helper()
	before := p.revision(t)
	pruned := p.svmctl(t, "crds", "prune", selfies, "--settle", "1s", "-o", "json")
	pruned.wantCode(t, 0)
	row := pruned.selfieRow(t)
	if row.Refused || row.State != "Clean" || !maps.Equal(row.Stored, map[string]int64{"v2": v2}) || row.FromRevision < before || row.ToRevision < row.FromRevision {
		t.Errorf("unexpected row %+v after revision %d", row, before)
	}
	p.wantSelfieStoredVersions(t, `["v2"]`)
}
