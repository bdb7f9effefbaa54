package witness

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/verify/evidence"
)

func reconcile(t *testing.T, a *api, covers func(group, resource string) bool, etcd ...[]Object) (*evidence.Reconciliation, []string) {
	t.Helper()
	rec, leftOut, err := Reconcile(t.Context(), Comparison{Config: a.start(t), Revision: 500, Covers: covers, Objects: stores(etcd...)})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v", rec); strings.Contains(text, canary) {
		t.Errorf("the apiserver's own words: %s", text)
	}
	return rec, leftOut
}

func odd(rec *evidence.Reconciliation) []evidence.Reconciled {
	return slices.DeleteFunc(slices.Clone(rec.Resources), func(r evidence.Reconciled) bool { return r.Problem == "" && r.OnlyInAPI+r.OnlyInEtcd+r.OtherRev == 0 })
}

func TestReconcile(t *testing.T) {
	type want = []evidence.Reconciled
	secrets, listed := objects("", "secrets", 1201)
	for _, c := range []struct {
		name   string
		spoil  func(a *api)
		etcd   [][]Object
		covers func(group, resource string) bool
		want   want
	}{
		{name: "the same", want: want{}},
		{name: "one more in the API", spoil: func(a *api) { a.objects["secrets"] = append(slices.Clone(listed), named{"ns/p", 9}) },
			want: want{{Resource: "secrets", InEtcd: 1201, InAPI: 1202, OnlyInAPI: 1}}},
		{name: "one less", spoil: func(a *api) { a.objects["secrets"] = slices.Delete(slices.Clone(listed), 700, 701) },
			want: want{{Resource: "secrets", InEtcd: 1201, InAPI: 1200, OnlyInEtcd: 1}}},
		{name: "one rewritten", spoil: func(a *api) { a.objects["secrets"] = slices.Clone(listed); a.objects["secrets"][600].revision = 9999 },
			want: want{{Resource: "secrets", InEtcd: 1201, InAPI: 1201, OtherRev: 1}}},
		{name: "one under another name", spoil: func(a *api) { a.objects["secrets"] = slices.Clone(listed); a.objects["secrets"][600].name = "zz/z" },
			want: want{{Resource: "secrets", InEtcd: 1201, InAPI: 1201, OnlyInEtcd: 1, OnlyInAPI: 1}}},
		{name: "in another order", spoil: func(a *api) {
			a.objects["secrets"] = slices.Clone(listed)
			slices.Reverse(a.objects["secrets"])
		}, covers: func(_, resource string) bool { return resource == "secrets" }, want: want{{Resource: "secrets", InEtcd: 1201, InAPI: 1201, Problem: disorder}}},
		{name: "only in the API", spoil: func(a *api) { a.objects["deployments.apps"] = listed[:3] },
			want: want{{Resource: "deployments.apps", InAPI: 3, OnlyInAPI: 3}}},
		{name: "not served", etcd: [][]Object{{{Group: "policy", Resource: "podsecuritypolicies", Name: "p"}}},
			want: want{{Resource: "podsecuritypolicies.policy", InEtcd: 1, OnlyInEtcd: 1, Problem: unserved}}},
		{name: "not covered", etcd: [][]Object{{{Resource: "configmaps", Namespace: "ns", Name: "p"}}}, covers: func(_, resource string) bool { return resource == "secrets" },
			want: want{{Resource: "configmaps", InEtcd: 1, Problem: partly}}},
		{name: "under two roots, the second the API's", etcd: [][]Object{{secrets[0], {Resource: "secrets", Namespace: "ns", Name: "o-7", ModRevision: 7}}, secrets},
			want: want{{Resource: "secrets", InEtcd: 1203, InAPI: 1201, OnlyInEtcd: 2}}},
		{name: "forbidden", spoil: func(a *api) { a.refuse["/api/v1/secrets"] = []int{403} },
			want: want{{Resource: "configmaps", Problem: placeless}, {Resource: "deployments.apps", Problem: placeless}, {Resource: "events", Problem: placeless}, {Resource: "secrets", InEtcd: 1201, Problem: forbidden}}},
		{name: "compacted under way", spoil: func(a *api) { a.refuse["/api/v1/secrets"] = []int{0, 0, 410} },
			want: want{{Resource: "configmaps", Problem: placeless}, {Resource: "deployments.apps", Problem: placeless}, {Resource: "events", Problem: placeless},
				{Resource: "secrets", InEtcd: 1201, InAPI: 500, Problem: "the apiserver no longer has that revision: it was compacted (410 Gone)"}}},
		{name: "too many requests, and late", spoil: func(a *api) { a.refuse["/api/v1/secrets"] = []int{0, 504, 429, 0} }, want: want{}},
		{name: "damaged", spoil: func(a *api) { a.refuse["/apis/apps/v1/deployments"] = []int{500} },
			want: want{{Resource: "deployments.apps", Problem: "the apiserver answered 500 Internal Server Error"}}},
		{name: "at another revision", spoil: func(a *api) { a.exactly = func(asked int64) int64 { return asked + 1 } }, covers: func(_, resource string) bool { return resource == "secrets" },
			want: want{{Resource: "secrets", InEtcd: 1201, Problem: "the apiserver lists it at another revision than the one it was asked for"}}},
		{name: "no end of pages", spoil: func(a *api) { a.token = "0@500" }, covers: func(_, resource string) bool { return resource == "secrets" },
			want: want{{Resource: "secrets", InEtcd: 1201, InAPI: 500, Problem: strange}}},
		{name: "without a revision", spoil: func(a *api) { a.objects["secrets"] = []named{{"ns/a", 1}, {"", 2}} }, covers: func(_, resource string) bool { return resource == "secrets" },
			want: want{{Resource: "secrets", InEtcd: 1201, InAPI: 1, Problem: strange}}},
		{name: "an etcd of before", spoil: func(a *api) { a.revision = 499 }, covers: func(_, resource string) bool { return resource != "events" },
			want: want{{Resource: "configmaps", Problem: otherEtcd}, {Resource: "deployments.apps", Problem: otherEtcd}, {Resource: "secrets", InEtcd: 1201, OnlyInEtcd: 1201, Problem: otherEtcd}}},
		{name: "a group that discovery lacks", spoil: func(a *api) { a.refuse["/apis/apps/v1"] = []int{503} }, etcd: [][]Object{{{Group: "apps", Resource: "deployments", Name: "p"}}},
			want: want{{Resource: "*.apps", Problem: untold}, {Resource: "deployments.apps", InEtcd: 1, Problem: untold}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := newAPI()
			a.objects["secrets"] = listed
			if c.spoil != nil {
				c.spoil(a)
			}
			etcd := append(slices.Clone(c.etcd), secrets)
			if len(c.etcd) == 2 {
				etcd = c.etcd
			}
			rec, leftOut := reconcile(t, a, c.covers, etcd...)
			if got := odd(rec); !slices.Equal(got, c.want) || rec.Match != (len(c.want) == 0) || len(leftOut) > 0 {
				t.Errorf("match %t, without %v: %+v\nwant %+v", rec.Match, leftOut, got, c.want)
			}
			for _, r := range rec.Resources {
				if strings.HasPrefix(r.Resource, "componentstatuses") || strings.Contains(r.Resource, "events.") {
					t.Errorf("%s has no place in etcd of its own", r.Resource)
				}
			}
		})
	}
}

