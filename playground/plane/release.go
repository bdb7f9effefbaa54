package plane

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
	componentversion "k8s.io/component-base/version"
)

// release is the Kubernetes release that the playground was built from, as v1.37.2.
func release() string {
	return componentversion.Get().GitVersion
}

// migration is what the flags of a release have to switch on so that StorageVersionMigrations
// are served and acted on. The zero value switches nothing on.
type migration struct {
	gates []string
	api   string
}

// migrationIn tells it for each release that knows the in-tree migrator. A release that is not
// a version, as in a build without -ldflags, is taken for the newest one.
func migrationIn(release string) migration {
	parsed, err := version.ParseSemantic(release)
	if err != nil || parsed.Major() != 1 {
		return migration{}
	}
	switch minor := parsed.Minor(); {
	case minor < 30 || minor >= 37:
		return migration{}
	case minor < 35:
		// The controller's informer has to know its resourceVersion, which became a matter of course with 1.35.
		return migration{
			gates: []string{"StorageVersionMigrator=true", "InformerResourceVersion=true"},
			api:   "storagemigration.k8s.io/v1alpha1=true",
		}
	default:
		return migration{
			gates: []string{"StorageVersionMigrator=true"},
			api:   "storagemigration.k8s.io/v1beta1=true",
		}
	}
}

// apiserverFlags are those of kube-apiserver beside the given ones, and these after them:
// kube-apiserver takes both together, and of two values for one feature gate or API the later.
func (m migration) apiserverFlags(given []string) []string {
	var flags []string
	if m.api != "" {
		flags = append(flags, "--runtime-config="+m.api)
	}
	return append(flags, m.controllerManagerFlags(given)...)
}

// controllerManagerFlags are those of kube-controller-manager, in the same way.
func (m migration) controllerManagerFlags(given []string) []string {
	var flags []string
	if len(m.gates) > 0 {
		prefix := ""
		if namesComponent(given) {
			prefix = "kube:"
		}
		flags = append(flags, "--feature-gates="+prefix+strings.Join(m.gates, ","+prefix))
	}
	return append(flags, given...)
}

// namesComponent tells whether feature gates are given as kube:Gate=true. Kubernetes wants either
// all of them that way or none.
func namesComponent(given []string) bool {
	for _, arg := range given {
		for gate := range strings.SplitSeq(strings.TrimPrefix(arg, "--feature-gates="), ",") {
			if strings.HasPrefix(strings.TrimSpace(gate), "kube:") {
				return true
			}
		}
	}
	return false
}
