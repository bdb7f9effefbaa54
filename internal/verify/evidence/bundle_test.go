package evidence

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// newKey is a signing key and its PEM.
func newKey(t testing.TB, algorithm string) (*SigningKey, []byte) {
	t.Helper()
	var key any
	var err error
	if algorithm == "Ed25519" {
		_, key, err = ed25519.GenerateKey(rand.Reader)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	text := pkcs8(t, key)
	signer, err := ParseSigningKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return signer, text
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// rich is an Observed that makes every file of a bundle but for the residue.
func rich(t testing.TB, server running, mode Mode) *Observed {
	t.Helper()
	fill(t, server, usual().and(values{"/registry/secrets/ns/p": plain("v1", "Secret", "ns", "p")}))
	o := look{expect: []string{"secrets=aescbc:key2"}, mode: mode}.live(t, server)
	o.Reconciliation = reconciled(t, o)
	o.APIServers = asked(apiserver("a", wrote("secrets", "key2:", 7)))
	o.Rotation = &Rotation{Verdict: o.Report.Verdict, StaleBefore: 3, Rewritten: 3, FromWhole: true, From: 1, To: o.Report.Source.Revision, Began: noon, Done: noon}
	o.Migration = &Migration{APIVersion: APIVersion, Kind: "EvidenceMigration", Report: migrated, Before: o.Report, After: o.Report, Failures: []FailureCount{}}
	if mode == Names {
		o.Migration.NotRewritten = []Unwritten{}
	}
	var err error
	o.Exceptions, err = ParseExceptions([]byte("exceptions: [{id: X, selector: {resource: secrets, name: p}, expires: 2027-01-01, reason: so, approver: she}]"))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// file reads a file of a bundle.
func file(t testing.TB, dir, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func put(t testing.TB, dir, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// unzip is the text of records.jsonl.gz.
func unzip(t testing.TB, text []byte) string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func zip(t testing.TB, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestWrite(t *testing.T) {
	t.Parallel()
	server := start(t)
	signer, _ := newKey(t, "ECDSA P-256")
	report := Rendering{"report.md", func(w io.Writer, d *Document) error {
		_, err := io.WriteString(w, d.Scan.ID)
		return err
	}}
	for mode, missing := range map[Mode][]string{Names: nil, HMAC: nil, Counts: {RecordsFile, CSVFile}} {
		dir, doc := write(t, rich(t, server, mode), Options{Signer: signer, CSV: mode != Counts, Renderings: []Rendering{report}})
		want := []string{ScanFile, RecordsFile, CSVFile, APIServersFile, ExceptionsFile, MigrationFile, MarkdownFile, VerifyFile, StatementFile, SignatureFile, PublicKeyFile, SumsFile}
		want = slices.DeleteFunc(want, func(name string) bool { return slices.Contains(missing, name) })
		slices.Sort(want)
		if got := names(t, dir); !slices.Equal(got, want) || !slices.Equal(doc.Files, want) {
			t.Errorf("%s: there are %v, the document tells %v, and there should be %v", mode, got, doc.Files, want)
		}
		for _, name := range want {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil || info.Mode() != 0o600 {
				t.Errorf("%s: %s has the mode %v, %v", mode, name, info.Mode(), err)
			}
		}
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: the directory has the mode %v, %v", mode, info.Mode(), err)
		}
		if others := names(t, filepath.Dir(dir)); len(others) != 1 {
			t.Errorf("%s: beside the bundle there is %v", mode, others)
		}
		if v := sound(t, dir); !v.Signature.Signed || v.Signature.Trusted {
			t.Errorf("%s: the signature is %+v", mode, v.Signature)
		}
	}
}

// A bundle that does not come to its end is not there at all.
func TestWriteIsWholeOrNot(t *testing.T) {
	server := start(t)
	o := rich(t, server, Names)
	parent := t.TempDir()
	fails := errors.New("no paper")
	opts := Options{CSV: true, Renderings: []Rendering{{"report.md", func(w io.Writer, _ *Document) error {
		if left := names(t, parent); len(left) != 1 || !strings.HasPrefix(left[0], ".bundle-") {
			t.Errorf("while it is written there is %v", left)
		}
		_, _ = io.WriteString(w, "half a page")
		return fails
	}}}}
	if _, err := Write(filepath.Join(parent, "bundle"), o, opts); !errors.Is(err, fails) {
		t.Errorf("the error is %v", err)
	}
	if left := names(t, parent); len(left) > 0 {
		t.Errorf("there is left %v", left)
	}
	o.Report.Totals.Keys++ // the scan and the records are not of the same keys
	if _, err := Write(filepath.Join(parent, "bundle"), o, Options{CSV: true}); err == nil {
		t.Error("records of another number than the scan has are written")
	}
	o.Report.Totals.Keys--
	if left := names(t, parent); len(left) > 0 {
		t.Errorf("there is left %v", left)
	}
}

func TestWriteOverNothing(t *testing.T) {
	server := start(t)
	o := rich(t, server, Names)
	parent := t.TempDir()
	full := filepath.Join(parent, "full")
	if err := os.Mkdir(full, 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, full, "mine.txt", []byte("precious"))
	put(t, parent, "file", []byte("precious"))
	for name, dir := range map[string]string{"something is there": full, "a file": filepath.Join(parent, "file"), "no parent": filepath.Join(parent, "no", "bundle")} {
		if err := Vacant(dir); err == nil {
			t.Errorf("%s: it is vacant", name)
		}
		if _, err := Write(dir, o, Options{}); err == nil {
			t.Errorf("%s: it is written", name)
		}
	}
	if err := Vacant(full); !errors.Is(err, ErrExists) {
		t.Errorf("the error is %v", err)
	}
	if got := string(file(t, full, "mine.txt")); got != "precious" || len(names(t, full)) != 1 || len(names(t, parent)) != 2 {
		t.Errorf("%q, %v, %v", got, names(t, full), names(t, parent))
	}
	empty := filepath.Join(parent, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(empty+"/", o, Options{}); err != nil {
		t.Errorf("an empty directory is refused: %v", err)
	}
	sound(t, empty)
	locked := filepath.Join(parent, "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		locked = "/proc" // where not even root makes a directory
	}
	if _, err := Write(filepath.Join(locked, "bundle"), o, Options{}); err == nil {
		t.Error("it is written where nobody may write")
	}
}

// The same snapshot with the same redaction key at the same time is the same bundle.
func TestSameAgain(t *testing.T) {
	t.Parallel()
	server := startWith(t, usual())
	path := save(t, server)
	bundle := func(mode Mode, key []byte, at time.Time) map[string]string {
		o := look{expect: []string{"secrets=aescbc:key2"}, mode: mode, history: true}.file(t, path)
		o.Redactor, o.Report.StartedAt = redactor(t, mode, key), at
		dir, _ := write(t, o, Options{CSV: mode != Counts})
		sound(t, dir)
		all := make(map[string]string)
		for _, name := range names(t, dir) {
			all[name] = string(file(t, dir, name))
		}
		return all
	}
	root := func(b map[string]string) string {
		_, rest, _ := strings.Cut(b[StatementFile], `"recordsMerkleRoot": "`)
		return rest[:64]
	}
	for _, mode := range []Mode{Names, HMAC, Counts} {
		a, b := bundle(mode, redactionKey, noon), bundle(mode, redactionKey, noon)
		if !maps.Equal(a, b) {
			t.Errorf("%s: two bundles of one file differ", mode)
		}
		if c := bundle(mode, redactionKey, noon.Add(time.Hour)); root(c) != root(a) || c[RecordsFile] != a[RecordsFile] || c[StatementFile] == a[StatementFile] {
			t.Errorf("%s: another time makes other records, or the same statement", mode)
		}
		if c := bundle(mode, bytes.Repeat([]byte("x"), 32), noon); root(c) == root(a) {
			t.Errorf("%s: another redaction key makes the same root", mode)
		}
	}
	if a, b := bundle(Names, nil, noon), bundle(Names, nil, noon); root(a) == root(b) {
		t.Error("without a redaction key two bundles have one root")
	}
	if a, b := bundle(HMAC, redactionKey, noon), bundle(Counts, redactionKey, noon); root(a) != root(b) {
		t.Error("the tree of counts is not that of hmac")
	}
}
