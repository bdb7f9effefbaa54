package gate_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/svmctl/svmctl/internal/crd/upgrade"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
	"github.com/svmctl/svmctl/internal/gate"
	"github.com/svmctl/svmctl/internal/storedversions"
)

func TestLosses(t *testing.T) {
	c := newCluster(t)
	c.define(t, "widgets", "a", "b")
	c.etcd.Put(t, key("widgets", "one"), object("widgets", "one", `{"a":"x","b":"x","z":"x"}`)) // z is lost in any case
	c.etcd.Put(t, key("widgets", "two"), object("widgets", "two", `{"a":"x"}`))
	r := run(t, c.request(t, definition("widgets", "a")))
	row := r.CRDs[0]
	wantRow(t, row, "Loses", "")
	if r.Result() != upgrade.Loses || r.Verdict != "Loses" || row.Objects != 2 || row.Losing != 1 || !maps.Equal(row.Lost, map[string]int{"spec.b": 1}) {
		t.Errorf("got %+v", r)
	}
	r = run(t, c.request(t, definition("widgets", "a", "b")))
	wantRow(t, r.CRDs[0], "Clean", "")
	if !r.Scope.Whole || r.Source.Revision == 0 || !slices.Equal(r.Scope.Prefixes, []string{"/registry/example.com/widgets/"}) {
		t.Errorf("got %+v", r)
	}
}

// Whatever lies among the objects and cannot be looked at keeps the verdict from Clean.
func TestUnknownObjects(t *testing.T) {
	for name, put := range map[string][2]string{
		"encrypted":         {key("widgets", "one"), "k8s:enc:aescbc:v1:key1:0123456789abcdef0123456789abcdef"},
		"damaged":           {key("widgets", "one"), `{"apiVersion":`},
		"empty":             {key("widgets", "one"), ""},
		"another's name":    {key("widgets", "one"), object("widgets", "two", `{}`)},
		"no object's key":   {"/registry/example.com/widgets/a/b/c", object("widgets", "c", `{}`)},
		"of another format": {key("widgets", "one"), "k8s\x00\n\x1a\n\x0eexample.com/v1\x12\x06Widget\x12\x00\x1a\x00\"\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.define(t, "widgets", "a")
			c.etcd.Put(t, put[0], put[1])
			c.etcd.Put(t, key("widgets", "three"), object("widgets", "three", `{"a":"x"}`))
			row := run(t, c.request(t, definition("widgets", "a"))).CRDs[0]
			wantRow(t, row, "Unknown", "")
			if row.Unknown != 1 || row.Objects != 2 {
				t.Errorf("got %+v", row)
			}
		})
	}
}

func TestScanThatIsNotWhole(t *testing.T) {
	c := newCluster(t)
	c.define(t, "widgets", "a", "b")
	c.etcd.Put(t, key("widgets", "one"), object("widgets", "one", `{"b":"x"}`))
	c.etcd.Put(t, key("widgets", "two"), object("widgets", "two", `{"a":"x"}`))
	for _, k := range []struct {
		file    string
		verdict string
	}{
		{definition("widgets", "a", "b"), "Unknown"},
		{definition("widgets", "a"), "Loses"}, // what was found is not undone by what was not
	} {
		req := c.request(t, k.file)
		req.Store = brokenStore{Store: req.Store.(*live.Store), dir: "/registry/example.com/widgets/", after: 1, err: errors.New("the line was cut")}
		r := run(t, req)
		wantRow(t, r.CRDs[0], k.verdict, "not all of its objects were read")
		if r.Scope.Whole || r.CRDs[0].Objects != 1 {
			t.Errorf("got %+v", r)
		}
	}
}

// A scan that starts over counts anew.
func TestCompactionUnderWay(t *testing.T) {
	c := newCluster(t)
	c.define(t, "widgets", "a")
	c.etcd.Put(t, key("widgets", "encrypted"), "k8s:enc:aescbc:v1:key1:0123456789abcdef0123456789abcdef")
	c.etcd.Put(t, key("widgets", "one"), object("widgets", "one", `{"b":"x"}`))
	req := c.request(t, definition("widgets", "a"))
	req.Store = brokenStore{Store: req.Store.(*live.Store), dir: "/registry/example.com/widgets/", after: 2, err: etcdscan.ErrCompacted}
	if row := run(t, req).CRDs[0]; row.Objects != 2 || row.Unknown != 1 {
		t.Errorf("%d objects, %d unknown, want 2 and 1", row.Objects, row.Unknown)
	}
}

