package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/yaml"
)

type crdCheck struct {
	Kind, Verdict string
	Source        struct{ Revision int64 }
	Scope         struct{ Whole bool }
	Skipped       int
	CRDs          []struct {
		Name, Verdict                     string
		New                               bool
		Problems                          []struct{ Code, Field, Message string }
		Objects, Losing, Unknown, Omitted int
		Stored, Unreadable, Already, Lost map[string]int
		Doubts                            []string
	}
}

// crdCheck writes a file and checks it.
func (p *plane) crdCheck(t *testing.T, code int, definitions string, args ...string) crdCheck {
	t.Helper()
	file := filepath.Join(t.TempDir(), "crds.yaml")
	if err := os.WriteFile(file, []byte(definitions), 0o600); err != nil {
		t.Fatal(err)
	}
	before, objects := p.revision(t), p.raw(t, "/registry/odd.example.com/")
	res := p.svmctl(t, append([]string{"crds", "check", "-f", file, "-o", "json"}, args...)...)
	res.wantCode(t, code)
	if !slices.EqualFunc(objects, p.raw(t, "/registry/odd.example.com/"), func(a, b *mvccpb.KeyValue) bool { return a.ModRevision == b.ModRevision }) {
		t.Error("an object was written")
	}
	var report crdCheck
	res.decode(t, &report, "apiVersion", "kind", "tool", "verdict", "source", "scope", "crds", "skipped", "startedAt", "finishedAt")
	if report.Kind != "CRDCheckReport" || report.Source.Revision < before || !report.Scope.Whole || len(report.CRDs) == 0 {
		t.Fatalf("an odd report\n%s", res)
	}
	return report
}

