package key

import (
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation"
)

type pathRow struct {
	key  string
	want Object
	api  groupResource // as its API names it
}

// kubernetesPaths are the etcd paths that Kubernetes tests itself with.
func kubernetesPaths(t testing.TB) []pathRow {
	t.Helper()
	text, err := os.ReadFile("testdata/paths")
	if err != nil {
		t.Fatal(err)
	}
	var rows []pathRow
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 6 {
			t.Fatalf("%q", line)
		}
		for i, field := range fields {
			if field == "-" {
				fields[i] = ""
			}
		}
		row := pathRow{fields[0], Object{"/registry", fields[1], fields[2], fields[3], fields[4], "", ""}, groupResource{fields[1], fields[2]}}
		if row.api == (groupResource{"events.k8s.io", "events"}) {
			row.want.Group = "" // both APIs serve the same objects
		}
		rows = append(rows, row)
	}
	if len(rows) < 90 {
		t.Fatalf("%d paths", len(rows))
	}
	return rows
}

func TestParseKubernetesPaths(t *testing.T) {
	seen := map[groupResource]bool{}
	for _, row := range kubernetesPaths(t) {
		seen[row.api] = true
		for _, root := range []string{"/registry", "/kubernetes.io", "/openshift.io", "/some/other/root", ""} {
			row.want.Root = root
			k := root + strings.TrimPrefix(row.key, "/registry")
			if o := Parse(root, k); o != row.want {
				t.Errorf("%s: %+v", k, o)
			}
			if joined := root + "/" + Dir(row.api.group, row.api.resource) + rest(row.want); joined != k {
				t.Errorf("%s: joined to %s", k, joined)
			}
		}
		custom := !strings.Contains(row.api.group, "k8s.io") && strings.Contains(row.api.group, ".")
		if Builtin(row.api.group, row.api.resource) == custom {
			t.Errorf("%s: builtin %v", row.key, !custom)
		}
		if namespaced, known := Namespaced(row.api.group, row.api.resource); known == custom || known && namespaced != (row.want.Namespace != "") {
			t.Errorf("%s: namespaced %v, known %v", row.key, namespaced, known)
		}
		if root, ok := Root(strings.Replace(row.key, "/registry", "/some/root", 1)); root != "/some/root" || !ok {
			t.Errorf("%s: root %q, %v", row.key, root, ok)
		}
	}
	older := []string{"auditsinks", "clustercidrs", "podpresets", "podschedulingcontexts", "podsecuritypolicies", "resourceclaimparameters", "resourceclasses", "resourceclassparameters"}
	for gr, r := range byResource {
		if !seen[gr] && gr.group != "extensions" && !slices.Contains(older, gr.resource) {
			t.Errorf("%+v: no path of Kubernetes' own", r)
		}
	}
}

// rest is what follows the directory of an object in its key.
func rest(o Object) string {
	if o.Namespace == "" {
		return o.Name
	}
	return o.Namespace + "/" + o.Name
}

