package storageversion

import "testing"

// The hashes are those of a kube-apiserver 1.37.2.
func TestRecover(t *testing.T) {
	for _, c := range []struct {
		hash, kind     string
		groups, served []string
		want           string
	}{
		{"S6u1pOWzb84=", "Secret", []string{""}, []string{"v1"}, "v1"},
		{"dd7pWHUlMKQ=", "DaemonSet", []string{"apps"}, []string{"v1"}, "apps/v1"},
		{"qwQve8ut294=", "HorizontalPodAutoscaler", []string{"autoscaling"}, []string{"v1", "v2"}, "autoscaling/v2"},
		{"jfWCUB31mvA=", "CustomResourceDefinition", []string{"apiextensions.k8s.io"}, []string{"v1"}, "apiextensions.k8s.io/v1beta1"},
		{"pCjmmKOkLy4=", "StorageVersionMigration", []string{"storagemigration.k8s.io"}, []string{"v1"}, "storagemigration.k8s.io/v1beta1"},
		{"r2yiGXH7wu8=", "Event", []string{"", "events.k8s.io"}, []string{"v1"}, "v1"},
		{Hash("example.com", "v17", "Widget"), "Widget", []string{"example.com"}, []string{"v1"}, ""},
		{Hash("example.com", "v17", "Widget"), "Widget", []string{"example.com"}, []string{"v1", "v17"}, "example.com/v17"},
		{"S6u1pOWzb84=", "Secretion", []string{""}, []string{"v1"}, ""},
	} {
		got, found := Recover(c.hash, c.kind, c.groups, c.served)
		if got != c.want || found != (c.want != "") {
			t.Errorf("%s of %s: %q, %v, want %q", c.hash, c.kind, got, found, c.want)
		}
	}
}
