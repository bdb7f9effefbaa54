package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/verify"
)

// digestsOf are those of the files of a bundle, but for some.
func digestsOf(t testing.TB, dir string, without ...string) map[string]string {
	t.Helper()
	digests := make(map[string]string)
	for _, name := range names(t, dir) {
		if !slices.Contains(without, name) {
			sum := sha256.Sum256(file(t, dir, name))
			digests[name] = hex.EncodeToString(sum[:])
		}
	}
	return digests
}

// resum makes SHA256SUMS anew, as a forger does.
func resum(t testing.TB, dir string) {
	t.Helper()
	put(t, dir, SumsFile, sums(digestsOf(t, dir, SumsFile)))
}

// restate makes the statement anew, and SHA256SUMS.
func restate(t testing.TB, dir string) {
	t.Helper()
	scan, err := readScan(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := encode(scan.statement(digestsOf(t, dir, unsaid...)))
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, StatementFile, text)
	resum(t, dir)
}

// rescan changes scan.json.
func rescan(t testing.TB, dir string, change func(*Scan)) {
	t.Helper()
	scan, err := readScan(dir)
	if err != nil {
		t.Fatal(err)
	}
	change(scan)
	text, err := encode(scan)
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, ScanFile, text)
}

// rerecord changes the lines of the records.
func rerecord(t testing.TB, dir string, change func(lines []string) []string) {
	t.Helper()
	lines := strings.SplitAfter(unzip(t, file(t, dir, RecordsFile)), "\n")
	put(t, dir, RecordsFile, zip(t, strings.Join(change(lines[:len(lines)-1]), "")))
}

// reroot makes the tree of the records anew.
func reroot(t testing.TB, dir string) {
	t.Helper()
	var tr tree
	for l, err := range readLines(t.Context(), bytes.NewReader(file(t, dir, RecordsFile))) {
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.add(l.hash); err != nil {
			t.Fatal(err)
		}
	}
	root, err := tr.root()
	if err != nil {
		t.Fatal(err)
	}
	rescan(t, dir, func(s *Scan) { s.Merkle.Root, s.Merkle.TreeSize = hex.EncodeToString(root[:]), tr.size })
}

// clone is a bundle to be tampered with.
func clone(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "bundle")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// caught demands that a bundle is found to be wrong in a file, for a reason.
func caught(t testing.TB, dir string, key *PublicKey, name, why string) {
	t.Helper()
	v := check(t, dir, key)
	found := slices.ContainsFunc(v.problems(), func(p string) bool {
		return strings.Contains(p, ": "+name+": ") && strings.Contains(p, why)
	})
	if v.Verdict != verify.Incomplete || !found {
		t.Errorf("it is %s, and of %s it does not say %q: %q", v.Verdict, name, why, v.problems())
	}
}

// bundles are one that is signed and one that is not, with the same content.
func bundles(t *testing.T) (signed, unsigned string, key *PublicKey) {
	t.Helper()
	server := start(t)
	signer, _ := newKey(t, "ECDSA P-256")
	o := rich(t, server, Names)
	opts := Options{CSV: true}
	unsigned, _ = write(t, o, opts)
	opts.Signer = signer
	signed, _ = write(t, o, opts)
	sound(t, unsigned)
	if v := check(t, signed, signer.publicKey()); v.Verdict != verify.Complete || !v.Signature.Trusted {
		t.Fatalf("%+v", v.problems())
	}
	return signed, unsigned, signer.publicKey()
}

// flips are the changes of one byte that are tried: each bit of small files, one of others.
func flips(size int) []byte {
	if size < 3000 {
		return []byte{1, 2, 4, 8, 16, 32, 64, 128}
	}
	return nil
}

