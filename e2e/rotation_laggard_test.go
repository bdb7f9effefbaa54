package e2e

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// TestRotationWithALaggard takes secrets and configmaps from key1 to key2 on two apiservers, one of which reloads too late, up to
// where key1 is gone.
func TestRotationWithALaggard(t *testing.T) {
	const secrets, configmaps = 12, 4
	older, newer := encryption("aescbc:key1", "aescbc:key2", "identity"), encryption("aescbc:key2", "aescbc:key1", "identity")
	d := startDuo(t, older, newer)
	d.namespace(t, "rotation")
	d.createSecrets(t, "rotation", "app", secrets)
	for _, name := range []string{"a", "b", "c", "d"}[:configmaps] {
		d.kubectl(t, "", "create", "configmap", name, "-n", "rotation", "--from-literal=a=b")
	}
	with := append(d.all(), "--encryption-provider-config", d.next)
	migrate := func(args ...string) []string { return slices.Concat([]string{"migrate", "--yes"}, args, with) }
	refused := func(t *testing.T, named, unnamed []string) {
		t.Helper()
		before := d.covered(t)
		result := d.svmctl(t, migrate("-o", "json")...)
		d.wantRefusal(t, result, named...)
		said := result.agreement(t).Stopped.Message
		for _, word := range unnamed {
			if strings.Contains(said, word) {
				t.Errorf("%q names %s, which is as it should be", said, word)
			}
		}
		if !maps.Equal(before, d.covered(t)) {
			t.Errorf("something was written\n%s", result)
		}
	}

	t.Run("both still use the old file", func(t *testing.T) {
		refused(t, []string{d.addresses[0], d.addresses[1], "EncryptionConfiguration", "should be"}, nil)
	})
	d.rotate(t, newer)
	t.Run("one has not reloaded", func(t *testing.T) {
		refused(t, []string{d.addresses[1], d.lease(t, second), second, "should be"}, []string{d.addresses[0]})
		d.canRemove(t, "identity", "no", []string{"not every apiserver uses this very file", d.addresses[1]}, append(d.all(), "--settle", "0")...)
	})
	t.Run("forced, with writes through the laggard", func(t *testing.T) { d.lateWrites(t, migrate("secrets", "--force", "--settle", "8s", "-o", "json")) })

	d.reloadSecond(t, newer)
	reloaded := time.Now()
	t.Run("needed until the last object", func(t *testing.T) {
		can := func(want string, objects map[string]int64, args ...string) {
			t.Helper()
			report := d.canRemove(t, "aescbc:key1", want, nil, append(d.all(), args...)...)
			if row := report.row(t, "aescbc:key1"); !maps.Equal(row.Objects, objects) {
				t.Errorf("needed for %v, want %v", row.Objects, objects)
			}
			for resource := range objects {
				if !strings.Contains(report.CanRemove.Reason, resource) {
					t.Errorf("the reason %q does not name the %s", report.CanRemove.Reason, resource)
				}
			}
		}
		all := int64(len(d.everything(t, "/registry/configmaps/")))
		// What a request encrypted just before the reload may not have arrived yet, and so the answer is late.
		can("no", map[string]int64{"secrets": 1, "configmaps": all}, "--settle", "4s")
		if took := time.Since(reloaded); took < 2*time.Second { // of which a second or so was over when the reload was seen
			t.Errorf("the answer took %s after the reload, and should have waited", took)
		}

		result := d.svmctl(t, migrate("secrets", "--settle", "0", "-o", "json")...)
		result.wantCode(t, 0)
		report := result.migration(t)
		if verdict(report.Verdict) != "Complete" || report.Outcomes != (outcomes{Rewritten: 1, AlreadyCurrent: secrets - 1}) || len(report.Elsewhere) != 1 ||
			report.Elsewhere[0].Resource != "configmaps" || report.Elsewhere[0].Value != "aescbc:key1" || report.Targets[0].From != "config" {
			t.Errorf("want one secret rewritten and the configmaps elsewhere\n%s", result)
		}
		can("no", map[string]int64{"configmaps": all})

		d.touchConfigmapsButOne(t)
		can("no", map[string]int64{"configmaps": 1})
		last := d.svmctl(t, migrate("--settle", "0")...)
		last.wantCode(t, 0)
		last.wantStdout(t, "1 rewritten", "Verdict: Complete")
		wantLastLines(t, last, "2 of 2 apiservers asked, they agree", "other resources under another key in this etcd: 0")
		can("yes", map[string]int64{})
	})

	t.Run("gone from the file", func(t *testing.T) {
		without := encryption("aescbc:key2", "identity")
		before := d.readable(t, "kubeconfig")
		d.write(t, d.config, without)
		d.write(t, d.file, without)
		for _, process := range []string{"kube-apiserver", second} {
			d.playground(t, "restart", process)
		}
		for _, kubeconfig := range []string{"kubeconfig-apiserver-1", "kubeconfig-apiserver-2"} {
			d.wantReadable(t, before, kubeconfig)
		}
		gone := d.keys(t, append(d.all(), "--can-remove", "aescbc:key1")...)
		gone.wantCode(t, 2)
		gone.wantError(t, "aescbc:key1", "aescbc:key2")
		d.canRemove(t, "aescbc:key2", "no", []string{"secrets", "configmaps"}, d.all()...)
		d.canRemove(t, "identity", "yes", nil, d.all()...)
		// The other apiserver's lease is there, and its address cannot be reached from here.
		if alone := d.keys(t, "--can-remove", "identity"); alone.code == 0 {
			t.Errorf("one of two apiservers was asked\n%s", alone)
		}
	})
	t.Run("a resource that the file does not cover", func(t *testing.T) { d.customUncovered(t) })
}

