package evidence

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/verify"
)

// again looks at an etcd as evidence verify does.
func again(t *testing.T, server running, revision int64) *Look {
	t.Helper()
	o := look{revision: revision}.live(t, server)
	return &Look{Records: o.Records, Revision: o.Report.Source.Revision, ClusterID: o.Report.Source.ClusterID}
}

func compare(t *testing.T, dir string, r *Redactor, then *Look, why string, now *Look) *Verification {
	t.Helper()
	v := check(t, dir, nil)
	if err := v.Compare(t.Context(), dir, r, then, why, now); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCompare(t *testing.T) {
	t.Parallel()
	server := start(t)
	for _, mode := range []Mode{Names, HMAC} {
		o := rich(t, server, mode)
		at := o.Report.Source.Revision
		dir, _ := write(t, o, Options{})
		v := compare(t, dir, o.Redactor, again(t, server, at), "", again(t, server, 0))
		if v.Verdict != verify.Complete || !v.Changed.SameCluster || v.Changed.Then.differs() || v.Changed.Now.differs() || v.Changed.Now.Same != 5 || v.Changed.Then.Same != 5 {
			t.Errorf("%s: unchanged it is %s, %+v, %+v: %q", mode, v.Verdict, v.Changed.Then, v.Changed.Now, v.problems())
		}
		server.Put(t, "/registry/secrets/ns/a", aescbc("key2"))                       // rewritten as it was
		server.Put(t, "/registry/secrets/ns/b", plain("v1", "Secret", "ns", "b"))     // and in plaintext
		server.Put(t, "/registry/secrets/ns/new", plain("v1", "Secret", "ns", "n"))   // created
		server.Put(t, "/registry/configmaps/ns/e", plain("v1", "ConfigMap", "n", "")) // of which nothing was expected
		if _, err := server.Client.Delete(t.Context(), "/registry/secrets/other/c"); err != nil {
			t.Fatal(err)
		}
		v = compare(t, dir, o.Redactor, again(t, server, at), "", again(t, server, 0))
		now := v.Changed.Now
		if v.Verdict != verify.Complete || v.Changed.Then.differs() || now.Same != 2 || now.Rewritten != 2 || now.Created != 2 || now.Deleted != 1 || v.Changed.PlaintextNow != 2 {
			t.Errorf("%s: changed it is %s, %+v, %+v, %d in plaintext: %q", mode, v.Verdict, v.Changed.Then, now, v.Changed.PlaintextNow, v.problems())
		}
		want := "/registry/configmaps/ns/e /registry/secrets/ns/a /registry/secrets/ns/b /registry/secrets/ns/new /registry/secrets/other/c"
		if got := strings.Join(now.Named, " "); got != want {
			t.Errorf("%s: named are %s", mode, got)
		}
		// Deleted and created again is not the same object.
		v = compare(t, dir, o.Redactor, nil, "it was compacted", again(t, server, 0))
		if v.Verdict != verify.Indeterminate || v.Changed.Then != nil || v.Changed.ThenWhy != "it was compacted" || !strings.Contains(strings.Join(v.problems(), ""), "it was compacted") {
			t.Errorf("%s: compacted it is %s, %+v: %q", mode, v.Verdict, v.Changed, v.problems())
		}
	}
}

// Etcd tells what a bundle should have said, though every digest of it was made anew.
func TestCompareForged(t *testing.T) {
	t.Parallel()
	server := startWith(t, usual().and(values{"/registry/secrets/ns/k": kmsV2("vault", "kek-1"), "/registry/secrets/ns/p": plain("v1", "Secret", "ns", "p")}))
	for name, c := range map[string]struct {
		change  func(lines []string) []string
		differs bool
	}{
		"as it was":         {func(lines []string) []string { return lines }, false},
		"one removed":       {func(lines []string) []string { return lines[1:] }, true},
		"one added":         {func(lines []string) []string { return append(lines, strings.ReplaceAll(lines[0], "configmaps", "zzz")) }, true},
		"encrypted":         {replaced(`"p":"identity"`, `"p":"aescbc","pv":"v1","pn":"key2"`), true},
		"another key":       {replaced(`"pn":"key2"`, `"pn":"key3"`), true},
		"another key ID":    {replaced(hashOf("kek-1"), hashOf("kek-2")), true},
		"no key ID":         {replaced(`,"kid":"`+hashOf("kek-1")+`"`, ""), true},
		"another version":   {replaced(`"p":"kms","pv":"v2"`, `"p":"kms","pv":"v1"`), true},
		"an older revision": {replaced(`"mod":"`, `"mod":"0`), true},
		"created earlier":   {replaced(`"create":"`, `"create":"0`), true},
		"written more":      {replaced(`"ver":"1"`, `"ver":"2"`), true},
	} {
		o := look{expect: []string{"secrets=aescbc:key2"}}.live(t, server)
		dir, _ := write(t, o, Options{})
		rerecord(t, dir, c.change)
		v := compare(t, dir, nil, again(t, server, o.Report.Source.Revision), "", again(t, server, 0))
		last := v.Checks[len(v.Checks)-1]
		if v.Changed.Then.differs() != c.differs || (last.Verdict == verify.Incomplete) != c.differs {
			t.Errorf("%s: %s, %+v", name, last.Verdict, v.Changed.Then)
		}
	}
}

// replaced changes every line.
func replaced(old, with string) func(lines []string) []string {
	return func(lines []string) []string {
		for i := range lines {
			lines[i] = strings.ReplaceAll(lines[i], old, with)
		}
		return lines
	}
}

func TestCompareRefuses(t *testing.T) {
	server := start(t)
	o := rich(t, server, HMAC)
	dir, _ := write(t, o, Options{})
	now := again(t, server, 0)
	if err := check(t, dir, nil).Compare(t.Context(), dir, nil, nil, "", now); !errors.Is(err, ErrNoRedactionKey) {
		t.Errorf("without a redaction key: %v", err)
	}
	if err := check(t, dir, nil).Compare(t.Context(), dir, redactor(t, HMAC, bytes.Repeat([]byte("x"), 32)), nil, "", now); err == nil {
		t.Error("with another redaction key it is compared")
	}
	counts, _ := write(t, rich(t, server, Counts), Options{})
	if err := check(t, counts, nil).Compare(t.Context(), counts, o.Redactor, nil, "", now); !errors.Is(err, ErrNoRecords) {
		t.Errorf("with counts alone: %v", err)
	}
	other := *now
	other.ClusterID = "1"
	v := check(t, dir, nil)
	if err := v.Compare(t.Context(), dir, o.Redactor, nil, "", &other); err != nil || v.Verdict != verify.Incomplete || v.Changed.SameCluster {
		t.Errorf("another cluster: %v, %s, %+v", err, v.Verdict, v.Changed)
	}
	put(t, dir, ScanFile, []byte("{"))
	v = check(t, dir, nil)
	if err := v.Compare(t.Context(), dir, o.Redactor, nil, "", now); err != nil || v.Verdict != verify.Incomplete {
		t.Errorf("without scan.json: %v, %s", err, v.Verdict)
	}
}

// A file is read again as etcd is.
func TestCompareFile(t *testing.T) {
	server := startWith(t, usual())
	path := save(t, server)
	o := look{expect: []string{"secrets=aescbc:key2"}}.file(t, path)
	dir, _ := write(t, o, Options{})
	second := look{}.file(t, path)
	same := &Look{Records: second.Records, Revision: second.Report.Source.Revision}
	if v := compare(t, dir, nil, same, "", same); v.Verdict != verify.Complete || v.Changed.Then.differs() {
		t.Errorf("it is %s, %+v", v.Verdict, v.Changed.Then)
	}
}
