package crd

import (
	"fmt"
	"slices"
	"testing"
)

func TestThrough(t *testing.T) {
	served, storage, both, neither := Version{Served: true}, Version{Storage: true}, Version{Served: true, Storage: true}, Version{}
	for _, c := range []struct {
		name     string
		versions []Version
		want     string
	}{
		{"the storage version, though it is not the first", []Version{served, both}, "v2"},
		{"the first served one, where the storage version is not", []Version{storage, neither, served, served}, "v3"},
		{"none is served", []Version{storage, neither}, ""},
		{"no versions", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Definition
			for i, v := range c.versions {
				v.Name = fmt.Sprintf("v%d", i+1)
				d.Versions = append(d.Versions, v)
			}
			if got := d.Through(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestDefinition(t *testing.T) {
	d := parseOne(t, fmt.Appendf(nil, twoVersions, "a"))
	if d.Name != "things.a.example.com" || d.Group != "a.example.com" || d.Plural != "things" || d.Kind != "Thing" || !d.Namespaced || d.PreserveUnknownFields {
		t.Errorf("got %+v", d)
	}
	want := []Version{{Name: "v1", Served: true, Deprecated: true}, {Name: "v2", Served: true, Storage: true, StatusSubresource: true}}
	if !slices.Equal(d.Versions, want) || d.Storage() != "v2" || !slices.Equal(d.Served(), []string{"v1", "v2"}) || d.APIVersion("v2") != "a.example.com/v2" {
		t.Errorf("got versions %+v", d.Versions)
	}
	if d.Conversion.String() != "None" || d.Conversion.Webhook() {
		t.Errorf("conversion %v; None is what an apiserver fills in", d.Conversion)
	}
	small := d.WithoutSchema()
	if small.Object() != nil || d.Object() == nil || small.Name != d.Name {
		t.Error("WithoutSchema is no smaller copy")
	}
	if _, err := NewPruner(small); err == nil {
		t.Error("a Pruner without schemas prunes all")
	}
}

func TestConversion(t *testing.T) {
	const with = twoVersions + `
  conversion:
    strategy: Webhook
    webhook:
      conversionReviewVersions: [v1, v1beta1]
      clientConfig: `
	for _, c := range []struct{ client, want string }{
		{"{service: {namespace: ns, name: conv, path: /crd}}", `Webhook: service ns/conv port 443 path "/crd"`},
		{"{service: {namespace: ns, name: conv, port: 9443}}", `Webhook: service ns/conv port 9443 path ""`},
		{"{url: 'https://user:hunter2@conv.example.com:8443/x?token=hunter2'}", `Webhook: conv.example.com:8443`},
		{"{url: 'https://%zz'}", `Webhook`},
	} {
		d := parseOne(t, []byte(fmt.Sprintf(with, "a")+c.client))
		if got := d.Conversion.String(); got != c.want || !d.Conversion.Webhook() || len(d.Conversion.ReviewVersions) != 2 {
			t.Errorf("%s: got %s, %+v; want %s", c.client, got, d.Conversion, c.want)
		}
	}
}
