package key

import "testing"

func FuzzParse(f *testing.F) {
	for _, row := range kubernetesPaths(f) {
		f.Add("/registry", row.key)
	}
	f.Add("/openshift.io", "/openshift.io/oauth/clients/console")
	f.Add("", "/pods/default/a")
	f.Add("/r", "compact_rev_key")
	f.Add("/r", "/r/storage.k8s.io/storageclasses/a")
	f.Add("/r", "/r/services/specs")
	f.Fuzz(func(t *testing.T, root, k string) {
		Root(k)
		o := Parse(root, k)
		if (o.Resource == "") == (o.Note == "") {
			t.Fatalf("%+v", o)
		}
		if o.Resource == "" {
			if o.Group != "" || o.Namespace != "" || o.Name != "" {
				t.Fatalf("%+v", o)
			}
			return
		}
		if o.Root != root || o.Root+"/"+DirIn(o.Root, o.Group, o.Resource)+rest(o) != k {
			t.Fatalf("%+v does not join to %q", o, k)
		}
		if root != openshiftRoot && Dir(o.Group, o.Resource) != DirIn(root, o.Group, o.Resource) {
			t.Fatalf("%+v: two directories", o)
		}
		if namespaced, known := Namespaced(o.Group, o.Resource); known && namespaced != (o.Namespace != "") || known != Builtin(o.Group, o.Resource) {
			t.Fatalf("%+v: wrong scope", o)
		}
		if !pathSegment(o.Name) {
			t.Fatalf("name %q", o.Name)
		}
	})
}

func TestParseAllocates(t *testing.T) {
	for _, k := range []string{"/registry/services/specs/default/kubernetes", "/registry/example.com/widgets/default/w", "/registry/foos/a"} {
		if n := testing.AllocsPerRun(100, func() { Parse("/registry", k) }); n != 0 {
			t.Errorf("%s: %v allocations", k, n)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for name, k := range map[string]string{
		"builtin": "/registry/secrets/default/db-password",
		"nested":  "/registry/services/endpoints/default/kubernetes",
		"custom":  "/registry/stable.example.com/selfierequests/default/s",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Parse("/registry", k)
			}
		})
	}
}
