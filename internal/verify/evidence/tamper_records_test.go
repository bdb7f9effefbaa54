package evidence

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/verify"
)

// forged is a change of a bundle that is not signed, by somebody who makes the digests anew.
type forged struct {
	name   string
	forge  func(t *testing.T, dir string)
	file   string
	reason string
}

func relines(change func(lines []string) []string) func(*testing.T, string) {
	return func(t *testing.T, dir string) { rerecord(t, dir, change) }
}

func text(old, with string) func(*testing.T, string) {
	return relines(func(lines []string) []string {
		for i := range lines {
			lines[i] = strings.Replace(lines[i], old, with, 1)
		}
		return lines
	})
}

func raw(name string, change func([]byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) { put(t, dir, name, change(file(t, dir, name))) }
}

func ofScan(change func(*Scan)) func(*testing.T, string) {
	return func(t *testing.T, dir string) { rescan(t, dir, change) }
}

func both(a, b func(*testing.T, string)) func(*testing.T, string) {
	return func(t *testing.T, dir string) { a(t, dir); b(t, dir) }
}

// withRoot makes the root anew too, which a signature or whoever has the first statement would notice.
func withRoot(forge func(*testing.T, string)) func(*testing.T, string) {
	return both(forge, func(t *testing.T, dir string) { reroot(t, dir) })
}

func forgeries(t *testing.T, cases []forged) {
	t.Helper()
	signed, unsigned, key := bundles(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := clone(t, unsigned)
			c.forge(t, dir)
			resum(t, dir)
			if v := check(t, dir, nil); v.Verdict != verify.Incomplete || !strings.Contains(strings.Join(v.problems(), "\n"), "it is not the file that the statement speaks of") {
				t.Errorf("with the sums made anew it is %s: %q", v.Verdict, v.problems())
			}
			restate(t, dir)
			caught(t, dir, nil, c.file, c.reason)
			dir = clone(t, signed)
			c.forge(t, dir)
			restate(t, dir)
			caught(t, dir, key, SignatureFile, "another statement")
			caught(t, dir, nil, SignatureFile, "another statement")
		})
	}
}

func TestForgedRecords(t *testing.T) {
	t.Parallel()
	const root, sums = "Merkle root", "do not add up"
	removed := relines(func(lines []string) []string { return lines[1:] })
	added := relines(func(lines []string) []string {
		return append(lines, strings.ReplaceAll(lines[len(lines)-1], "/registry/secrets", "/registry/secretz"))
	})
	forgeries(t, []forged{
		{"removed", removed, RecordsFile, root},
		{"the table alone", raw(CSVFile, func(b []byte) []byte { return bytes.Replace(b, []byte("plaintext"), []byte("ok"), 1) }), CSVFile, "not say what the records say"},
		{"a row less", raw(CSVFile, func(b []byte) []byte { return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1] }), CSVFile, "not say what the records say"},
		{"removed, with its root", withRoot(removed), RecordsFile, sums},
		{"removed, with its root and the numbers", both(withRoot(removed), ofScan(func(s *Scan) {
			s.Completeness.Read--
			s.Completeness.Counted--
			s.Audit.Totals.Keys--
		})), ScanFile, "population comes to"},
		{"the last one removed", relines(func(lines []string) []string { return lines[:len(lines)-1] }), RecordsFile, root},
		{"all removed", relines(func([]string) []string { return nil }), RecordsFile, root},
		{"added", added, RecordsFile, root},
		{"added, with its root", withRoot(added), RecordsFile, sums},
		{"twice", relines(func(lines []string) []string { return append(lines[:1], lines...) }), RecordsFile, "not in the order"},
		{"swapped", relines(func(lines []string) []string { slices.Reverse(lines); return lines }), RecordsFile, "not in the order"},
		{"another key", text("key2", "key3"), RecordsFile, root},
		{"another key, with its root", withRoot(text("key2", "key3")), RecordsFile, sums},
		{"plaintext is well", withRoot(text(`"st":"plaintext"`, `"st":"ok"`)), RecordsFile, sums},
		{"plaintext is encrypted", withRoot(text(`"p":"identity"`, `"p":"aescbc"`)), RecordsFile, sums},
		{"not excepted", withRoot(text(`,"ex":"X"`, "")), RecordsFile, sums},
		{"another name", text("/secrets/ns/a", "/secrets/ns/A"), RecordsFile, root},
		{"another salt", text(`{"salt":"`, `{"salt":"ff`), RecordsFile, "line 1"},
		{"written later", withRoot(text(`"mod":"`, `"mod":"9`)), RecordsFile, "was written after revision"},
		{"no revision", withRoot(text(`"mod":"`, `"mod":"x`)), RecordsFile, "record 0"},
		{"a field more", text(`{"v":1`, `{"v":1,"plaintext":"x"`), RecordsFile, "line 1: it is no record"},
		{"another order of fields", text(`"v":1,`, ""), RecordsFile, root},
		{"white space", text(`{"v":1`, `{ "v":1`), RecordsFile, root},
		{"behind the record", text("}}\n", "},\"x\":1}\n"), RecordsFile, "line 1"},
		{"two records in a line", text("}}\n", "},\"record\":{}}\n"), RecordsFile, ""},
		{"an empty line", relines(func(lines []string) []string { return append(lines, "\n") }), RecordsFile, "it is no record"},
		{"no record", relines(func(lines []string) []string { return append(lines, "null\n") }), RecordsFile, "it is no record"},
		{"a huge line", relines(func(lines []string) []string {
			return append(lines, `{"salt":"`+strings.Repeat("0", 2*maxLine)+`"}`+"\n")
		}), RecordsFile, "damaged"},
		{"cut off", raw(RecordsFile, func(b []byte) []byte { return b[:len(b)-9] }), RecordsFile, "cut off"},
		{"without its checksum", raw(RecordsFile, func(b []byte) []byte { return b[:len(b)-8] }), RecordsFile, "cut off"},
		{"another checksum", raw(RecordsFile, func(b []byte) []byte { b[len(b)-5]++; return b }), RecordsFile, "damaged"},
		{"a byte behind its end", raw(RecordsFile, func(b []byte) []byte { return append(b, 0) }), RecordsFile, "something follows its end"},
		{"another file behind its end", raw(RecordsFile, func(b []byte) []byte { return append(b, zip(t, "more\n")...) }), RecordsFile, "something follows its end"},
		{"itself behind its end", raw(RecordsFile, func(b []byte) []byte { return append(b, b...) }), RecordsFile, "something follows its end"},
		{"much behind its end", raw(RecordsFile, func(b []byte) []byte { return append(b, bytes.Repeat([]byte("x"), 1<<20)...) }), RecordsFile, "something follows its end"},
		{"no gzip", raw(RecordsFile, func([]byte) []byte { return []byte("{}") }), RecordsFile, "no gzip file"},
		{"empty", raw(RecordsFile, func([]byte) []byte { return nil }), RecordsFile, "no gzip file"},
	})
}

