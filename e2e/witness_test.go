package e2e

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/verify/evidence"
	"github.com/svmctl/svmctl/internal/witness"
)

// objectsAt are the objects below storage roots as they were at a revision, in the order of their keys.
func (p *plane) objectsAt(ctx context.Context, revision int64, roots ...string) iter.Seq2[witness.Object, error] {
	return func(yield func(witness.Object, error) bool) {
		response, err := p.etcd.Get(ctx, "/", clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithRev(revision))
		if err != nil {
			yield(witness.Object{}, err)
			return
		}
		for _, kv := range response.Kvs {
			for _, root := range roots {
				o := key.Parse(root, string(kv.Key))
				if o.Resource != "" && !yield(witness.Object{Group: o.Group, Resource: o.Resource, Namespace: o.Namespace, Name: o.Name, ModRevision: kv.ModRevision}, nil) {
					return
				}
			}
		}
	}
}

// reconcile compares etcd as it is now with what an API lists.
func (p *plane) reconcile(t *testing.T, cfg *rest.Config, roots ...string) *evidence.Reconciliation {
	t.Helper()
	revision := p.revision(t)
	rec, leftOut, err := witness.Reconcile(t.Context(), witness.Comparison{Config: cfg, Revision: revision, Objects: p.objectsAt(t.Context(), revision, roots...)})
	if err != nil || len(leftOut) > 0 || rec.Revision != revision {
		t.Fatalf("%+v, without %v: %v", rec, leftOut, err)
	}
	return rec
}

// reconciled is one resource of a comparison.
func reconciled(t *testing.T, rec *evidence.Reconciliation, resource string) evidence.Reconciled {
	t.Helper()
	i := slices.IndexFunc(rec.Resources, func(r evidence.Reconciled) bool { return r.Resource == resource })
	if i < 0 {
		t.Fatalf("no %s among %d resources", resource, len(rec.Resources))
	}
	return rec.Resources[i]
}

// unequal are the resources that do not match.
func unequal(rec *evidence.Reconciliation) []evidence.Reconciled {
	return slices.DeleteFunc(slices.Clone(rec.Resources), func(r evidence.Reconciled) bool {
		return r.Problem == "" && r.OnlyInAPI+r.OnlyInEtcd+r.OtherRev == 0
	})
}