func TestParse(t *testing.T) {
	object := func(group, resource, namespace, name string) Object {
		return Object{Group: group, Resource: resource, Namespace: namespace, Name: name}
	}
	note := func(text string) Object { return Object{Note: text} }
	beside := func(resource, text string) Object { return Object{Note: text, Beside: resource} }
	for k, want := range map[string]Object{
		"/r/pods/default/a":                        object("", "pods", "default", "a"),
		"/r/minions/node.example.com":              object("", "nodes", "", "node.example.com"),
		"/r/clusterroles/system:node~%":            beside("clusterroles.rbac.authorization.k8s.io", NoteBadName),
		"/r/clusterroles/system:controller:x y":    object("rbac.authorization.k8s.io", "clusterroles", "", "system:controller:x y"),
		"/r/roles/0/\xff:":                         object("rbac.authorization.k8s.io", "roles", "0", "\xff:"),
		"/r/podsecuritypolicy/restricted":          object("policy", "podsecuritypolicies", "", "restricted"),
		"/r/services/specs/default/a":              object("", "services", "default", "a"),
		"/r/services/endpoints/default/a":          object("", "endpoints", "default", "a"),
		"/r/serving.knative.dev/services/ns/a":     object("serving.knative.dev", "services", "ns", "a"),
		"/r/snapshot.storage.k8s.io/classes/a":     object("snapshot.storage.k8s.io", "classes", "", "a"),
		"/r/apiextensions.k8s.io/others/a":         object("apiextensions.k8s.io", "others", "", "a"),
		"/r/route.openshift.io/routes/ns/a":        object("route.openshift.io", "routes", "ns", "a"),
		"/r/a.b/" + strings.Repeat("p", 63) + "/a": object("a.b", strings.Repeat("p", 63), "", "a"),

		"/r/masterleases/10.0.0.1":      note(NoteMasterLeases),
		"/r/peerserverleases/apiserver": note(NotePeerServerLeases),
		"/r/ranges/serviceips":          note(NoteRanges),
		"compact_rev_key":               note(NoteCompactRevision),

		"/r/masterleases":          note(NoteSegments),
		"/r/masterleases/":         note(NoteSegments),
		"/r/ranges2/serviceips":    note(NoteUnknownDir),
		"/r/compact_rev_key":       note(NoteSegments),
		"/r":                       note(NoteOutside),
		"/registry/pods/default/a": note(NoteOutside),
		"/rr/pods/default/a":       note(NoteOutside),
		"r/pods/default/a":         note(NoteOutside),
		"":                         note(NoteOutside),
		"/r/":                      note(NoteEmptySegment),
		"/r//pods/default/a":       note(NoteEmptySegment),
		"/r/pods":                  note(NoteSegments),
		"/r/pods/":                 beside("pods", NoteEmptySegment),
		"/r/pods/default":          beside("pods", NoteSegments),
		"/r/pods/default/":         beside("pods", NoteEmptySegment),
		"/r/pods//a":               beside("pods", NoteEmptySegment),
		"/r/pods/default/a/b":      beside("pods", NoteSegments),
		"/r/pods/default/.":        beside("pods", NoteBadName),
		"/r/pods/default/..":       beside("pods", NoteBadName),
		"/r/pods/Default/a":        beside("pods", NoteBadNamespace),
		"/r/pods/a.b/a":            beside("pods", NoteBadNamespace),
		"/r/pods/" + strings.Repeat("n", 64) + "/a": beside("pods", NoteBadNamespace),
		"/r/nodes/a":                         note(NoteUnknownDir),
		"/r/minions/a/b":                     beside("nodes", NoteSegments),
		"/r/minions/":                        beside("nodes", NoteEmptySegment),
		"/r/services":                        note(NoteSegments),
		"/r/services/":                       note(NoteUnknownDir),
		"/r/services/specs":                  note(NoteSegments),
		"/r/services/specs/":                 beside("services", NoteEmptySegment),
		"/r/services/specs/default":          beside("services", NoteSegments),
		"/r/services/others/default/a":       note(NoteUnknownDir),
		"/r/foos/ns/name":                    note(NoteUnknownDir),
		"/r/routes/ns/name":                  note(NoteUnknownDir),
		"/r/oauth/clients/name":              note(NoteUnknownDir),
		"/r/example.com":                     note(NoteSegments),
		"/r/example.com/":                    note(NoteEmptySegment),
		"/r/example.com/widgets":             note(NoteSegments),
		"/r/example.com/widgets/":            beside("widgets.example.com", NoteEmptySegment),
		"/r/example.com/widgets/ns/a/b":      beside("widgets.example.com", NoteSegments),
		"/r/example.com//a":                  note(NoteEmptySegment),
		"/r/example.com/Widgets/a":           note(NoteBadPlural),
		"/r/example.com/9widgets/a":          note(NoteBadPlural),
		"/r/Example.com/widgets/a":           note(NoteBadGroup),
		"/r/.com/widgets/a":                  note(NoteBadGroup),
		"/r/example..com/widgets/a":          note(NoteBadGroup),
		"/r/example.com-/widgets/a":          note(NoteBadGroup),
		"/r/apps/deployments/ns/a":           note(NoteUnknownDir),
		"/r/storage.k8s.io/storageclasses/a": note(NoteElsewhere),
		"/r/events.k8s.io/events/ns/a":       note(NoteElsewhere),
	} {
		if want.Note != NoteOutside && want.Note != NoteCompactRevision {
			want.Root = "/r"
		}
		o := Parse("/r", k)
		if o != want {
			t.Errorf("%q: %+v", k, o)
		}
		internal := []string{NoteCompactRevision, NoteMasterLeases, NotePeerServerLeases, NoteRanges}
		if o.Internal() != slices.Contains(internal, o.Note) {
			t.Errorf("%q: internal %v", k, o.Internal())
		}
	}
}