// Every change of a byte of every file is found, and told of that file.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	signed, unsigned, _ := bundles(t)
	tried := 0
	for _, dir := range []string{signed, unsigned} {
		c := &checking{Verification: new(Verification), digests: digestsOf(t, dir)}
		var err error
		if c.root, err = os.OpenRoot(dir); err != nil {
			t.Fatal(err)
		}
		defer c.root.Close()
		c.sums()
		if c.conclude(); c.Verdict != verify.Complete {
			t.Fatal(c.problems())
		}
		for _, name := range names(t, dir) {
			text := file(t, dir, name)
			was := c.digests[name]
			for i := range text {
				bits := flips(len(text))
				if bits == nil {
					bits = []byte{1 << (i % 8)}
				}
				for _, bit := range bits {
					text[i] ^= bit
					if name == SumsFile {
						put(t, dir, name, text)
					} else {
						sum := sha256.Sum256(text)
						c.digests[name] = hex.EncodeToString(sum[:])
					}
					c.Checks = nil
					c.sums()
					c.conclude()
					// A change in SHA256SUMS is told of the file whose line it is.
					if p := c.problems(); c.Verdict != verify.Incomplete || name != SumsFile && !slices.ContainsFunc(p, func(p string) bool { return strings.HasPrefix(p, "sums: "+name+": ") }) {
						t.Fatalf("byte %d of %s, bit %d: %s %q", i, name, bit, c.Verdict, p)
					}
					text[i] ^= bit
					tried++
				}
			}
			put(t, dir, name, text)
			c.digests[name] = was
		}
	}
	t.Logf("%d changes", tried)
}

// The whole check finds them, with the sums made anew as well.
func TestSomeBytes(t *testing.T) {
	t.Parallel()
	signed, unsigned, key := bundles(t)
	random := rand.New(rand.NewPCG(1, 2))
	for _, b := range []struct {
		dir string
		key *PublicKey
	}{{signed, key}, {signed, nil}, {unsigned, nil}} {
		for _, name := range names(t, b.dir) {
			text := file(t, b.dir, name)
			for range 20 {
				i, bit := random.IntN(len(text)), byte(1)<<random.IntN(8)
				text[i] ^= bit
				put(t, b.dir, name, text)
				if v := check(t, b.dir, b.key); v.Verdict != verify.Incomplete {
					t.Errorf("byte %d of %s, bit %d: %s", i, name, bit, v.Verdict)
				}
				// Of what follows from the statement, none; what signs it does so itself.
				if !slices.Contains([]string{SumsFile, SignatureFile, PublicKeyFile}, name) {
					was := file(t, b.dir, SumsFile)
					resum(t, b.dir)
					if v := check(t, b.dir, b.key); v.Verdict != verify.Incomplete {
						t.Errorf("byte %d of %s, bit %d, sums made anew: %s", i, name, bit, v.Verdict)
					}
					put(t, b.dir, SumsFile, was)
				}
				text[i] ^= bit
			}
			put(t, b.dir, name, text)
		}
	}
}

// Every byte of a statement and of its signature is held by the key.
func TestEveryByteOfSignature(t *testing.T) {
	t.Parallel()
	signed, _, key := bundles(t)
	statement, signature := file(t, signed, StatementFile), file(t, signed, SignatureFile)
	for i := range statement {
		statement[i] ^= 1 << (i % 8)
		if checkSignature(signature, statement, key) == nil {
			t.Errorf("byte %d of the statement is not signed", i)
		}
		statement[i] ^= 1 << (i % 8)
	}
	var b SigstoreBundle
	if err := json.Unmarshal(signature, &b); err != nil {
		t.Fatal(err)
	}
	sig := b.Envelope.Signatures[0].Sig
	for i := range sig {
		changed := []byte(sig)
		if changed[i]++; changed[i] == '{' {
			changed[i] = 'a'
		}
		b.Envelope.Signatures[0].Sig = string(changed)
		text, err := encode(b)
		if err != nil {
			t.Fatal(err)
		}
		if checkSignature(text, statement, key) == nil && !strings.HasSuffix(sig[i+1:], "=") {
			t.Errorf("byte %d of the signature does not matter", i)
		}
	}
}

func TestCanceledCheck(t *testing.T) {
	_, unsigned, _ := bundles(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := Check(ctx, unsigned, nil); err == nil {
		t.Errorf("it is %s", v.Verdict)
	}
}
