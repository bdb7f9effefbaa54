package evidence

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/verify"
)

// alone checks a sample with nothing but the statement.
func alone(t *testing.T, sample []byte, statement *Statement) *Verification {
	t.Helper()
	v := new(Verification)
	v.CheckSample(sample, statement)
	return v
}

func TestDisclose(t *testing.T) {
	t.Parallel()
	server := start(t)
	for _, mode := range []Mode{Names, HMAC} {
		o := rich(t, server, mode)
		dir, _ := write(t, o, Options{})
		statement, err := ReadStatement(dir)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Disclose(t.Context(), dir, Wanted{Indexes: []int64{3, 0}, Keys: []string{"/registry/secrets/ns/b", "/registry/secrets/ns/p"}}, o.Redactor)
		if err != nil {
			t.Fatal(err)
		}
		text, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		v := alone(t, text, statement)
		if v.Verdict != verify.Complete {
			t.Fatalf("%s: it is %s: %q", mode, v.Verdict, v.problems())
		}
		var got []string
		for _, r := range v.Sample.Records {
			got = append(got, r.Key+" "+string(r.Record.State))
		}
		want := []string{"/registry/configmaps/ns/d notJudged", "/registry/secrets/ns/b ok", "/registry/secrets/ns/p plaintext"}
		if !slices.Equal(got, want) {
			t.Errorf("%s: handed out were %q, and asked for %q", mode, got, want)
		}
		if mode == HMAC && bytes.Contains(text, []byte("/registry/secrets/ns/a")) {
			t.Error("a name is handed out that nobody asked for")
		}
		// As it stands, without the spaces of the document.
		if rest := strings.ReplaceAll(string(text), " ", ""); !strings.Contains(rest, `"record":{`) {
			t.Errorf("%s", text)
		}
	}
}

