package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/svmctl/svmctl/"

// layer is what a package must not import: directly, or also through other packages of this module. An entry stands for
// the package of that path and all below it.
type layer struct{ directly, atAll []string }

var (
	etcdClients  = []string{"go.etcd.io/etcd/client", "go.etcd.io/etcd/api", "go.etcd.io/etcd/server", "google.golang.org/grpc"}
	kubeClients  = []string{"k8s.io/client-go", "k8s.io/metrics"}
	clients      = slices.Concat(etcdClients, kubeClients, []string{"net", "crypto/tls"})
	transformers = []string{"k8s.io/apiserver"}
	codecs       = []string{"encoding/binary", "github.com/fxamacker/cbor", "google.golang.org/protobuf", "go.yaml.in", "k8s.io/api", "k8s.io/apimachinery/pkg/runtime"}
	printing     = []string{"log", "os", "text/tabwriter", "github.com/fatih", "github.com/jedib0t", "github.com/schollz", module + "cmd"}
)

// layers are those of docs/architecture.md. Every package has a row: a new one belongs somewhere.
var layers = map[string]layer{
	"cmd/svmctl":                        {directly: slices.Concat([]string{"go.etcd.io"}, codecs, ours("etcdscan/atrest", "etcdscan/key", "etcdscan/stored", "spool"), transformers)},
	"cmd/svmctl/internal/render":        {directly: slices.Concat(clients, codecs, ours("etcdscan/live", "rewrite"), []string{"os"}), atAll: transformers},
	"internal/apiservers":               {atAll: slices.Concat(etcdClients, transformers, printing, ours("etcdscan", "audit", "verify", "rewrite", "migrate"))},
	"internal/crd":                      {atAll: slices.Concat(etcdClients, transformers, printing, ours("etcdscan", "audit", "verify", "rewrite", "migrate"))},
	"internal/crd/upgrade":              {atAll: slices.Concat(etcdClients, transformers, printing, ours("etcdscan", "audit", "verify", "rewrite", "migrate"))},
	"internal/gate":                     {directly: slices.Concat(etcdClients, printing), atAll: slices.Concat(transformers, ours("rewrite", "migrate"))},
	"internal/preflight":                {atAll: slices.Concat(etcdClients, transformers, printing, ours("etcdscan", "audit", "verify", "rewrite", "migrate", "spool"))},
	"internal/storedversions":           {directly: slices.Concat(etcdClients, printing), atAll: slices.Concat(transformers, ours("rewrite", "migrate"))},
	"internal/witness":                  {directly: slices.Concat(etcdClients, printing), atAll: slices.Concat(transformers, ours("etcdscan/live", "rewrite", "migrate"))},
	"internal/keys":                     {directly: slices.Concat(etcdClients, printing), atAll: slices.Concat(transformers, ours("rewrite", "migrate"))},
	"internal/residue":                  {directly: slices.Concat(etcdClients, []string{"log", "github.com/fatih"}), atAll: slices.Concat(kubeClients, transformers, ours("etcdscan/live", "rewrite", "migrate"))},
	"internal/audit":                    {directly: []string{"os"}, atAll: slices.Concat(clients, transformers, ours("etcdscan/live", "rewrite", "migrate"))},
	"internal/etcdscan":                 {atAll: slices.Concat(clients, transformers, printing, ours("audit", "verify", "rewrite", "migrate"))},
	"internal/etcdscan/atrest":          {atAll: slices.Concat(clients, transformers, printing, []string{"crypto", "golang.org/x/crypto"}, ours("etcdscan"))},
	"internal/etcdscan/decrypt":         {atAll: slices.Concat([]string{"go.etcd.io"}, kubeClients, []string{"log", "text/tabwriter", "github.com/fatih", module + "cmd"}, ours("audit", "verify", "rewrite", "migrate"))},
	"internal/encryption":               {directly: codecs, atAll: slices.Concat(clients, transformers, printing, ours("etcdscan/live", "etcdscan/stored", "audit", "verify", "rewrite", "migrate"))},
	"internal/node":                     {directly: clients, atAll: slices.Concat(etcdClients, kubeClients, transformers, []string{"os", "log"}, ours("etcdscan", "encryption", "audit", "verify", "rewrite", "migrate"))},
	"internal/etcdscan/key":             {atAll: slices.Concat(clients, transformers, printing, codecs, ours("etcdscan"))},
	"internal/etcdscan/carve":           {atAll: slices.Concat(clients, transformers, printing, []string{"k8s.io/api", "k8s.io/apimachinery", "crypto"}, ours("etcdscan"))},
	"internal/etcdscan/stored":          {atAll: slices.Concat(clients, transformers, printing, []string{"k8s.io/api", "k8s.io/apimachinery", "crypto"}, ours("etcdscan"))},
	"internal/etcdscan/wal":             {atAll: slices.Concat(clients, transformers, []string{"log", "text/tabwriter", "k8s.io/api", "k8s.io/apimachinery", "crypto", module + "cmd"}, ours("etcdscan"))},
	"internal/etcdscan/live":            {atAll: slices.Concat(kubeClients, transformers, ours("audit", "verify", "rewrite", "migrate"))},
	"internal/etcdscan/snapshot":        {atAll: slices.Concat(clients, transformers, []string{"log", "text/tabwriter", "github.com/fatih", module + "cmd"}, ours("audit", "verify", "rewrite", "migrate"))},
	"internal/etcdscan/etcdtest":        {atAll: slices.Concat(kubeClients, transformers)},
	"internal/spool":                    {atAll: slices.Concat(clients, transformers, ours("etcdscan", "audit", "verify", "rewrite", "migrate"))},
	"internal/storageversion":           {atAll: slices.Concat(clients, transformers, printing, codecs, ours("etcdscan", "audit", "verify", "rewrite", "migrate"))},
	"internal/verify":                   {atAll: slices.Concat(clients, transformers, printing, []string{"time"}, ours("etcdscan/live", "audit", "spool", "rewrite", "migrate"))},
	"docs/schema":                       {atAll: slices.Concat(clients, transformers, printing)},
	"internal/verify/expect":            {atAll: slices.Concat(etcdClients, transformers, []string{"os"}, ours("etcdscan/live", "rewrite", "migrate"))},
	"internal/verify/evidence":          {directly: slices.Concat([]string{"log", "text/tabwriter", "github.com/fatih", module + "cmd"}), atAll: slices.Concat(clients, transformers, ours("etcdscan/live", "etcdscan/decrypt", "rewrite", "migrate", "witness"))},
	"internal/verify/evidence/oscal":    {directly: []string{"os"}, atAll: slices.Concat(clients, transformers, []string{"log", "text/tabwriter", "github.com/fatih", module + "cmd"}, ours("etcdscan/live", "rewrite", "migrate"))},
	"internal/verify/evidence/page":     {directly: []string{"os"}, atAll: slices.Concat(clients, transformers, []string{"log", "text/tabwriter", "github.com/fatih", module + "cmd"}, ours("etcdscan/live", "rewrite", "migrate"))},
	"internal/verify/evidence/pipeline": {directly: []string{"os"}, atAll: slices.Concat(clients, transformers, []string{"log", "text/tabwriter", "github.com/fatih", module + "cmd"}, ours("etcdscan/live", "rewrite", "migrate"))},
	"internal/rewrite":                  {atAll: slices.Concat(etcdClients, transformers, printing, ours("etcdscan", "audit", "verify", "migrate"))},
	"internal/migrate":                  {directly: slices.Concat(etcdClients, printing), atAll: transformers},
}