// In a bundle that hides names, records are held by their root alone.
func TestForgedHiddenRecords(t *testing.T) {
	t.Parallel()
	dir, _ := write(t, rich(t, start(t), HMAC), Options{})
	sound(t, dir)
	for name, change := range map[string]func([]string) []string{
		"swapped": func(lines []string) []string { slices.Reverse(lines); return lines },
		"twice":   func(lines []string) []string { return append(lines[:1], lines...) },
		"renamed": func(lines []string) []string {
			lines[0] = strings.Replace(lines[0], `"hmac:`, `"hmac:0`, 1)
			return lines
		},
	} {
		forged := clone(t, dir)
		rerecord(t, forged, change)
		restate(t, forged)
		if v := check(t, forged, nil); v.Verdict != verify.Incomplete || !strings.Contains(strings.Join(v.problems(), "\n"), "Merkle root") {
			t.Errorf("%s: %s %q", name, v.Verdict, v.problems())
		}
	}
}

// The statement and the signature of another bundle of the same key say nothing of this one.
func TestSwappedStatement(t *testing.T) {
	t.Parallel()
	server := start(t)
	signer, _ := newKey(t, "Ed25519")
	o := rich(t, server, Names)
	first, _ := write(t, o, Options{Signer: signer})
	server.Put(t, "/registry/secrets/ns/new", aescbc("key2"))
	o2 := look{expect: []string{"secrets=aescbc:key2"}}.live(t, server)
	o2.Reconciliation = reconciled(t, o2)
	second, _ := write(t, o2, Options{Signer: signer})
	sound(t, first)
	sound(t, second)
	for _, names := range [][]string{{StatementFile}, {SignatureFile}, {StatementFile, SignatureFile}, {RecordsFile}, {ScanFile}, {ScanFile, RecordsFile}} {
		dir := clone(t, first)
		for _, name := range names {
			put(t, dir, name, file(t, second, name))
		}
		for range 2 {
			if v := check(t, dir, signer.publicKey()); v.Verdict != verify.Incomplete {
				t.Errorf("with %v of another bundle it is %s", names, v.Verdict)
			}
			resum(t, dir)
		}
	}
}
