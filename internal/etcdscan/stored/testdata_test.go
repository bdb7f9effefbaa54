package stored

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// apiFile is one serialized API object of k8s.io/api, whose name says what it holds.
type apiFile struct {
	path string
	want Type
}

var encodings = map[string]Encoding{".pb": Protobuf, ".json": JSON, ".yaml": YAML}

// apiFiles lists the objects that k8s.io/api keeps in storage format, for its head and for each older release it knows.
func apiFiles(t testing.TB) []apiFile {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	if err != nil {
		t.Fatalf("finding k8s.io/api: %v", err)
	}
	paths, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "testdata", "*", "*.*"))
	if err != nil {
		t.Fatal(err)
	}
	var files []apiFile
	for _, path := range paths {
		encoding, ok := encodings[filepath.Ext(path)]
		if !ok {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		parts := strings.Split(strings.TrimSuffix(name, ".after_roundtrip"), ".")
		if len(parts) < 3 {
			t.Fatalf("%s: no <group>.<version>.<kind>", path)
		}
		kind, version, group := parts[len(parts)-1], parts[len(parts)-2], strings.Join(parts[:len(parts)-2], ".")
		if kind == "WatchEvent" {
			continue // it has no TypeMeta
		}
		if group != "core" {
			version = group + "/" + version
		}
		files = append(files, apiFile{path, Type{APIVersion: version, Kind: kind, Encoding: encoding}})
	}
	if len(files) < 1000 {
		t.Fatalf("k8s.io/api has %d objects, want its whole testdata", len(files))
	}
	return files
}

func (f apiFile) read(t testing.TB) []byte {
	t.Helper()
	payload, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// inTestdata tells whether the file is base (<group>.<version>.<kind>) at the head of k8s.io/api.
func (f apiFile) inTestdata(base string) bool {
	name := filepath.Base(f.path)
	return filepath.Base(filepath.Dir(f.path)) == "HEAD" && strings.TrimSuffix(name, filepath.Ext(name)) == base
}
