package evidence

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/verify"
)

// No cell of the table begins like a formula, whoever named the object.
func TestTableIsInert(t *testing.T) {
	t.Parallel()
	all := values{}
	odd := []string{"=cmd|calc!A0", "+1", "-1", "@SUM(1)", "\tx", "\rx", "\nx", "＝1", "＋1", "－1", "＠x", "a,b", `a"b`, "a\nb", "日本", "é", " =1", "'=1"}
	for i, name := range odd {
		all[fmt.Sprintf("/registry/secrets/%s/n%d", name, i)] = aescbc("key2")
		all["/registry/secrets/ns/"+name] = aescbc(strings.TrimSpace(name))
		all["/registry/"+name+"/ns/a"] = aescbc("key2")
	}
	server := startWith(t, all)
	o := look{expect: []string{"secrets=aescbc:key2"}}.live(t, server)
	var err error
	o.Exceptions, err = ParseExceptions([]byte(approval("id", `"=EX"`)))
	if err != nil {
		t.Fatal(err)
	}
	dir, doc := write(t, o, Options{CSV: true})
	sound(t, dir)
	rows, err := csv.NewReader(bytes.NewReader(file(t, dir, CSVFile))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(rows)) != doc.Scan.Merkle.TreeSize+1 {
		t.Errorf("there are %d rows for %d records", len(rows), doc.Scan.Merkle.TreeSize)
	}
	keys := make(map[string]bool) // what an encryption key is called is up to whoever wrote the value
	for n, row := range rows {
		if len(row) != len(columns) {
			t.Errorf("row %d has %d cells", n, len(row))
		}
		for i, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(cell)[0]) {
				t.Errorf("%s of row %d is %q", columns[i], n, cell)
			}
		}
		keys[row[9]] = true
	}
	for _, name := range []string{"'=cmd|calc!A0", "'-1", "'@SUM(1)", "a,b", `a"b`} {
		if !keys[name] {
			t.Errorf("there is no key name %q: %q", name, sortedKeys(keys))
		}
	}
}

func TestInertCell(t *testing.T) {
	for text, want := range map[string]string{"": "", "a": "a", "=": "'=", "-1": "'-1", "a=b": "a=b", "\t=": "'\ufffd=", "\r": "'\ufffd", "\n": "'\ufffd", "a\x1b[31m\n": "a\ufffd[31m\ufffd", "＋": "'＋", "ß": "ß"} {
		if got := inertCell(text); got != want {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

// What cannot be written ends the writing, and nobody waits for ever.
func TestWritingFails(t *testing.T) {
	t.Parallel()
	all := values{}
	for i := range 3000 { // more than fits any buffer
		all[fmt.Sprintf("/registry/secrets/ns/%05d", i)] = aescbc("key2")
	}
	o := look{expect: []string{"secrets=aescbc:key2"}}.live(t, startWith(t, all))
	full := errors.New("the disk is full")
	for _, room := range []int{0, 1000, 30_000} {
		if _, err := o.Records.writeRecords(o.Report, o.Redactor, nil, &narrow{room, full}, nil); !errors.Is(err, full) {
			t.Errorf("lines with room for %d: %v", room, err)
		}
		if _, err := o.Records.writeRecords(o.Report, o.Redactor, nil, nil, &narrow{room, full}); !errors.Is(err, full) {
			t.Errorf("rows with room for %d: %v", room, err)
		}
		if _, err := o.Records.writeRecords(o.Report, o.Redactor, nil, &narrow{1 << 30, full}, &narrow{room, full}); !errors.Is(err, full) {
			t.Errorf("rows with room for %d, beside lines: %v", room, err)
		}
	}
}

type narrow struct {
	room int
	err  error
}

func (n *narrow) Write(p []byte) (int, error) {
	if n.room -= len(p); n.room < 0 {
		return 0, n.err
	}
	return len(p), nil
}

// Keys that are no text are records as well.
func TestKeysOfBytes(t *testing.T) {
	t.Parallel()
	server := startWith(t, values{"/registry/secrets/ns/\xfe": aescbc("key2"), "/registry/secrets/ns/\xff": aescbc("key2"), "/registry/secrets/ns/z": aescbc("key2"),
		"/registry/secrets/ns/\x00<&>\u2028": aescbc("key2"), "/registry/secrets/ns/\xc3\xa9": aescbc("key2")})
	for _, mode := range []Mode{Names, HMAC, Counts} {
		o := look{expect: []string{"secrets=aescbc:key2"}, mode: mode}.live(t, server)
		dir, doc := write(t, o, Options{})
		if v := check(t, dir, nil); v.Verdict != verify.Complete {
			t.Errorf("%s: it is %s: %q", mode, v.Verdict, v.problems())
		}
		if mode == Counts {
			continue
		}
		sample, err := Disclose(t.Context(), dir, Wanted{Indexes: []int64{0, 1, 2, 3, 4}}, o.Redactor)
		if err != nil {
			t.Fatal(err)
		}
		last := ""
		for _, d := range sample.Records {
			name := d.Key
			if d.Bytes != nil {
				name = string(d.Bytes)
			}
			if _, err := d.prove(doc.Scan.Merkle.TreeSize, doc.Scan.Merkle.Root); err != nil || name <= last {
				t.Errorf("%s: %q comes after %q: %v", mode, name, last, err)
			}
			last = name
		}
	}
}
