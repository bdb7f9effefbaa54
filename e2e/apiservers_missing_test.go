package e2e

import (
	"context"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestMissingAPIServer has three apiservers that agree, and lets svmctl not find or not reach all of them. Those that it can
// ask all say the same, and that must not pass for agreement.
func TestMissingAPIServer(t *testing.T) {
	t.Parallel() // it waits most of the time
	const count = 20
	c := startTrio(t, encryption("aescbc:key1", "identity"))
	c.namespace(t, "missing")
	c.createSecrets(t, "missing", "app", count)
	newer := encryption("aescbc:key2", "aescbc:key1", "identity")
	c.reconfigure(t, newer, newer)
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	first, second, last := c.lease(t, machine), c.lease(t, "kube-apiserver-2"), c.lease(t, third)
	to := []string{"--to", "aescbc:key2"}

	t.Run("two that cannot be found", func(t *testing.T) {
		// The EndpointSlice has one address, which nobody listens on. The kubeconfig's apiserver is the one there.
		report := c.refused(t, []string{second, "kube-apiserver-2", last, third, "1 of 3"}, to...)
		report.wantMissing(t, 1, second+" (kube-apiserver-2)", last+" ("+third+")")
		if strings.Contains(report.Stopped.Message, first) {
			t.Errorf("%q names the apiserver that answered", report.Stopped.Message)
		}
	})

	t.Run("two that were not given", func(t *testing.T) {
		report := c.refused(t, []string{last, third, "2 of 3"}, append(to, "--apiserver", c.urls[0]+","+c.urls[1])...)
		report.wantMissing(t, 2, last+" ("+third+")")
	})

	t.Run("one behind three addresses", func(t *testing.T) {
		addresses := []string{c.urls[1], "https://" + relay(t, c.addresses[1]), "https://" + relay(t, c.addresses[1])}
		// The kubeconfig's own address leads there as well, or the first apiserver would be asked beside those given.
		args := append(to, "--apiserver", strings.Join(addresses, ","), "--server", "https://"+relay(t, c.addresses[1]))
		report := c.refused(t, []string{first, last, third, "1 of 3"}, args...)
		report.wantMissing(t, 1, first+" ("+machine+")", last+" ("+third+")")
	})

	t.Run("a kubeconfig behind a load balancer", func(t *testing.T) {
		args := slices.Concat([]string{"migrate", "secrets", "--settle", "1s", "--dry-run", "-o", "json", "--server", "https://" + relay(t, c.addresses[1])}, to, c.all())
		result := c.svmctl(t, args...)
		result.wantCode(t, 0)
		result.agreement(t).wantCounted(t, true)
	})

	t.Run("one that is halted", func(t *testing.T) {
		c.playground(t, "pause", third)
		defer c.playground(t, "resume", third)
		started := time.Now()
		report := c.refused(t, []string{last, third, "2 of 3"}, slices.Concat(to, c.all())...)
		took := time.Since(started)
		t.Logf("it took %s", took.Round(time.Millisecond))
		if took > 25*time.Second {
			t.Errorf("an apiserver that does not answer kept it for %s", took)
		}
		report.wantMissing(t, 2, last+" ("+third+")")
	})

	t.Run("one that was killed", func(t *testing.T) {
		c.playground(t, "kill", third)
		defer c.playground(t, "start", third)
		report := c.refused(t, []string{last, third, "2 of 3"}, slices.Concat(to, c.all())...)
		report.wantMissing(t, 2, last+" ("+third+")")
	})

	t.Run("one that was stopped", func(t *testing.T) {
		// An apiserver that ends in good order deletes its lease. If its address is given all the same, it may come back any
		// moment; one that nobody speaks of is gone.
		c.playground(t, "stop", third)
		defer c.playground(t, "start", third)
		report := c.refused(t, []string{c.addresses[2], "connection refused", "2 of 3"}, slices.Concat(to, c.all())...)
		report.wantMissing(t, 2, c.addresses[2]+" (connection refused)")
		result := c.svmctl(t, slices.Concat([]string{"migrate", "secrets", "--settle", "1s", "--dry-run", "-o", "json"}, to, []string{"--apiserver", c.urls[0] + "," + c.urls[1]})...)
		if report := result.agreement(t); report.agree() != "true" || report.APIServers.Known != 2 || report.APIServers.Asked != 2 {
			t.Errorf("%+v, want two that agree", report.APIServers)
		}
	})

	t.Run("leases without an apiserver", func(t *testing.T) {
		const fresh, old = "apiserver-freshfreshfreshfreshfresh", "apiserver-oldoldoldoldoldoldoldold"
		c.makeLease(t, fresh, 10*time.Second)
		report := c.refused(t, []string{fresh, "unseen", "3 of 4"}, slices.Concat(to, c.all())...)
		report.wantMissing(t, 3, fresh+" (unseen)")
		if err := c.kube.CoordinationV1().Leases("kube-system").Delete(t.Context(), fresh, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}

		c.makeLease(t, old, 10*time.Minute)
		result := c.svmctl(t, slices.Concat([]string{"migrate", "secrets", "--settle", "1s", "--yes", "-o", "json"}, to, c.all())...)
		result.wantCode(t, 0)
		report = result.agreement(t)
		report.wantCounted(t, true)
		if want := old + " (unseen)"; verdict(report.Verdict) != "Complete" || !slices.Equal(report.APIServers.Gone, []string{want}) {
			t.Errorf("verdict %s, gone %v, want %s listed", verdict(report.Verdict), report.APIServers.Gone, want)
		}
		if report.Outcomes != (outcomes{Rewritten: count}) {
			t.Errorf("outcomes are %+v", report.Outcomes)
		}
		table := c.svmctl(t, slices.Concat([]string{"migrate", "secrets", "--settle", "1s", "--yes"}, to, c.all())...)
		table.wantCode(t, 0)
		table.wantStdout(t, "3 of 3 apiservers asked", "gone: "+old)
	})

	t.Run("custom resources", func(t *testing.T) { c.storageVersions(t, second) })
}

func (r agreementReport) wantMissing(t *testing.T, asked int, missing ...string) {
	t.Helper()
	a := r.APIServers
	got := slices.Sorted(slices.Values(a.Missing))
	slices.Sort(missing)
	if r.agree() != "false" || a.Asked != asked || a.Known != asked+len(missing) || len(a.Disagreements) > 0 || !slices.Equal(got, missing) {
		t.Errorf("%+v, want %d asked and %v missing", a, asked, missing)
	}
}

// makeLease makes the identity lease of an apiserver that is not there, renewed so long ago.
func (c *trio) makeLease(t *testing.T, name string, age time.Duration) {
	t.Helper()
	holder, seconds, renewed := name, int32(3600), metav1.NewMicroTime(time.Now().Add(-age))
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "kube-system", Labels: map[string]string{
			"apiserver.kubernetes.io/identity": "kube-apiserver", "kubernetes.io/hostname": "unseen"}},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &renewed},
	}
	if _, err := c.kube.CoordinationV1().Leases("kube-system").Create(t.Context(), lease, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// relay passes connections on, as a load balancer with one server behind it does.
func relay(t *testing.T, to string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go relayAll(listener, to)
	return listener.Addr().String()
}

func relayAll(listener net.Listener, to string) {
	for {
		in, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer in.Close()
			out, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer out.Close()
			go func() {
				io.Copy(out, in)
				out.Close()
			}()
			io.Copy(in, out)
		}()
	}
}

const gadgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.shop.example.com}
spec:
  group: shop.example.com
  scope: Namespaced
  names: {plural: gadgets, singular: gadget, kind: Gadget}
  versions:
  - {name: v1, served: true, storage: STORED-AS-V1, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}}
  - {name: v2, served: true, storage: STORED-AS-V2, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}}
`

const gadget = `{"apiVersion": "shop.example.com/v1", "kind": "Gadget", "metadata": {"name": "one", "namespace": "missing"}, "spec": {"note": "` + canaryInData + `"}}`

// storageVersions moves custom resources, whose storage version every apiserver learns by itself and some time after the
// other.
func (c *trio) storageVersions(t *testing.T, second string) {
	const name = "gadgets.shop.example.com"
	c.kubectl(t, strings.NewReplacer("STORED-AS-V1", "true", "STORED-AS-V2", "false").Replace(gadgets), "apply", "-f", "-")
	await(t, 30*time.Second, "the apiserver to serve gadgets", func(ctx context.Context) (bool, string) {
		err := c.kube.Discovery().RESTClient().Post().AbsPath("/apis/shop.example.com/v1/namespaces/missing/gadgets").Body([]byte(gadget)).Do(ctx).Error()
		if err != nil {
			return false, err.Error()
		}
		return true, ""
	})
	c.kubectl(t, strings.NewReplacer("STORED-AS-V1", "false", "STORED-AS-V2", "true").Replace(gadgets), "apply", "-f", "-")

	revision := func() int64 {
		response, err := c.etcd.Get(t.Context(), "/registry/shop.example.com/gadgets/missing/one")
		if err != nil || len(response.Kvs) != 1 {
			t.Fatalf("reading the gadget: %v", err)
		}
		return response.Kvs[0].ModRevision
	}
	was := revision()
	refused := c.svmctl(t, "migrate", name, "--yes", "-o", "json")
	c.wantRefusal(t, refused, second, third)
	if revision() != was {
		t.Errorf("the gadget was written\n%s", refused)
	}

	started := time.Now()
	result := c.svmctl(t, append([]string{"migrate", name, "--settle", "1s", "--yes", "-o", "json", "--wait-converged", "30s"}, c.all()...)...)
	t.Logf("the gadget was migrated within %s", time.Since(started).Round(time.Millisecond))
	result.wantCode(t, 0)
	report := result.agreement(t)
	report.wantCounted(t, true)
	if verdict(report.Verdict) != "Complete" || report.Outcomes != (outcomes{Rewritten: 1}) || revision() == was {
		t.Errorf("verdict %s with %+v", verdict(report.Verdict), report.Outcomes)
	}

	// Whether the old version may leave storedVersions depends on all apiservers too.
	pruned := c.svmctl(t, "crds", "prune", name)
	pruned.wantCode(t, 3)
	pruned.wantError(t, second, third)
	stored := func() string {
		return c.kubectl(t, "", "get", "crd", name, "-o", "jsonpath={.status.storedVersions}")
	}
	if got := stored(); got != `["v1","v2"]` {
		t.Errorf("storedVersions is %s after a prune that was refused", got)
	}
	c.svmctl(t, append([]string{"crds", "prune", name, "--settle", "1s"}, c.all()...)...).wantCode(t, 0)
	if got := stored(); got != `["v2"]` {
		t.Errorf("storedVersions is %s, want v2 alone", got)
	}
}