func TestParseOpenShift(t *testing.T) {
	for k, want := range map[string]Object{
		"/openshift.io/routes/ns/a":                                {"/openshift.io", "route.openshift.io", "routes", "ns", "a", "", ""},
		"/openshift.io/images/sha256:0123":                         {"/openshift.io", "image.openshift.io", "images", "", "sha256:0123", "", ""},
		"/openshift.io/oauth/clients/console":                      {"/openshift.io", "oauth.openshift.io", "oauthclients", "", "console", "", ""},
		"/openshift.io/oauth/clientauthorizations/u:system:sa:n:c": {"/openshift.io", "oauth.openshift.io", "oauthclientauthorizations", "", "u:system:sa:n:c", "", ""},
		"/openshift.io/useridentities/github:u":                    {"/openshift.io", "user.openshift.io", "identities", "", "github:u", "", ""},
		"/openshift.io/oauth/others/a":                             {"/openshift.io", "", "", "", "", NoteUnknownDir, ""},
		"/openshift.io/oauth":                                      {"/openshift.io", "", "", "", "", NoteSegments, ""},
		"/openshift.io/route.openshift.io/routes/ns/a":             {"/openshift.io", "", "", "", "", NoteElsewhere, ""},
		"/openshift.io/example.com/widgets/a":                      {"/openshift.io", "example.com", "widgets", "", "a", "", ""},
	} {
		o := Parse("/openshift.io", k)
		if o != want {
			t.Errorf("%s: %+v", k, o)
		}
		if o.Resource != "" && o.Root+"/"+DirIn(o.Root, o.Group, o.Resource)+rest(o) != k {
			t.Errorf("%s: joined to %s", k, o.Root+"/"+DirIn(o.Root, o.Group, o.Resource)+rest(o))
		}
	}
	// The same resources may be custom ones elsewhere.
	if d := Dir("route.openshift.io", "routes"); d != "route.openshift.io/routes/" {
		t.Error(d)
	}
	for _, r := range openshift {
		if Builtin(r.group, r.resource) {
			t.Errorf("%+v is no built-in of Kubernetes", r)
		}
		if _, twice := byDir[r.dir]; twice {
			t.Errorf("%+v: directory of a built-in", r)
		}
	}
}

