package plane

import (
	"slices"
	"testing"
)

func TestMigrationFlagsPerRelease(t *testing.T) {
	const (
		alphaGates = "--feature-gates=StorageVersionMigrator=true,InformerResourceVersion=true"
		betaGates  = "--feature-gates=StorageVersionMigrator=true"
		alphaAPI   = "--runtime-config=storagemigration.k8s.io/v1alpha1=true"
		betaAPI    = "--runtime-config=storagemigration.k8s.io/v1beta1=true"
	)
	for _, test := range []struct {
		release           string
		apiserver         []string
		controllerManager []string
	}{
		{"v1.34.4", []string{alphaAPI, alphaGates}, []string{alphaGates}},
		{"v1.34.0-rc.1+12345", []string{alphaAPI, alphaGates}, []string{alphaGates}},
		{"v1.35.0", []string{betaAPI, betaGates}, []string{betaGates}},
		{"v1.36.3", []string{betaAPI, betaGates}, []string{betaGates}},
		{"v1.37.2", nil, nil},
		{"v1.40.0", nil, nil},
		// There is no such gate, and Kubernetes does not start with one that it does not know.
		{"v1.29.9", nil, nil},
		// What a build without -ldflags, and one from an archive, call themselves.
		{"v0.0.0-master+$Format:%H$", nil, nil},
		{"v0.0.0-master+0123456789abcdef", nil, nil},
		{"", nil, nil},
	} {
		m := migrationIn(test.release)
		if got := m.apiserverFlags(nil); !slices.Equal(got, test.apiserver) {
			t.Errorf("%s: kube-apiserver gets %q, want %q", test.release, got, test.apiserver)
		}
		if got := m.controllerManagerFlags(nil); !slices.Equal(got, test.controllerManager) {
			t.Errorf("%s: kube-controller-manager gets %q, want %q", test.release, got, test.controllerManager)
		}
	}
}

func TestMigrationFlagsBesideGivenGates(t *testing.T) {
	const (
		plain = "--feature-gates=StorageVersionMigrator=true,InformerResourceVersion=true"
		named = "--feature-gates=kube:StorageVersionMigrator=true,kube:InformerResourceVersion=true"
	)
	for _, test := range []struct {
		given []string
		want  string
	}{
		{[]string{"--feature-gates=WatchList=false"}, plain},
		{[]string{"--feature-gates=kube:WatchList=false"}, named},
		{[]string{"--v=2", "--feature-gates=a:B=true,kube:WatchList=false"}, named},
		{[]string{"--feature-gates", "kube:WatchList=false"}, named},
		{[]string{"--emulated-version=kube=1.33"}, plain},
	} {
		// What a person gave comes last, so that it wins.
		want := append([]string{test.want}, test.given...)
		if got := migrationIn("v1.34.4").controllerManagerFlags(test.given); !slices.Equal(got, want) {
			t.Errorf("kube-controller-manager gets %q, want %q", got, want)
		}
		want = append([]string{"--runtime-config=storagemigration.k8s.io/v1alpha1=true"}, want...)
		if got := migrationIn("v1.34.4").apiserverFlags(test.given); !slices.Equal(got, want) {
			t.Errorf("kube-apiserver gets %q, want %q", got, want)
		}
	}
}
