package evidence

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/svmctl/svmctl/internal/verify"
)

func TestFilesOfBundle(t *testing.T) {
	t.Parallel()
	signed, unsigned, key := bundles(t)
	for _, b := range []struct {
		dir string
		key *PublicKey
	}{{signed, key}, {signed, nil}, {unsigned, nil}} {
		for _, name := range names(t, b.dir) {
			text := file(t, b.dir, name)
			sayer := name
			if name == SumsFile {
				sayer = SumsFile
			}
			for what, changed := range map[string][]byte{"a byte more": append(text[:len(text):len(text)], '\n'), "a byte less": text[:len(text)-1], "nothing in it": {}} {
				put(t, b.dir, name, changed)
				if v := check(t, b.dir, b.key); v.Verdict != verify.Incomplete {
					t.Errorf("%s with %s: %s", name, what, v.Verdict)
				} else if name != SumsFile && !strings.Contains(strings.Join(v.problems(), "\n"), ": "+sayer+": ") {
					t.Errorf("%s with %s: nothing is said of it: %q", name, what, v.problems())
				}
			}
			if err := os.Remove(filepath.Join(b.dir, name)); err != nil {
				t.Fatal(err)
			}
			caught(t, b.dir, b.key, name, "missing")
			if name != SumsFile {
				was := file(t, b.dir, SumsFile)
				resum(t, b.dir)
				switch {
				case name == PublicKeyFile && b.key != nil: // which nobody needs
				case name == PublicKeyFile:
					if v := check(t, b.dir, nil); v.Verdict != verify.Indeterminate {
						t.Errorf("without a key the signature is %s", v.Verdict)
					}
				case name == SignatureFile && b.key != nil:
					caught(t, b.dir, b.key, "", "not signed")
				case name == SignatureFile:
					caught(t, b.dir, nil, name, "VERIFY.md lists it")
				default:
					caught(t, b.dir, b.key, name, "")
				}
				put(t, b.dir, SumsFile, was)
			}
			put(t, b.dir, name, text)
		}
		if v := check(t, b.dir, b.key); v.Verdict != verify.Complete {
			t.Fatalf("put back it is %s: %q", v.Verdict, v.problems())
		}
	}
}

// What is no regular file is wrong wherever it is, and is not opened.
func TestIrregularFiles(t *testing.T) {
	t.Parallel()
	_, unsigned, _ := bundles(t)
	outside := filepath.Join(t.TempDir(), "outside")
	put(t, filepath.Dir(outside), "outside", []byte("x"))
	kinds := map[string]func(path string) error{
		"a directory":      func(path string) error { return os.Mkdir(path, 0o755) },
		"a FIFO":           func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"a link within":    func(path string) error { return os.Symlink(VerifyFile, path) },
		"a link to itself": func(path string) error { return os.Symlink(filepath.Base(path), path) },
		"a link outside":   func(path string) error { return os.Symlink(outside, path) },
		"a link nowhere":   func(path string) error { return os.Symlink("nowhere", path) },
	}
	for kind, make := range kinds {
		for _, name := range append(names(t, unsigned), "extra", SignatureFile, PublicKeyFile) {
			if strings.Contains(kind, "link") && name == VerifyFile {
				continue
			}
			dir := clone(t, unsigned)
			path := filepath.Join(dir, name)
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			done := time.AfterFunc(20*time.Second, func() { panic(kind + " keeps the check waiting: " + name) })
			why := "no regular file"
			if kind == "a directory" {
				why = kind
			}
			caught(t, dir, nil, name, why)
			done.Stop()
		}
	}
}

func TestForeignFiles(t *testing.T) {
	t.Parallel()
	signed, unsigned, key := bundles(t)
	for _, name := range []string{"extra.txt", ".hidden", "records.jsonl", "SHA256SUMS.bak", ResidueFile} {
		for _, dir := range []string{signed, unsigned} {
			dir = clone(t, dir)
			put(t, dir, name, []byte("x"))
			caught(t, dir, nil, name, "SHA256SUMS does not name it")
			resum(t, dir)
			caught(t, dir, nil, name, "the statement does not speak of it")
		}
	}
	// Names come from whoever sent the bundle, and are shown in a terminal.
	odd := clone(t, unsigned)
	put(t, odd, "a\x1b[31m\nb\u202e", []byte("x"))
	put(t, odd, SumsFile, append(file(t, odd, SumsFile), strings.Repeat("0", 64)+"  \x1b[31mred\n"...))
	for _, p := range check(t, odd, nil).problems() {
		if strings.ContainsAny(p, "\x1b\n\u202e") {
			t.Errorf("it is told as it is: %q", p)
		}
	}
	// Of a bundle that was signed afterwards the sums name neither the signature nor the key.
	later := clone(t, signed)
	put(t, later, SumsFile, sums(digestsOf(t, later, SumsFile, SignatureFile, PublicKeyFile)))
	if v := check(t, later, key); v.Verdict != verify.Complete {
		t.Errorf("signed afterwards it is %s: %q", v.Verdict, v.problems())
	}
	put(t, later, "more.pub", []byte("x"))
	caught(t, later, key, "more.pub", "SHA256SUMS does not name it")
}

func TestNoBundle(t *testing.T) {
	empty := t.TempDir()
	if _, err := Check(t.Context(), empty, nil); err != ErrNoBundle {
		t.Errorf("an empty directory: %v", err)
	}
	put(t, empty, "mine.txt", []byte("x"))
	if _, err := Check(t.Context(), empty, nil); err != ErrNoBundle {
		t.Errorf("a directory of something else: %v", err)
	}
	if _, err := Check(t.Context(), filepath.Join(empty, "mine.txt"), nil); err == nil {
		t.Error("a file is a bundle")
	}
	if _, err := Check(t.Context(), filepath.Join(empty, "nothing"), nil); err == nil {
		t.Error("nothing is a bundle")
	}
	put(t, empty, ScanFile, []byte("{}"))
	caught(t, empty, nil, ScanFile, "form")
	for _, text := range []string{"null", "[]", "{", `{"audit":null}`, ""} {
		put(t, empty, ScanFile, []byte(text))
		put(t, empty, StatementFile, []byte(text))
		v := check(t, empty, nil)
		if v.Verdict != verify.Incomplete {
			t.Errorf("%q: %s", text, v.Verdict)
		}
		if _, _, err := v.Scanned(); err == nil {
			t.Errorf("%q: there is something to read again", text)
		}
	}
}
