package command

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// The manifests under testdata/crd/odd do what their comments say.
func TestOddDefinitionsOnAPlane(t *testing.T) {
	d := newDrive(t)
	d.up("--without-controller-manager")
	manifests := func(names ...string) []string {
		args := []string{"kubectl", "apply"}
		for _, name := range names {
			args = append(args, "-f", filepath.Join(crds, "odd", name+".yaml"))
		}
		return args
	}
	d.do(manifests("gadgets", "planets", "relics", "hollows", "orphans", "guards", "widgets-wide")...)
	d.do("kubectl", "wait", "--for=condition=Established", "crd", "--all")
	d.until(func() error {
		_, err := d.try(manifests("objects")...)
		return err
	})
	d.do(manifests("guards-policy")...)

	version := func(key string) string {
		t.Helper()
		_, rest, _ := strings.Cut(d.do("etcdctl", "get", "/registry/"+key, "--print-value-only"), `"apiVersion":"`)
		version, _, _ := strings.Cut(rest, `"`)
		return version
	}
	for key, want := range map[string]string{
		"odd.example.com/gadgets/default/gadget":   "odd.example.com/v1alpha1",
		"odd.example.com/planets/planet":           "odd.example.com/v1",
		"odd.example.k8s.io/relics/default/relic":  "odd.example.k8s.io/v1",
		"odd.example.com/guards/default/disowned":  "odd.example.com/v1",
		"odd.example.com/hollows/default/anything": "",
	} {
		if got := version(key); got != want {
			t.Errorf("%s is stored as %q, want %q", key, got, want)
		}
	}

	// What refuses the object itself, and what its status as well.
	d.do("kubectl", "patch", "crd", "guards.odd.example.com", "--type=json",
		`-p=[{"op":"replace","path":"/spec/versions/0/storage","value":false},{"op":"replace","path":"/spec/versions/1/storage","value":true}]`)
	patch := func(name string, args ...string) error {
		_, err := d.try(append([]string{"kubectl", "patch", "guards.v2.odd.example.com", name, "--type=merge", "-p={}"}, args...)...)
		return err
	}
	d.until(func() error {
		if err := patch("disowned", "--subresource=status"); err != nil {
			return err
		}
		if got := version("odd.example.com/guards/default/disowned"); got != "odd.example.com/v2" {
			return fmt.Errorf("rewritten through its status, a guard is stored as %q", got)
		}
		return nil
	})
	d.until(func() error {
		if err := patch("disowned"); err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
			return fmt.Errorf("the policy never refused: %v", err)
		}
		return nil
	})
	for _, args := range [][]string{nil, {"--subresource=status"}} {
		if err := patch("locked", args...); err == nil || !strings.Contains(err.Error(), "locked") {
			t.Errorf("%v: a locked guard was not refused: %v", args, err)
		}
	}

	// A narrower schema hides a field and keeps it, until the object is written.
	const key = "/registry/odd.example.com/widgets/default/widget"
	spec := []string{"kubectl", "get", "widgets", "widget", "-o=jsonpath={.spec}"}
	d.do(manifests("widgets-narrow")...)
	d.eventually(`{"size":"small"}`, spec...)
	if value := d.do("etcdctl", "get", key, "--print-value-only"); !strings.Contains(value, `"spec":{"extra":"keep me"`) {
		t.Error("the field is gone from etcd before anybody wrote")
	}
	d.do(manifests("widgets-wide")...)
	d.eventually(`{"extra":"keep me","size":"small"}`, spec...)

	d.do("etcdctl", "del", "/registry/apiextensions.k8s.io/customresourcedefinitions/orphans.odd.example.com")
	d.until(func() error {
		if _, err := d.try("kubectl", "get", "orphans.odd.example.com"); err == nil {
			return fmt.Errorf("a resource without a definition is served")
		}
		return nil
	})
	if version("odd.example.com/orphans/default/orphan") == "" {
		t.Error("the object went with its definition")
	}
}