func TestRoot(t *testing.T) {
	for prefix, want := range map[string]string{
		"/registry":                             "/registry",
		"/registry/":                            "/registry",
		"/registry/secrets/kube-system/":        "/registry",
		"/registry/foos":                        "/registry",
		"/kubernetes.io/secrets":                "/kubernetes.io",
		"/openshift.io/routes":                  "/openshift.io",
		"/custom/root/secrets":                  "/custom/root",
		"/custom/root/secrets/":                 "/custom/root",
		"/custom/root/services/specs/a":         "/custom/root",
		"/custom/example.com/widgets":           "/custom",
		"/custom/apiextensions.k8s.io":          "/custom",
		"/custom/masterleases/":                 "/custom",
		"/registry2/pods":                       "/registry2",
		"/my.root/secrets/ns":                   "/my.root",
		"/my.root/example.com/widgets":          "/my.root",
		"/my.root/serving.knative.dev/services": "/my.root",
		"/pods/default":                         "",
		"/registryfoo":                          "none",
		"/custom/root":                          "none",
		"/custom/example.com":                   "none",
		"/custom/example.com/":                  "none",
		"/custom//secrets":                      "none",
		"//secrets":                             "none",
		"registry/secrets":                      "none",
		"/":                                     "none",
		"":                                      "none",
	} {
		root, ok := Root(prefix)
		if !ok {
			root += "none"
		}
		if root != want {
			t.Errorf("%q: %q", prefix, root)
		}
	}
}

func TestDir(t *testing.T) {
	for gr, want := range map[groupResource]string{
		{"", "nodes"}:               "minions/",
		{"", "services"}:            "services/specs/",
		{"apps", "deployments"}:     "deployments/",
		{"extensions", "ingresses"}: "ingress/",
		{"events.k8s.io", "events"}: "events/",
		{"example.com", "widgets"}:  "example.com/widgets/",
		{"apiextensions.k8s.io", "customresourcedefinitions"}: "apiextensions.k8s.io/customresourcedefinitions/",
		{"", "later"}: "later/",
	} {
		if d := Dir(gr.group, gr.resource); d != want {
			t.Errorf("%+v: %s", gr, d)
		}
	}
}

func TestDirs(t *testing.T) {
	dirs := Dirs()
	for _, want := range []string{"minions/", "services/", "pods/", "apiextensions.k8s.io/"} {
		if !slices.Contains(dirs, want) {
			t.Errorf("no %s", want)
		}
	}
	if !slices.IsSorted(dirs) || len(slices.Compact(slices.Clone(dirs))) != len(dirs) {
		t.Error(dirs)
	}
}

func TestTableHasNoTwins(t *testing.T) {
	for _, rows := range [][]row{builtins, openshift} {
		dirs, resources := map[string]bool{}, map[groupResource]bool{}
		for _, r := range rows {
			if dirs[r.dir] || resources[groupResource{r.group, r.resource}] {
				t.Errorf("%+v occurs twice", r)
			}
			dirs[r.dir], resources[groupResource{r.group, r.resource}] = true, true
		}
	}
	for _, a := range aliases {
		if at, ok := byDir[a.dir]; !ok || at.row.scope != a.scope {
			t.Errorf("%+v is no alias", a)
		}
	}
}

// The names of the API are judged as the API judges them.
func checkNames(t *testing.T, s string) {
	t.Helper()
	if got, want := pathSegment(s), s != "" && len(content.IsPathSegmentName(s)) == 0; got != want {
		t.Errorf("path segment %q: %v", s, got)
	}
	if got, want := dnsSubdomain(s), len(validation.IsDNS1123Subdomain(s)) == 0; got != want {
		t.Errorf("subdomain %q: %v", s, got)
	}
	if got, want := dnsLabel(s, true), len(validation.IsDNS1123Label(s)) == 0; got != want {
		t.Errorf("label %q: %v", s, got)
	}
	if got, want := dnsLabel(s, false), len(validation.IsDNS1035Label(s)) == 0; got != want {
		t.Errorf("label without leading digit %q: %v", s, got)
	}
}

func TestNames(t *testing.T) {
	for _, s := range []string{
		"", "a", "0", "-", "a-", "-a", "a-b", "A", "a.b", ".a", "a.", "a..b", ".", "..", "...", "a/b", "a%b", "a:b", "é", "a\n", "0a", "a0",
		strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a", 253), strings.Repeat("a", 254), "a." + strings.Repeat("b", 200),
	} {
		checkNames(t, s)
	}
}

func FuzzNames(f *testing.F) {
	f.Add("a.b-c")
	f.Fuzz(checkNames)
}

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