// The etcd that is read has to be the apiserver's own, or a Clean says nothing.
func TestWhoseEtcd(t *testing.T) {
	t.Run("another's", func(t *testing.T) {
		c := newCluster(t)
		c.define(t, "widgets", "a")
		c.etcd.Put(t, crdsDir+"widgets.example.com", "{}")
		d := c.definitions["widgets.example.com"]["metadata"].(map[string]any)
		d["resourceVersion"] = "1"
		for _, file := range []string{definition("widgets", "a"), definition("gadgets", "a")} {
			if _, err := gate.Run(t.Context(), c.request(t, file)); !errors.Is(err, storedversions.ErrForeignEtcd) {
				t.Errorf("got %v", err)
			}
		}
		// With one that does lie here, the other has been made anew meanwhile.
		c.define(t, "gadgets", "a")
		r := run(t, c.request(t, definition("widgets", "a"), definition("gadgets", "a")))
		wantRow(t, r.CRDs[0], "Unknown", "not the one of this apiserver")
		wantRow(t, r.CRDs[1], "Clean", "")
	})
	t.Run("changed meanwhile", func(t *testing.T) {
		c := newCluster(t)
		c.define(t, "widgets", "a")
		c.etcd.Put(t, crdsDir+"widgets.example.com", "{}")
		wantRow(t, run(t, c.request(t, definition("widgets", "a"))).CRDs[0], "Unknown", "was changed while")

		// Once is no matter: everything is looked at again.
		c.define(t, "widgets", "a")
		store := changingStore{Store: c.request(t).Store.(*live.Store), change: func() { c.define(t, "widgets", "a") }}
		req := c.request(t, definition("widgets", "a"))
		req.Store = &store
		wantRow(t, run(t, req).CRDs[0], "Clean", "")
		if store.change != nil {
			t.Error("nothing was changed")
		}
	})
	t.Run("known by another definition", func(t *testing.T) {
		c := newCluster(t)
		c.define(t, "gadgets", "a")
		row := run(t, c.request(t, definition("widgets", "a"))).CRDs[0]
		wantRow(t, row, "Clean", "")
		if !row.New {
			t.Error("it is new")
		}
	})
	t.Run("known by nothing", func(t *testing.T) {
		c := newCluster(t)
		req := c.request(t, definition("widgets", "a"))
		wantRow(t, run(t, req).CRDs[0], "Unknown", "nothing shows that this etcd is the apiserver's")
		req.NoneDefined = func(context.Context) bool { return false }
		wantRow(t, run(t, req).CRDs[0], "Unknown", "nothing shows that this etcd is the apiserver's")
		req.NoneDefined = func(context.Context) bool { return true }
		wantRow(t, run(t, req).CRDs[0], "Clean", "")
		c.etcd.Put(t, key("widgets", "orphan"), object("widgets", "orphan", `{"b":"x"}`))
		row := run(t, req).CRDs[0]
		wantRow(t, row, "Loses", "")
		if !maps.Equal(row.Lost, map[string]int{"spec.b": 1}) {
			t.Errorf("got %+v", row)
		}
	})
	t.Run("another cluster beside it", func(t *testing.T) {
		c := newCluster(t)
		c.define(t, "widgets", "a")
		c.etcd.Put(t, "/other/namespaces/default", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"}}`)
		c.etcd.Put(t, "/other/example.com/widgets/ns/one", object("widgets", "one", `{"b":"x"}`))
		row := run(t, c.request(t, definition("widgets", "a"))).CRDs[0]
		wantRow(t, row, "Clean", "")
		if row.Objects != 0 {
			t.Error("the objects of another cluster were counted")
		}
	})
}

func TestDefinitionsThatMayNotBeRead(t *testing.T) {
	c := newCluster(t)
	c.define(t, "widgets", "a")
	c.status = http.StatusInternalServerError
	req := c.request(t, definition("widgets", "a"))
	row := run(t, req).CRDs[0]
	wantRow(t, row, "Unknown", "the apiserver answered 500")
	if row.New {
		t.Error("nobody knows whether it is new")
	}
}

func TestPrefixes(t *testing.T) {
	c := newCluster(t)
	c.define(t, "widgets", "a")
	c.etcd.Put(t, key("widgets", "one"), object("widgets", "one", `{"a":"x"}`))
	for _, k := range []struct {
		prefix, verdict, doubt string
		objects                int
	}{
		{"/registry", "Clean", "", 1},
		{"/registry/example.com/", "Clean", "", 1},
		{"/registry/example.com/widgets", "Clean", "", 1},
		{"/registry/example.com/widgets/ns", "Unknown", "not all of its objects were in the scope", 1},
		{"/registry/example.com/widget", "Unknown", "none of its objects were in the scope", 0},
		{"/registry/secrets", "Unknown", "none of its objects were in the scope", 0},
	} {
		req := c.request(t, definition("widgets", "a"))
		req.Prefixes = []string{k.prefix}
		row := run(t, req).CRDs[0]
		wantRow(t, row, k.verdict, k.doubt)
		if row.Objects != k.objects {
			t.Errorf("%s: %d objects", k.prefix, row.Objects)
		}
	}
}

// A file may say anything: it directs no scan to what is no custom resource.
func TestDefinitionOfSomethingElse(t *testing.T) {
	c := newCluster(t)
	c.define(t, "widgets", "a")
	c.etcd.Put(t, "/registry/secrets/ns/one", `{"apiVersion":"v1","kind":"Secret","metadata":{"namespace":"ns","name":"one"}}`)
	for _, names := range [][3]string{
		{"secrets.", "", "secrets"},
		{"secrets", "", "secrets"},
		{"clusterroles.rbac.authorization.k8s.io", "rbac.authorization.k8s.io", "clusterroles"},
		{"widgets.example.org", "example.com", "widgets"},
		{"../secrets.example.com", "example.com", "../secrets"},
	} {
		file := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: '" + names[0] + "'}\nspec:\n  group: '" + names[1] +
			"'\n  scope: Namespaced\n  names: {kind: Secret, plural: '" + names[2] + "'}\n  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]\n"
		r := run(t, c.request(t, file))
		if row := r.CRDs[0]; row.Objects != 0 || len(r.Scope.Prefixes) > 0 || row.Verdict == "Clean" {
			t.Errorf("%s: got %+v", names[0], r)
		}
	}
}

// What the file says of fields that the API does not have is dropped by one client and refused by another.
func TestUnknownFieldIsNotClean(t *testing.T) {
	c := newCluster(t)
	c.define(t, "widgets", "a")
	row := run(t, c.request(t, definition("widgets", "a")+"  oops: 1\n")).CRDs[0]
	wantRow(t, row, "Unknown", "")
	if len(row.Problems) != 1 || row.Problems[0].Code != upgrade.UnknownField {
		t.Errorf("got %+v", row)
	}
}