// soleUsers are the only packages that may import what they are named for. Nothing here: nobody may.
var soleUsers = map[string][]string{
	"go.etcd.io/etcd/client/v3":           {"internal/etcdscan/live", "internal/etcdscan/etcdtest", "bench"},
	"go.etcd.io/etcd/server/v3":           {"internal/etcdscan/etcdtest"},
	"go.etcd.io/bbolt":                    {"internal/etcdscan/snapshot", "bench"},
	"k8s.io/apiserver":                    {"internal/etcdscan/decrypt", "bench"},
	"k8s.io/apiextensions-apiserver":      {"internal/crd", "internal/crd/upgrade"},
	"k8s.io/kubernetes":                   {},
	"testing":                             {"internal/etcdscan/etcdtest", "testdata/vectors"},
	module + "internal/etcdscan/etcdtest": {},
	module + "testdata":                   {},
}

// free are directories whose packages are no part of the program.
var free = []string{"bench", "e2e", "playground", "testdata"}

func ours(names ...string) []string {
	var paths []string
	for _, name := range names {
		paths = append(paths, module+"internal/"+name)
	}
	return paths
}

func TestLayers(t *testing.T) {
	for _, v := range violations(t, os.DirFS("../..")) {
		t.Error(v)
	}
}

// TestLayersCanBeViolated feeds made-up trees: a check that cannot fail is none.
func TestLayersCanBeViolated(t *testing.T) {
	for _, c := range []struct {
		name string
		tree map[string]string // file → imports
		want string
	}{
		{"directly", map[string]string{"internal/verify/a.go": "fmt os/exec"}, "internal/verify → os/exec"},
		{"in another file", map[string]string{"internal/verify/a.go": "fmt", "internal/verify/b.go": "k8s.io/client-go/rest"}, "internal/verify → k8s.io/client-go/rest"},
		{
			"through another package",
			map[string]string{"internal/verify/a.go": module + "internal/etcdscan", "internal/etcdscan/a.go": module + "internal/etcdscan/key", "internal/etcdscan/key/a.go": "net"},
			"internal/verify → internal/etcdscan → internal/etcdscan/key → net",
		},
		{
			"the wall between reading and writing",
			map[string]string{"internal/rewrite/a.go": module + "internal/etcdscan", "internal/etcdscan/a.go": "context"},
			"internal/rewrite → internal/etcdscan",
		},
		{
			"upwards", map[string]string{"internal/migrate/a.go": module + "cmd/svmctl/internal/render", "cmd/svmctl/internal/render/a.go": "io"},
			"internal/migrate → cmd/svmctl/internal/render",
		},
		{"a second user of clientv3", map[string]string{"internal/audit/a.go": "go.etcd.io/etcd/client/v3/concurrency"}, "internal/audit → go.etcd.io/etcd/client/v3/concurrency"},
		{"the root module and Kubernetes itself", map[string]string{"bench/a.go": "k8s.io/kubernetes/pkg/apis/core"}, "bench → k8s.io/kubernetes/pkg/apis/core"},
		{"a test's helper in the program", map[string]string{"internal/spool/a.go": module + "internal/etcdscan/etcdtest"}, "internal/spool → internal/etcdscan/etcdtest"},
		{"a package without a row", map[string]string{"internal/util/a.go": "fmt"}, "internal/util has no layer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := violations(t, madeUp(c.tree))
			if !slices.ContainsFunc(found, func(v string) bool { return strings.HasPrefix(v, c.want) }) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
	t.Run("nothing is wrong", func(t *testing.T) {
		found := violations(t, madeUp(map[string]string{
			"internal/verify/a.go": "fmt oserror " + module + "internal/etcdscan", "internal/etcdscan/a.go": "context", "internal/verify/a_test.go": "os",
			"internal/etcdscan/live/a.go": "os go.etcd.io/etcd/client/v3", "e2e/a.go": "os net", "playground/a.go": "k8s.io/kubernetes/cmd",
		}))
		if len(found) > 0 {
			t.Errorf("found %q", found)
		}
	})
}

func madeUp(tree map[string]string) fs.FS {
	fsys := make(fstest.MapFS)
	for file, imports := range tree {
		text := "package p\n"
		for _, imported := range strings.Fields(imports) {
			text += fmt.Sprintf("import _ %q\n", imported)
		}
		fsys[file] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

// violations lists every forbidden import, as the path that leads to it.
func violations(t *testing.T, fsys fs.FS) []string {
	t.Helper()
	graph := make(map[string][]string)
	for file, syntax := range sources(t, fsys) {
		dir := path.Dir(file)
		for _, spec := range syntax.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			graph[dir] = append(graph[dir], imported)
		}
	}
	var found []string
	for _, pkg := range slices.Sorted(maps.Keys(graph)) {
		top, _, _ := strings.Cut(pkg, "/")
		l, known := layers[pkg]
		if !known && !slices.Contains(free, top) {
			found = append(found, pkg+" has no layer: give it a row")
		}
		found = append(found, forbidden(graph, []string{pkg}, l)...)
		for _, imported := range graph[pkg] {
			for only, users := range soleUsers {
				if within(imported, only) && !slices.Contains(users, pkg) && top != "playground" && top != "e2e" {
					found = append(found, fmt.Sprintf("%s → %s: it is for %q alone", pkg, short(imported), users))
				}
			}
		}
	}
	return found
}

// forbidden follows the imports of the last package on the way.
func forbidden(graph map[string][]string, way []string, l layer) []string {
	var found []string
	for _, imported := range graph[way[len(way)-1]] {
		next := append(slices.Clone(way), short(imported))
		bad := l.atAll
		if len(way) == 1 {
			bad = slices.Concat(l.directly, l.atAll)
		}
		switch {
		case slices.ContainsFunc(bad, func(prefix string) bool { return within(imported, prefix) }):
			found = append(found, strings.Join(next, " → "))
		case strings.HasPrefix(imported, module) && !slices.Contains(way, short(imported)):
			found = append(found, forbidden(graph, next, l)...)
		}
	}
	return found
}

func short(imported string) string { return strings.TrimPrefix(imported, module) }

func within(imported, prefix string) bool {
	return imported == prefix || strings.HasPrefix(imported, prefix+"/")
}

// sources parses every file of the program, whatever its build constraints.
func sources(t *testing.T, fsys fs.FS) map[string]*ast.File {
	t.Helper()
	files := make(map[string]*ast.File)
	err := fs.WalkDir(fsys, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && file != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "bin") {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "playground/") {
			return nil
		}
		text, err := fs.ReadFile(fsys, file)
		if err != nil {
			return err
		}
		files[file], err = parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
