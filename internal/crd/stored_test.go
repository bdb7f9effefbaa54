package crd

import (
	"errors"
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	const v1 = `{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1","metadata":{"name":"foos.cr.bar.com","uid":"u"},` +
		`"spec":{"group":"cr.bar.com","names":{"plural":"foos","kind":"Foo"},"scope":"Namespaced","versions":[` +
		`{"name":"v1","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object"}}},{"name":"v2","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]},` +
		`"status":{"storedVersions":["v1","v2"]}}`
	// Kubernetes stores them in a version that it has not served since 1.22.
	v1beta1 := strings.Replace(strings.ReplaceAll(strings.Replace(v1, "apiextensions.k8s.io/v1", "apiextensions.k8s.io/v1beta1", 1),
		`,"schema":{"openAPIV3Schema":{"type":"object"}}`, ""), `"group"`, `"version":"v1","validation":{"openAPIV3Schema":{"type":"object"}},"group"`, 1)
	for name, payload := range map[string]string{"v1": v1, "v1beta1": v1beta1} {
		d, err := Decode([]byte(payload), 42)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d.Name != "foos.cr.bar.com" || d.Group != "cr.bar.com" || d.Plural != "foos" || d.Storage() != "v2" || len(d.Versions) != 2 ||
			len(d.StoredVersions) != 2 || d.ResourceVersion != "42" || d.UID != "u" || !d.Namespaced {
			t.Errorf("%s: %+v", name, d)
		}
	}
	for _, payload := range []string{"", "CANARY", `{"kind":"CANARY"}`, `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"CANARY"}}`, v1[:100],
		`{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1","spec":"CANARY"}`} {
		if _, err := Decode([]byte(payload), 1); !errors.Is(err, ErrStored) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q: %v", payload, err)
		}
	}
}