// TestVersions has one resource in several versions, and one that two apiservers serve.
func TestVersions(t *testing.T) {
	a := newAPI()
	a.groups["example.com/v1"], a.groups["example.com/v2"] = []string{"widgets"}, []string{"widgets", "gadgets"}
	a.groups["metrics.k8s.io/v1"] = []string{"nodes"}
	a.groups["mine.example.com/v1"] = []string{"things"}
	a.aggregated = []string{"metrics.k8s.io/v1", "mine.example.com/v1", "down.example.com/v1"}
	a.objects["nodes.metrics.k8s.io"] = []named{{"node", 0}}
	widgets, listed := objects("example.com", "widgets", 3)
	things, listedThings := objects("mine.example.com", "things", 3)
	a.objects["widgets.example.com"], a.objects["things.mine.example.com"] = listed, listedThings
	rec, leftOut := reconcile(t, a, nil, widgets, things)
	if !rec.Match || !slices.Equal(leftOut, []string{"down.example.com", "metrics.k8s.io"}) {
		t.Errorf("without %v: %+v", leftOut, odd(rec))
	}
	if !strings.HasSuffix(rec.Method, "holds none of: down.example.com, metrics.k8s.io") {
		t.Error(rec.Method)
	}
	if a.versions["widgets.example.com"] != "v1" || a.versions["gadgets.example.com"] != "v2" {
		t.Errorf("%v", a.versions)
	}
	a.refuse["/apis/apiregistration.k8s.io/v1/apiservices"] = []int{403}
	if rec, leftOut = reconcile(t, a, nil, widgets, things); rec.Match || len(leftOut) > 0 {
		t.Errorf("what another apiserver serves is not known, and all match: %+v", rec)
	}
}

func TestInterrupted(t *testing.T) {
	a := newAPI()
	etcd, listed := objects("", "secrets", 1201)
	a.objects["secrets"] = listed
	broken := errors.New("etcd is gone")
	objects := iter.Seq2[Object, error](func(yield func(Object, error) bool) {
		for _, o := range etcd[:600] {
			if !yield(o, nil) {
				return
			}
		}
		yield(Object{}, broken)
	})
	if rec, _, err := Reconcile(t.Context(), Comparison{Config: a.start(t), Revision: 500, Objects: objects}); rec != nil || !errors.Is(err, broken) {
		t.Errorf("%+v, %v", rec, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("enough")
	objects = func(yield func(Object, error) bool) {
		for i, o := range etcd {
			if i == 600 {
				cancel(stopped)
			}
			if !yield(o, nil) {
				return
			}
		}
	}
	if rec, _, err := Reconcile(ctx, Comparison{Config: a.start(t), Revision: 500, Objects: objects}); rec != nil || !errors.Is(err, stopped) {
		t.Errorf("%+v, %v", rec, err)
	}
	a.refuse["/apis"] = []int{503}
	if rec, _, err := Reconcile(t.Context(), Comparison{Config: a.start(t), Revision: 500, Objects: stores(etcd)}); rec != nil || err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("%+v, %v", rec, err)
	}
}