func TestDiscloseRefuses(t *testing.T) {
	server := start(t)
	o := rich(t, server, HMAC)
	dir, _ := write(t, o, Options{})
	inClear, _ := write(t, rich(t, server, Names), Options{})
	counts, _ := write(t, rich(t, server, Counts), Options{})
	other := redactor(t, HMAC, bytes.Repeat([]byte("x"), 32))
	one := Wanted{Indexes: []int64{0}}
	for name, c := range map[string]struct {
		dir    string
		wanted Wanted
		key    *Redactor
		is     error
	}{
		"no such number":     {dir, Wanted{Indexes: []int64{5}}, o.Redactor, nil},
		"a negative number":  {dir, Wanted{Indexes: []int64{-1}}, o.Redactor, nil},
		"no such key":        {dir, Wanted{Keys: []string{"/registry/secrets/ns/none"}}, o.Redactor, nil},
		"no such key, names": {inClear, Wanted{Keys: []string{"/registry/secrets/ns/none"}}, nil, nil},
		"counts":             {counts, one, o.Redactor, ErrNoRecords},
		"no redaction key":   {dir, one, nil, ErrNoRedactionKey},
		"another key":        {dir, one, other, nil},
		"no bundle":          {t.TempDir(), one, o.Redactor, nil},
	} {
		s, err := Disclose(t.Context(), c.dir, c.wanted, c.key)
		if err == nil || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	forged := clone(t, inClear)
	rerecord(t, forged, func(lines []string) []string {
		lines[4] = strings.Replace(lines[4], "key2", "key3", 1)
		return lines
	})
	if s, err := Disclose(t.Context(), forged, one, nil); err == nil {
		t.Errorf("of forged records is handed out %+v", s)
	}
}

// A sample in which anything is changed proves nothing.
func TestForgedSample(t *testing.T) {
	t.Parallel()
	server := start(t)
	for _, mode := range []Mode{Names, HMAC} {
		o := rich(t, server, mode)
		dir, _ := write(t, o, Options{})
		statement, err := ReadStatement(dir)
		if err != nil {
			t.Fatal(err)
		}
		disclosed := func() *Sample {
			s, err := Disclose(t.Context(), dir, Wanted{Indexes: []int64{1, 2}}, o.Redactor)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		for name, change := range map[string]func(s *Sample, d *Disclosed){
			"another index":       func(_ *Sample, d *Disclosed) { d.Index++ },
			"a negative index":    func(_ *Sample, d *Disclosed) { d.Index = -1 },
			"an index beyond":     func(_ *Sample, d *Disclosed) { d.Index = 5 },
			"another name":        func(_ *Sample, d *Disclosed) { d.Key = "/registry/secrets/ns/z" },
			"no name":             func(_ *Sample, d *Disclosed) { d.Key = "" },
			"another salt":        func(_ *Sample, d *Disclosed) { d.Salt = strings.Repeat("00", saltLength) },
			"a longer salt":       func(_ *Sample, d *Disclosed) { d.Salt += hex.EncodeToString(d.Record[:1]); d.Record = d.Record[1:] },
			"no salt":             func(_ *Sample, d *Disclosed) { d.Salt = "" },
			"a salt that is none": func(_ *Sample, d *Disclosed) { d.Salt = "x" },
			"another state": func(_ *Sample, d *Disclosed) {
				d.Record = bytes.Replace(d.Record, []byte(`"st":"`), []byte(`"st":"x`), 1)
			},
			"another record":       func(s *Sample, d *Disclosed) { d.Record = s.Records[1].Record },
			"the whole other one":  func(s *Sample, d *Disclosed) { i := d.Index; *d = s.Records[1]; d.Index = i },
			"a field more":         func(_ *Sample, d *Disclosed) { d.Record = bytes.Replace(d.Record, []byte("{"), []byte(`{"x":1,`), 1) },
			"no record":            func(_ *Sample, d *Disclosed) { d.Record = json.RawMessage("null") },
			"a proof less":         func(_ *Sample, d *Disclosed) { d.Proof = d.Proof[1:] },
			"a proof more":         func(_ *Sample, d *Disclosed) { d.Proof = append(d.Proof, d.Proof[0]) },
			"no proof":             func(_ *Sample, d *Disclosed) { d.Proof = []string{} },
			"a proof that is none": func(_ *Sample, d *Disclosed) { d.Proof[0] = "ff" },
			"another root":         func(s *Sample, _ *Disclosed) { s.Root = s.Root[1:] + "0" },
			"another size":         func(s *Sample, _ *Disclosed) { s.TreeSize++ },
			"another opening": func(_ *Sample, d *Disclosed) {
				if mode == Names {
					d.Key += "x"
				}
				d.Opening = strings.Repeat("00", 32)
			},
			"the opening of another": func(s *Sample, d *Disclosed) {
				if mode == Names {
					d.Key += "x"
				}
				d.Opening = s.Records[1].Opening
			},
			"the name of another": func(s *Sample, d *Disclosed) { d.Key, d.Opening = s.Records[1].Key, s.Records[1].Opening },
		} {
			s := disclosed()
			change(s, &s.Records[0])
			text, err := s.Encode()
			if err != nil { // the record is no JSON any more
				continue
			}
			v := alone(t, text, statement)
			if v.Verdict != verify.Incomplete {
				t.Errorf("%s, %s: it is %s", mode, name, v.Verdict)
			}
			for _, r := range v.Sample.Records {
				if r.Index == disclosed().Records[0].Index {
					t.Errorf("%s, %s: it is proven: %+v", mode, name, r)
				}
			}
		}
		s := disclosed()
		s.Records = []Disclosed{}
		text, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if v := alone(t, text, statement); v.Verdict != verify.Indeterminate {
			t.Errorf("an empty sample is %s", v.Verdict)
		}
		for _, text := range []string{"", "{", "[]", `{"records":null,"x":1}`} {
			if v := alone(t, []byte(text), statement); v.Verdict != verify.Incomplete {
				t.Errorf("%q is %s", text, v.Verdict)
			}
		}
	}
}
