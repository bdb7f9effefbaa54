package e2e

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// oddRow is one definition of a CRDReport.
type oddRow struct {
	Name           string           `json:"name"`
	State          string           `json:"state"`
	Reason         string           `json:"reason"`
	StorageVersion string           `json:"storageVersion"`
	Served         []string         `json:"served"`
	StoredVersions []string         `json:"storedVersions"`
	Stored         map[string]int64 `json:"stored"`
	Unknown        int64            `json:"unknown"`
	ManagedFields  struct {
		Objects  int64    `json:"objects"`
		Versions []string `json:"versions"`
	} `json:"managedFields"`
	FromRevision int64 `json:"fromRevision"`
}

// oddRows runs crds and gives its rows by name.
func (p *plane) oddRows(t *testing.T, code int, args ...string) map[string]oddRow {
	t.Helper()
	res := p.svmctl(t, append([]string{"crds", "-o", "json"}, args...)...)
	res.wantCode(t, code)
	var report struct {
		Kind string   `json:"kind"`
		CRDs []oddRow `json:"crds"`
	}
	res.decode(t, &report, "apiVersion", "kind", "source", "scope", "crds", "warnings")
	rows := make(map[string]oddRow)
	for _, row := range report.CRDs {
		rows[row.Name] = row
	}
	if report.Kind != "CRDReport" || len(rows) != len(report.CRDs) {
		t.Errorf("a %s with %d rows, %d names", report.Kind, len(report.CRDs), len(rows))
	}
	return rows
}

// wantRow compares a row; the reason has to hold the words given, and to be empty without any.
func (got oddRow) want(t *testing.T, want oddRow, words ...string) {
	t.Helper()
	if reason := got.Reason; (reason == "") != (len(words) == 0) {
		t.Errorf("%s: the reason is %q, want it to say %q", want.Name, reason, words)
	}
	for _, word := range words {
		if !strings.Contains(got.Reason, word) {
			t.Errorf("%s: the reason %q does not say %q", want.Name, got.Reason, word)
		}
	}
	if got.FromRevision == 0 {
		t.Errorf("%s speaks of no revision", want.Name)
	}
	if want.ManagedFields.Versions == nil {
		want.ManagedFields.Versions = []string{}
	}
	got.Reason, got.FromRevision = "", 0
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the row is\n%+v, want\n%+v", got, want)
	}
}

// oddStoreAt makes a version the storage version and waits until that is in force.
func (p *plane) oddStoreAt(t *testing.T, plural, kind, version, through string) {
	t.Helper()
	name := plural + "." + oddGroup
	versions := strings.Fields(p.kubectl(t, "", "get", "crd", name, "-o", "jsonpath={.spec.versions[*].name}"))
	var patch []string
	for i, v := range versions {
		patch = append(patch, fmt.Sprintf(`{"op":"replace","path":"/spec/versions/%d/storage","value":%t}`, i, v == version))
	}
	p.kubectl(t, "", "patch", "crd", name, "--type=json", "-p", "["+strings.Join(patch, ",")+"]")
	p.oddAwaitStored(t, plural, kind, through, version, map[string]any{"size": "small"})
}

// TestCRDsOfEveryOddity: each row of crds is right on a plane whose custom resources are stored as JSON, and as CBOR.
// A naive version derives the directory in etcd from the kind, parses JSON alone, takes an unserved version for one that
// cannot be read, forgets what has no definition, or takes an empty directory for one that was not read.
func TestCRDsOfEveryOddity(t *testing.T) {
	for encoding, flags := range map[string][]string{
		"json": {"--without-controller-manager"},
		"cbor": {"--without-controller-manager", "--apiserver-arg=--feature-gates=CBORServingAndStorage=true"},
	} {
		t.Run(encoding, func(t *testing.T) {
			p := startPlane(t, "", flags...)
			p.oddMakeAll(t)
			if _, value := p.raw(t, oddDir+"planets/")[0].Key, p.raw(t, oddDir+"planets/")[0].Value; (value[0] == '{') != (encoding == "json") {
				t.Fatalf("planets are stored as %.20q", value)
			}
			p.wantOddRows(t)
			p.wantOddAudit(t, encoding)
			p.wantOddUsage(t)
		})
	}
}

