package key

import (
	"os"
	"slices"
	"strings"
	"testing"
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
