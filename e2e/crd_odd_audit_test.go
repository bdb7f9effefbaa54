package e2e

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// wantOddAudit checks the findings on what oddMakeAll made, one for each object.
func (p *plane) wantOddAudit(t *testing.T, encoding string) {
	t.Helper()
	res := p.svmctl(t, "audit", "--expect-storage-versions", "-o", "json")
	res.wantCode(t, 3)
	report := res.audit(t)
	if verdict(report.Verdict) != "Incomplete" {
		t.Errorf("the verdict is %s", verdict(report.Verdict))
	}
	found := make(map[string]int)
	for _, f := range report.Findings {
		if strings.Contains(f.Group, "odd.example") {
			found[strings.Join([]string{f.Severity, f.Code, f.Resource, f.Found, f.Expected}, " ")]++
		} else if f.Severity != "info" || f.Code != "UnservedVersion" {
			t.Errorf("of what is not custom: %+v", f)
		}
	}
	want := map[string]int{
		"error StaleVersion gadgets odd.example.com/v1alpha1 odd.example.com/v10": 1,
		"error StaleVersion gadgets odd.example.com/v3 odd.example.com/v10":       2,
		"error StaleVersion gadgets odd.example.com/next odd.example.com/v10":     3,
		"error StaleVersion gadgets odd.example.com/v2beta3 odd.example.com/v10":  1,
		"info UnservedVersion gadgets odd.example.com/v1alpha1 ":                  1, // spec.versions still has it
		"error StaleVersion planets odd.example.com/v1 odd.example.com/v2":        1,
		"warning OrphanedResource orphans odd.example.com/v1 ":                    2,
	}
	if !reflect.DeepEqual(found, want) {
		t.Errorf("the findings are\n%v, want\n%v", found, want)
	}
	encodings := make(map[string]int64)
	for _, g := range report.Groups {
		if strings.Contains(g.Group, "odd.example") {
			encodings[g.Stored.Encoding] += g.Objects
		}
	}
	if len(encodings) != 1 || encodings[encoding] != 11+2+1+2+2 {
		t.Errorf("objects by encoding are %v, want 18 of %s", encodings, encoding)
	}
	// Orphans alone are no error, and no clean bill either.
	orphans := p.svmctl(t, "audit", "--expect-storage-versions", "--prefix", oddDir+"orphans", "-o", "json")
	orphans.wantCode(t, 4)
	if v := verdict(orphans.audit(t).Verdict); v != "Indeterminate" {
		t.Errorf("of orphans alone the verdict is %s", v)
	}
	// What no spec.versions names any more is unreadable, of a resource that there is still a definition of.
	key := widgetDir + "default/young"
	p.oddEdit(t, key, func(object map[string]any) { object["apiVersion"] = "odd.example.com/v1" })
	unreadable := p.svmctl(t, "audit", "--expect-storage-versions", "--prefix", oddDir+"widgets", "-o", "json")
	unreadable.wantCode(t, 3)
	codes := make(map[string]string)
	for _, f := range unreadable.audit(t).Findings {
		codes[f.Code] = f.Severity + " " + f.Key
	}
	if !reflect.DeepEqual(codes, map[string]string{"StaleVersion": "error " + key, "UnservedVersion": "error " + key}) {
		t.Errorf("the findings are %v", codes)
	}
	p.oddRows(t, 3, widgetCRD, "--fail")[widgetCRD].wantBlocked(t, "1 object is stored at v1", "no apiserver can read")
	p.oddEdit(t, key, func(object map[string]any) { object["apiVersion"] = "odd.example.com/v2" })
}

func (got oddRow) wantBlocked(t *testing.T, words ...string) {
	t.Helper()
	if got.State != "Blocked" {
		t.Errorf("%s is %s: %s", got.Name, got.State, got.Reason)
	}
	for _, word := range words {
		if !strings.Contains(got.Reason, word) {
			t.Errorf("%s: the reason %q does not say %q", got.Name, got.Reason, word)
		}
	}
}

// wantOddUsage checks names, the scope and --fail.
func (p *plane) wantOddUsage(t *testing.T) {
	t.Helper()
	p.oddRows(t, 3, "--fail")
	p.oddRows(t, 0, "--fail", "relics.odd.example.k8s.io", "hollows.odd.example.com")
	if rows := p.oddRows(t, 0, "hollows.odd.example.com"); len(rows) != 1 {
		t.Errorf("asked for one, there are %v", slices.Collect(maps.Keys(rows)))
	}
	for name, near := range map[string]string{"gadgets": "gadgets.odd.example.com", "Planet": "planets.odd.example.com",
		"relics.odd.example": "relics.odd.example.k8s.io", "widgets.other.example.com": widgetCRD, "gadget": "gadgets.odd.example.com",
		"planet.odd.example.com": "planets.odd.example.com"} {
		res := p.svmctl(t, "crds", name)
		res.wantCode(t, 2)
		res.wantError(t, name, near)
		if res.stdout != "" {
			t.Errorf("it printed a report all the same\n%s", res)
		}
	}
	// What is listed can be asked for: there is no such definition, but there are objects.
	if rows := p.oddRows(t, 0, "orphans.odd.example.com"); len(rows) != 1 {
		t.Errorf("asked for one, there are %v", slices.Collect(maps.Keys(rows)))
	} else {
		rows["orphans.odd.example.com"].wantBlocked(t, "no CustomResourceDefinition")
	}
	nothing := p.svmctl(t, "crds", "--prefix", "/nothing")
	nothing.wantCode(t, 1)
	nothing.wantError(t, "no key under the prefix")

	// What was not read is never clean: a scope beside a definition, one within its directory, and one of its siblings. One
	// object of relics is there, and it is the one that was read: nobody knows that it is the only one.
	shown := 0
	for _, prefix := range []string{oddDir + "hollows", oddDir + "planets", oddDir + "planet", "/registry/odd.example.k8s.io/relics/default/one",
		"/registry/odd.example.k8s.io/relics/default", "/registry/apiextensions.k8s.io"} {
		res := p.svmctl(t, "crds", "--prefix", prefix, "-o", "json")
		if res.code == 1 && res.stdout == "" {
			continue // nothing lies there, and so there is no report
		}
		shown++
		for name, row := range p.oddRows(t, 0, "--prefix", prefix) {
			whole := strings.HasPrefix(prefix, oddDir) && name == strings.TrimPrefix(prefix, oddDir)+"."+oddGroup
			if (row.State == "Blocked") == whole {
				t.Errorf("with --prefix %s %s is %s: %s", prefix, name, row.State, row.Reason)
			}
		}
	}
	if shown < 4 {
		t.Errorf("%d of the scopes had a report", shown)
	}
}