// oddMakeAll makes definitions and objects of all kinds.
func (p *plane) oddMakeAll(t *testing.T) {
	t.Helper()
	small := map[string]any{"size": "small"}
	var all []string
	for _, name := range []string{"gadgets", "planets", "relics", "hollows", "orphans", "widgets-wide"} {
		all = append(all, oddManifest(t, name))
	}
	p.oddDefine(t, all...)
	for _, at := range []struct {
		version string
		objects int
	}{{"v1alpha1", 1}, {"v3", 2}, {"next", 3}, {"v2beta3", 1}, {"v10", 4}} {
		p.oddStoreAt(t, "gadgets", "Gadget", at.version, "v1")
		for i := range at.objects {
			p.oddCreate(t, "gadgets", oddObject("v2", "Gadget", fmt.Sprintf("%s-%d", at.version, i), small))
		}
	}
	p.oddCreate(t, "orphans", oddObject("v1", "Orphan", "one", small))
	p.oddCreate(t, "orphans", oddObject("v2", "Orphan", "two", small))
	p.kubectl(t, `{"apiVersion":"odd.example.com/v1","kind":"Planet","metadata":{"name":"earth"},"spec":{"size":"small"}}`, "create", "-f", "-")
	p.kubectl(t, "", "patch", "crd", "planets.odd.example.com", "--type=json", "-p", oddStoreSecond)
	await(t, 30*time.Second, "planets to be stored at v2", func(context.Context) (bool, string) {
		p.kubectl(t, `{"apiVersion":"odd.example.com/v1","kind":"Planet","metadata":{"name":"mars"},"spec":{"size":"small"}}`, "create", "-f", "-")
		is := oddDecode(t, p.raw(t, oddDir+"planets/mars")[0])["apiVersion"]
		if is != "odd.example.com/v2" {
			p.kubectl(t, "", "delete", "planets.odd.example.com", "mars")
		}
		return is == "odd.example.com/v2", fmt.Sprint(is)
	})
	p.kubectl(t, `{"apiVersion":"odd.example.k8s.io/v2","kind":"Relic","metadata":{"name":"one","namespace":"default"},"spec":{"size":"small"}}`, "create", "-f", "-")
	// Widgets were made through v1, moved to v2, and v1 is no longer a version: their managedFields still name it.
	p.oddCreate(t, "widgets", oddObject("v1", "Widget", "old", small))
	p.oddStoreAt(t, "widgets", "Widget", "v2", "v1")
	p.svmctl(t, "migrate", widgetCRD, "--yes").wantCode(t, 0)
	p.oddCreate(t, "widgets", oddObject("v2", "Widget", "young", small))
	p.kubectl(t, "", "patch", "crd", widgetCRD, "--subresource=status", "--type=merge", "-p", `{"status":{"storedVersions":["v2"]}}`)
	p.kubectl(t, "", "patch", "crd", widgetCRD, "--type=json", "-p", `[{"op":"remove","path":"/spec/versions/0"}]`)
	// The definition goes straight out of etcd, as a restored or mangled one may be missing there.
	p.etcdctl(t, "del", "/registry/apiextensions.k8s.io/customresourcedefinitions/orphans.odd.example.com")
	await(t, 30*time.Second, "the apiserver to forget orphans", func(ctx context.Context) (bool, string) {
		list, err := p.kube.Discovery().ServerResourcesForGroupVersion("odd.example.com/v1")
		if err != nil {
			return false, err.Error()
		}
		var names []string
		for _, r := range list.APIResources {
			names = append(names, r.Name)
		}
		return !slices.Contains(names, "orphans"), fmt.Sprint(names)
	})
}

// wantOddRows checks what crds says of what oddMakeAll made.
func (p *plane) wantOddRows(t *testing.T) {
	t.Helper()
	rows := p.oddRows(t, 0)
	if names := slices.Sorted(maps.Keys(rows)); len(names) != 6 {
		t.Errorf("the rows are %v", names)
	}
	rows["gadgets.odd.example.com"].want(t, oddRow{Name: "gadgets.odd.example.com", State: "NeedsMigration", StorageVersion: "v10",
		Served:         []string{"v1alpha2", "v1beta1", "v1", "v2alpha1", "v2beta3", "v2", "v3", "next", "v10"},
		StoredVersions: []string{"v1alpha1", "v3", "next", "v2beta3", "v10"},
		Stored:         map[string]int64{"v1alpha1": 1, "v3": 2, "next": 3, "v2beta3": 1, "v10": 4}},
		"1 object is stored at v1alpha1", "2 objects are stored at v3", "3 objects are stored at next", "1 object is stored at v2beta3")
	rows["planets.odd.example.com"].want(t, oddRow{Name: "planets.odd.example.com", State: "NeedsMigration", StorageVersion: "v2",
		Served: []string{"v1", "v2"}, StoredVersions: []string{"v1", "v2"}, Stored: map[string]int64{"v1": 1, "v2": 1}}, "1 object is stored at v1")
	rows["relics.odd.example.k8s.io"].want(t, oddRow{Name: "relics.odd.example.k8s.io", State: "Clean", StorageVersion: "v1",
		Served: []string{"v1", "v2"}, StoredVersions: []string{"v1"}, Stored: map[string]int64{"v1": 1}})
	rows["hollows.odd.example.com"].want(t, oddRow{Name: "hollows.odd.example.com", State: "Clean", StorageVersion: "v1",
		Served: []string{"v1", "v2"}, StoredVersions: []string{"v1"}, Stored: map[string]int64{}})
	rows["orphans.odd.example.com"].want(t, oddRow{Name: "orphans.odd.example.com", State: "Blocked", Served: []string{}, StoredVersions: []string{},
		Stored: map[string]int64{"v1": 2}}, "no CustomResourceDefinition")
	widgets := oddRow{Name: widgetCRD, State: "Clean", StorageVersion: "v2", Served: []string{"v2"}, StoredVersions: []string{"v2"}, Stored: map[string]int64{"v2": 2}}
	widgets.ManagedFields.Objects, widgets.ManagedFields.Versions = 1, []string{"v1"}
	rows[widgetCRD].want(t, widgets)
}
