package key

import (
	"slices"
	"strings"
	"testing"
)

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
