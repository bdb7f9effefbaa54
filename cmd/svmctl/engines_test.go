package main

import (
	"go/ast"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// selectors are the uses X.Y in a file, for any expression X.
func selectors(f *ast.File) []string {
	var all []string
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			name := "(…)"
			switch x := s.X.(type) {
			case *ast.Ident:
				name = x.Name
			case *ast.SelectorExpr:
				name = x.Sel.Name
			}
			all = append(all, name+"."+s.Sel.Name)
		}
		return true
	})
	return all
}

// uses lists "file: X.Y" for the files below dir whose selectors are bad.
func uses(t *testing.T, fsys fs.FS, dir string, bad func(x, y string) bool) []string {
	var found []string
	for file, syntax := range sources(t, fsys) {
		if !strings.HasPrefix(file, dir+"/") {
			continue
		}
		for _, s := range selectors(syntax) {
			if x, y, _ := strings.Cut(s, "."); bad(x, y) {
				found = append(found, file+": "+s)
			}
		}
	}
	return found
}

// speaks tells a use that writes to the terminal or ends the program.
func speaks(x, y string) bool {
	return x == "fmt" && strings.HasPrefix(y, "Print") ||
		x == "os" && slices.Contains([]string{"Exit", "Stdout", "Stderr", "Stdin", "Args", "Getenv", "LookupEnv"}, y) || x == "log" || x == "slog"
}

// writes tells a use by which an etcd client changes something.
func writes(x, y string) bool {
	return x != "slices" && slices.Contains([]string{"Put", "Delete", "Txn", "Do", "Compact", "OpPut", "OpDelete", "OpTxn", "Grant", "Revoke", "KeepAlive", "Defragment",
		"AlarmDisarm", "Campaign", "MoveLeader", "MemberAdd", "MemberRemove", "MemberUpdate", "MemberPromote", "AuthEnable", "AuthDisable", "UserAdd"}, y)
}

func TestEnginesAreSilent(t *testing.T) {
	for _, use := range uses(t, os.DirFS("../.."), "internal", speaks) {
		t.Error(use)
	}
}

func TestReadersCannotWrite(t *testing.T) {
	for _, dir := range []string{"internal/etcdscan", "internal/audit"} {
		for _, use := range uses(t, os.DirFS("../.."), dir, writes) {
			if !strings.HasPrefix(use, "internal/etcdscan/etcdtest/") {
				t.Error(use)
			}
		}
	}
}

func TestUsesAreFound(t *testing.T) {
	text := "package p\nfunc f() { fmt.Println(1); s.client.KV.Put(ctx, k, v); open().Txn(ctx); os.Exit(1); fmt.Sprint(1) }\n"
	fsys := fstest.MapFS{"internal/a/a.go": {Data: []byte(text)}, "cmd/a/a.go": {Data: []byte(text)}}
	for name, bad := range map[string]func(x, y string) bool{"speaks": speaks, "writes": writes} {
		if found := uses(t, fsys, "internal", bad); len(found) != 2 {
			t.Errorf("%s: %q", name, found)
		}
	}
}