// covered is how etcd holds what the EncryptionConfigurations of these tests are for.
func (p *plane) covered(t *testing.T) map[string]string {
	t.Helper()
	all := p.everything(t, secretsDir)
	maps.Copy(all, p.everything(t, "/registry/configmaps/"))
	return all
}

// lateWrites has two secrets written through the laggard once all are rewritten, and one of them again through the other
// apiserver: what was late was late, whatever has become of it.
func (d *duo) lateWrites(t *testing.T, args []string) {
	t.Helper()
	run := d.start(t, args...)
	await(t, 30*time.Second, "all secrets to be rewritten", func(context.Context) (bool, string) {
		under := d.everything(t, secretsDir)
		return count(under, "aescbc:key2") == len(under), ""
	})
	time.Sleep(2 * time.Second) // until etcd was read again
	touchSecret(t, d.through(t, 2), "app-00000")
	touchSecret(t, d.through(t, 2), "app-00001")
	touchSecret(t, d.through(t, 1), "app-00001")
	result := run.wait(t)
	result.wantCode(t, 3)
	report := result.migration(t)
	if verdict(report.Verdict) != "Incomplete" || report.Settled == nil || *report.Settled != (settled{Writes: 3, Late: 2}) {
		t.Errorf("verdict %s, settled %+v: want Incomplete for two late writes of three\n%s", verdict(report.Verdict), report.Settled, result)
	}
	i := slices.IndexFunc(report.Reasons, func(r reason) bool { return r.Code == "LateWrite" })
	if i < 0 {
		t.Fatalf("no reason is LateWrite\n%s", result)
	}
	late := report.Reasons[i]
	if late.Objects != 2 || late.Severity != "error" || !strings.Contains(late.Message, secretsDir+"rotation/app-00000") || !strings.Contains(late.Message, secretsDir+"rotation/app-00001") {
		t.Errorf("the reason is %+v, want it to name both secrets", late)
	}
	if report.After == nil || len(report.After.Findings) != 1 || report.After.Findings[0].Code != "StaleKey" || report.After.Findings[0].Name != "app-00000" {
		t.Errorf("want a finding for the secret that is under key1 now\n%s", result)
	}
}

// touchSecret changes a secret so that it has to be written.
func touchSecret(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	secrets := client.CoreV1().Secrets("rotation")
	object, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	object.Labels = map[string]string{"touched": object.ResourceVersion}
	if _, err := secrets.Update(t.Context(), object, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// touchConfigmapsButOne has all configmaps written but the last.
func (d *duo) touchConfigmapsButOne(t *testing.T) {
	t.Helper()
	list, err := d.kube.CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := list.Items
	slices.SortFunc(all, func(a, b corev1.ConfigMap) int { return -strings.Compare(a.Namespace, b.Namespace) })
	for _, object := range all[1:] {
		object.Labels = map[string]string{"touched": object.ResourceVersion}
		if _, err := d.kube.CoreV1().ConfigMaps(object.Namespace).Update(t.Context(), &object, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}