// TestWitnessOfEverything has one object of everything that can be stored, and lists longer than a page.
func TestWitnessOfEverything(t *testing.T) {
	p := startPlane(t, "", "--apiserver-arg=--runtime-config=api/all=true", "--apiserver-arg=--feature-gates=AllAlpha=true,AllBeta=true")
	p.create(t, loadStorage(t))
	// A hyphen and a dot come before the slash of a key, and after nothing in it.
	for _, name := range []string{"a", "a-b", "a0"} {
		p.namespace(t, name)
		p.createSecrets(t, name, "app", 250)
		p.createSecrets(t, name, "app.kubernetes.io", 2)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := fmt.Sprintf("later-%05d", i)
			if _, err := p.kube.CoreV1().Secrets("a-b").Create(t.Context(), secret("a-b", name, name), metav1.CreateOptions{}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	time.Sleep(200 * time.Millisecond)
	rec := p.reconcile(t, p.rest, "/registry")
	after := p.revision(t)
	close(stop)
	<-stopped
	if !rec.Match || after == rec.Revision {
		t.Errorf("match %t, from revision %d to %d: %+v", rec.Match, rec.Revision, after, unequal(rec))
	}
	for _, want := range []string{"nodes", "services", "endpoints", "podtemplates", "events", "replicationcontrollers", "ingresses.networking.k8s.io", "apiservices.apiregistration.k8s.io",
		"clusterroles.rbac.authorization.k8s.io", "customresourcedefinitions.apiextensions.k8s.io", "pants.custom.fancy.com", "foos.cr.bar.com"} {
		if r := reconciled(t, rec, want); r.InEtcd == 0 || r.InEtcd != r.InAPI {
			t.Errorf("%+v", r)
		}
	}
	if r := reconciled(t, rec, "secrets"); r.InEtcd < 750 {
		t.Errorf("%+v", r)
	}
}

// TestWitnessOfOddStores has what no apiserver lists, and what one may not be told.
func TestWitnessOfOddStores(t *testing.T) {
	p := startPlane(t, encryptionOf(all, "aescbc:key1", "identity"), "--without-controller-manager", "--user", "nobody", "--user", "lister")
	p.createSecrets(t, "default", "app", 600)
	p.kubectl(t, "", "create", "clusterrole", "lister", "--verb=list", "--resource=secrets")
	p.kubectl(t, "", "create", "clusterrolebinding", "lister", "--clusterrole=lister", "--user=lister")
	if rec := p.reconcile(t, p.rest, "/registry"); !rec.Match || len(rec.Resources) < 40 {
		t.Fatalf("%+v", unequal(rec))
	}
	only := func(t *testing.T, rec *evidence.Reconciliation, want ...evidence.Reconciled) {
		t.Helper()
		if got := unequal(rec); rec.Match || !slices.Equal(got, want) {
			t.Errorf("match %t: %+v\nwant %+v", rec.Match, got, want)
		}
	}
	byHand := func(t *testing.T, key, value string) {
		t.Helper()
		p.putByHand(t, key, value)
		t.Cleanup(func() {
			if _, err := p.etcd.Delete(context.Background(), key); err != nil {
				t.Error(err)
			}
		})
	}
	const pod = `{"kind":"Widget","apiVersion":"example.com/v1","metadata":{"name":"w","namespace":"default"}}`

	t.Run("of no API", func(t *testing.T) {
		byHand(t, "/registry/example.com/widgets/default/w", pod)
		byHand(t, "/registry/podsecuritypolicy/w", pod)
		only(t, p.reconcile(t, p.rest, "/registry"),
			evidence.Reconciled{Resource: "podsecuritypolicies.policy", InEtcd: 1, OnlyInEtcd: 1, Problem: "the API serves no such resource"},
			evidence.Reconciled{Resource: "widgets.example.com", InEtcd: 1, OnlyInEtcd: 1, Problem: "the API serves no such resource"})
	})
	t.Run("under another root", func(t *testing.T) {
		// Before and after that of the apiserver, and one with a revision that it has as well.
		byHand(t, "/kubernetes.io/secrets/default/app-00001", pod)
		byHand(t, "/zoo/secrets/default/elsewhere", pod)
		only(t, p.reconcile(t, p.rest, "/kubernetes.io", "/registry", "/zoo"),
			evidence.Reconciled{Resource: "secrets", InEtcd: 602, InAPI: 600, OnlyInEtcd: 2})
	})
	t.Run("under another name", func(t *testing.T) {
		// The identity provider reads it. Of objects with one name an apiserver may have one in its memory.
		const misnamed = `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"ghost","namespace":"default"}}`
		byHand(t, "/registry/secrets/default/aaa", misnamed)
		byHand(t, "/registry/secrets/default/zzz", misnamed)
		rec := p.reconcile(t, p.rest, "/registry")
		if r := reconciled(t, rec, "secrets"); rec.Match || len(unequal(rec)) != 1 || r.InEtcd != 602 || r.OnlyInEtcd != 2 || r.OnlyInAPI == 0 || r.Problem != "" {
			t.Errorf("%+v", unequal(rec))
		}
	})
	t.Run("not all read", func(t *testing.T) {
		revision := p.revision(t)
		rec, _, err := witness.Reconcile(t.Context(), witness.Comparison{Config: p.rest, Revision: revision, Objects: p.objectsAt(t.Context(), revision, "/registry"),
			Covers: func(group, resource string) bool { return group == "" && resource == "secrets" || group == "batch" }})
		if err != nil {
			t.Fatal(err)
		}
		if r := reconciled(t, rec, "secrets"); r.InAPI != 600 || r.Problem != "" {
			t.Errorf("%+v", r)
		}
		if r := reconciled(t, rec, "jobs.batch"); r != (evidence.Reconciled{Resource: "jobs.batch"}) {
			t.Errorf("%+v", r)
		}
		if r := reconciled(t, rec, "namespaces"); r.InEtcd < 4 || r.InAPI != 0 || r.Problem != "not all of it was read from etcd" || rec.Match {
			t.Errorf("%+v", r)
		}
	})
	t.Run("rights", func(t *testing.T) {
		nobody := p.reconcile(t, restConfig(t, p.userKubeconfig("nobody")), "/registry")
		for _, r := range nobody.Resources {
			if !strings.Contains(r.Problem, "403 Forbidden") || r.InAPI+r.OnlyInAPI+r.OnlyInEtcd != 0 {
				t.Errorf("%+v", r)
			}
		}
		lister := p.reconcile(t, restConfig(t, p.userKubeconfig("lister")), "/registry")
		if r := reconciled(t, lister, "secrets"); lister.Match || r != (evidence.Reconciled{Resource: "secrets", InEtcd: 600, InAPI: 600}) {
			t.Errorf("%+v", r)
		}
	})
	t.Run("etcd of another cluster", func(t *testing.T) {
		other := startPlane(t, "", "--without-controller-manager")
		rec := p.reconcile(t, other.rest, "/registry")
		if r := reconciled(t, rec, "secrets"); rec.Match || r.OnlyInEtcd != 600 {
			t.Errorf("%+v", r)
		}
		if r := reconciled(t, rec, "jobs.batch"); r.Problem == "" {
			t.Errorf("nothing shows that the jobs of one cluster are those of another: %+v", r)
		}
	})
	t.Run("unreadable", func(t *testing.T) {
		byHand(t, "/registry/secrets/default/app-00500a", "k8s:enc:aescbc:v1:key1:"+canaryInData)
		rec := p.reconcile(t, p.rest, "/registry")
		if r := reconciled(t, rec, "secrets"); rec.Match || len(unequal(rec)) != 1 || r.InEtcd != 601 || r.Problem == "" || strings.Contains(r.Problem, "app-") {
			t.Errorf("%+v", unequal(rec))
		}
	})
	t.Run("compacted", func(t *testing.T) {
		revision := p.revision(t)
		p.createSecrets(t, "default", "more", 2)
		objects := slices.Collect(func(yield func(witness.Object) bool) {
			for o := range p.objectsAt(t.Context(), revision, "/registry") {
				if !yield(o) {
					return
				}
			}
		})
		p.etcdctl(t, "compact", fmt.Sprint(p.revision(t)))
		// What the apiserver's own memory still has, it may list.
		p.playground(t, "restart", "kube-apiserver")
		rec, _, err := witness.Reconcile(t.Context(), witness.Comparison{Config: p.rest, Revision: revision, Objects: func(yield func(witness.Object, error) bool) {
			for _, o := range objects {
				if !yield(o, nil) {
					return
				}
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if r := reconciled(t, rec, "secrets"); rec.Match || r.InEtcd != 600 || !strings.Contains(r.Problem, "410 Gone") {
			t.Errorf("%+v", r)
		}
	})
}

// TestWitnessOfOtherEtcds keeps two resources elsewhere: in an etcd that has not come to the revision yet, and in one that was beyond
// it before it held any of them.
func TestWitnessOfOtherEtcds(t *testing.T) {
	young, old := startEtcd(t), startEtcd(t)
	inParallel(t, 16, 5000, func(ctx context.Context, _ int) error {
		_, err := old.etcd.Put(ctx, "/junk", "")
		return err
	})
	p := startPlane(t, encryption("aescbc:key1", "identity"), "--without-controller-manager", "--user", "nobody",
		"--apiserver-arg=--etcd-servers-overrides=/events#"+young.variable("ETCDCTL_ENDPOINTS")+",/configmaps#"+old.variable("ETCDCTL_ENDPOINTS"))
	p.createSecrets(t, "default", "app", 3)
	p.kubectl(t, eventNamed("one"), "create", "-f", "-")
	p.deleteOtherEvents(t, young, "one")
	started := time.Now()
	rec := p.reconcile(t, p.rest, "/registry")
	t.Logf("after %s: %+v", time.Since(started), unequal(rec))
	const where = "its apiserver keeps it in another etcd"
	if r := reconciled(t, rec, "events"); r != (evidence.Reconciled{Resource: "events", InAPI: 1, OnlyInAPI: 1, Problem: where}) {
		t.Errorf("%+v", r)
	}
	if r := reconciled(t, rec, "configmaps"); r.InEtcd != 0 || r.InAPI == 0 || r.InAPI != r.OnlyInAPI || r.Problem != where {
		t.Errorf("%+v", r)
	}
	if rec.Match || len(unequal(rec)) != 2 {
		t.Errorf("%+v", unequal(rec))
	}
}