func oddCRD(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "testdata", "crd", "odd", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// changedCRD is a definition of testdata with something else in it.
func changedCRD(t *testing.T, text string, change func(*apiextensionsv1.CustomResourceDefinition)) string {
	t.Helper()
	var d apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	change(&d)
	out, err := yaml.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// createOdd creates an object once its resource is served.
func (p *plane) createOdd(t *testing.T, path, kind, name, spec string) {
	t.Helper()
	object := fmt.Sprintf(`{"apiVersion": "odd.example.com/v1", "kind": %q, "metadata": {"name": %q}, "spec": %s}`, kind, name, spec)
	await(t, 20*time.Second, "the apiserver to take "+kind+" "+name, func(ctx context.Context) (bool, string) {
		err := p.kube.Discovery().RESTClient().Post().AbsPath(path).Body([]byte(object)).Do(ctx).Error()
		return err == nil, fmt.Sprint(err)
	})
}

const oddWidgets = "/apis/odd.example.com/v1/namespaces/default/widgets"

// TestCRDsCheck is the gate in front of an upgrade, with real objects and a real validation behind it.
func TestCRDsCheck(t *testing.T) {
	p := startPlane(t, encryptionOf([]string{"planets.odd.example.com"}, "aescbc:key1", "identity"), "--without-controller-manager")
	wide, narrow := oddCRD(t, "widgets-wide"), oddCRD(t, "widgets-narrow")
	withoutV1 := changedCRD(t, wide, func(d *apiextensionsv1.CustomResourceDefinition) {
		d.Spec.Versions = d.Spec.Versions[1:]
		d.Spec.Versions[0].Storage = true
	})

	// Before there is any definition, nothing but the API itself can vouch for the etcd.
	if report := p.crdCheck(t, 0, wide); report.Verdict != "Clean" || !report.CRDs[0].New {
		t.Errorf("in an empty cluster: %+v", report)
	}
	p.kubectl(t, wide, "apply", "-f", "-")
	p.kubectl(t, oddCRD(t, "planets"), "apply", "-f", "-")
	p.createOdd(t, oddWidgets, "Widget", "one", `{"size": "small", "extra": "`+canaryInData+`"}`)
	p.createOdd(t, oddWidgets, "Widget", "two", `{"size": "small", "extra": "`+canaryInData+`"}`)
	p.createOdd(t, oddWidgets, "Widget", "three", `{"size": "small"}`)
	p.createOdd(t, "/apis/odd.example.com/v1/planets", "Planet", "planet", `{"size": "small"}`)

	t.Run("unchanged", func(t *testing.T) {
		report := p.crdCheck(t, 0, wide+"\n---\n"+`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}`)
		row := report.CRDs[0]
		if report.Verdict != "Clean" || row.Verdict != "Clean" || row.New || row.Objects != 3 || row.Stored["v1"] != 3 || report.Skipped != 1 {
			t.Errorf("got %+v", report)
		}
	})
	t.Run("fields would be lost", func(t *testing.T) {
		row := p.crdCheck(t, 3, narrow).CRDs[0]
		if row.Verdict != "Loses" || row.Losing != 2 || !maps.Equal(row.Lost, map[string]int{"spec.extra": 2}) || len(row.Problems) > 0 {
			t.Errorf("got %+v", row)
		}
		cmd := p.command(t, "crds", "check", "-f", "-")
		cmd.Stdin = strings.NewReader(narrow)
		text, _ := cmd.Output()
		p.record.add(string(text))
		for _, words := range []string{"Verdict: Loses", "spec.extra in 2 objects", "v1: 3"} {
			if cmd.ProcessState.ExitCode() != 3 || !strings.Contains(string(text), words) {
				t.Errorf("exit status %d, %q is missing:\n%s", cmd.ProcessState.ExitCode(), words, text)
			}
		}
	})
	t.Run("a version would be dropped that storedVersions names", func(t *testing.T) {
		row := p.crdCheck(t, 3, withoutV1).CRDs[0]
		if row.Verdict != "Rejected" || !maps.Equal(row.Unreadable, map[string]int{"v1": 3}) || len(row.Problems) != 1 || row.Problems[0].Field != "status.storedVersions[0]" {
			t.Errorf("got %+v", row)
		}
	})
	t.Run("encrypted", func(t *testing.T) {
		row := p.crdCheck(t, 4, oddCRD(t, "planets")).CRDs[0]
		if row.Verdict != "Unknown" || row.Unknown != 1 || row.Objects != 1 {
			t.Errorf("got %+v", row)
		}
		// Several definitions: each has its own verdict, and the worst is that of all.
		report := p.crdCheck(t, 3, oddCRD(t, "planets")+"\n---\n"+narrow+"\n---\n"+oddCRD(t, "gadgets"))
		var verdicts []string
		for _, row := range report.CRDs {
			verdicts = append(verdicts, row.Verdict)
		}
		if report.Verdict != "Loses" || !slices.Equal(verdicts, []string{"Unknown", "Loses", "Clean"}) {
			t.Errorf("got %q and %q", report.Verdict, verdicts)
		}
	})
	t.Run("orphans of a deleted definition", func(t *testing.T) {
		orphan := `{"apiVersion":"odd.example.com/v1","kind":"Gadget","metadata":{"name":"orphan","namespace":"default"},"spec":{"size":"small","gone":"` + canaryInData + `"}}`
		if _, err := p.etcd.Put(t.Context(), "/registry/odd.example.com/gadgets/default/orphan", orphan); err != nil {
			t.Fatal(err)
		}
		row := p.crdCheck(t, 3, oddCRD(t, "gadgets")).CRDs[0]
		if !row.New || row.Verdict != "Loses" || !maps.Equal(row.Lost, map[string]int{"spec.gone": 1}) {
			t.Errorf("got %+v", row)
		}
	})
	t.Run("the definition may not be read", func(t *testing.T) {
		report := p.crdCheck(t, 4, wide, "--as", "nobody")
		if row := report.CRDs[0]; row.Verdict != "Unknown" || row.New || len(row.Doubts) == 0 || !strings.Contains(strings.Join(row.Doubts, " "), "403") {
			t.Errorf("got %+v", row)
		}
	})
	t.Run("storedVersions was trimmed by hand", func(t *testing.T) {
		p.kubectl(t, changedCRD(t, wide, func(d *apiextensionsv1.CustomResourceDefinition) {
			d.Spec.Versions[0].Storage, d.Spec.Versions[1].Storage = false, true
		}), "apply", "-f", "-")
		p.kubectl(t, "", "patch", "crd", "widgets.odd.example.com", "--subresource=status", "--type=merge", "-p", `{"status":{"storedVersions":["v2"]}}`)
		row := p.crdCheck(t, 3, withoutV1).CRDs[0]
		if row.Verdict != "Loses" || len(row.Problems) > 0 || !maps.Equal(row.Unreadable, map[string]int{"v1": 3}) {
			t.Errorf("got %+v", row)
		}
		// And so it is.
		p.kubectl(t, withoutV1, "apply", "-f", "-")
		path := strings.Replace(oddWidgets, "/v1/", "/v2/", 1) + "/one"
		await(t, 20*time.Second, "the apiserver to fail", func(ctx context.Context) (bool, string) {
			_, err := p.kube.Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx)
			return apierrors.IsInternalError(err), fmt.Sprint(err)
		})
		row = p.crdCheck(t, 4, withoutV1).CRDs[0]
		if row.Verdict != "Unknown" || !maps.Equal(row.Already, map[string]int{"v1": 3}) || len(row.Unreadable) > 0 {
			t.Errorf("once it is done, the same is no news: %+v", row)
		}
	})
}

func TestCRDsCheckWithoutReport(t *testing.T) {
	p := startPlane(t, "", "--without-controller-manager")
	other := startPlane(t, "", "--without-controller-manager")
	p.kubectl(t, oddCRD(t, "widgets-wide"), "apply", "-f", "-")
	file, err := filepath.Abs(filepath.Join("..", "testdata", "crd", "odd", "widgets-wide.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{file, filepath.Join(filepath.Dir(file), "gadgets.yaml")} { // one that it has, and a new one
		foreign := p.svmctl(t, "crds", "check", "-f", f, "--endpoints", other.variable("ETCDCTL_ENDPOINTS"),
			"--cacert", other.variable("ETCDCTL_CACERT"), "--cert", other.variable("ETCDCTL_CERT"), "--key", other.variable("ETCDCTL_KEY"))
		foreign.wantCode(t, 1)
		foreign.wantError(t, "this etcd is not the one of this apiserver")
	}
	twice := p.svmctl(t, "crds", "check", "-f", file, "-f", file)
	twice.wantCode(t, 1)
	twice.wantError(t, "already")
	p.svmctl(t, "crds", "check").wantCode(t, 2)
	p.svmctl(t, "crds", "check", "-f", file, "-o", "csv").wantCode(t, 2)
	none := p.svmctl(t, "crds", "check", "-f", filepath.Join(filepath.Dir(file), "objects.yaml"))
	none.wantCode(t, 1)
	none.wantError(t, "no CustomResourceDefinition", "--include-crds")
}
