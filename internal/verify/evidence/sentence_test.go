package evidence

import (
	"strings"
	"testing"
)

// What has expired by now has expired, whatever time a report is dated with.
func TestNoClockRevivesAnException(t *testing.T) {
	t.Parallel()
	server := start(t)
	fill(t, server, usual().and(values{"/registry/secrets/ns/p": plain("v1", "Secret", "ns", "p")}))
	for _, c := range []struct {
		days int // from the time of the report to today
		want Result
	}{{0, Pass}, {60, Fail}} {
		o := look{expect: []string{"secrets=aescbc:key2"}}.live(t, server)
		o.Reconciliation = reconciled(t, o)
		o.Today = o.Report.StartedAt.AddDate(0, 0, c.days)
		var err error
		o.Exceptions, err = ParseExceptions([]byte("exceptions: [{id: X, selector: {resource: secrets, name: p}, expires: " +
			o.Report.StartedAt.AddDate(0, 0, 30).Format("2006-01-02") + ", reason: so, approver: she}]"))
		if err != nil {
			t.Fatal(err)
		}
		dir, doc := write(t, o, Options{})
		e1 := doc.Scan.Claims[0]
		if e1.Result != c.want {
			t.Errorf("%d days later it is %s: %q", c.days, e1.Result, e1.Why)
		}
		if says := strings.Contains(e1.Statement, "but for 1 that approved exceptions cover (X)"); says != (c.want == Pass) {
			t.Errorf("%d days later it says %q", c.days, e1.Statement)
		}
		sound(t, dir)
	}
}

// A sentence about everything names what is left out of it.
func TestASentenceNamesWhatItLeavesOut(t *testing.T) {
	t.Parallel()
	server := start(t)
	fill(t, server, values{"/registry/secrets/ns/a": aescbc("key2"), "/registry/configmaps/ns/d": plain("v1", "ConfigMap", "ns", "d")})
	o := look{expect: []string{"*=aescbc:key2", "configmaps=identity"}}.live(t, server)
	o.Reconciliation = reconciled(t, o)
	dir, doc := write(t, o, Options{})
	for _, c := range doc.Scan.Claims[:2] {
		if c.Result != Pass || !strings.Contains(c.Statement, "but for configmaps, which are expected in plaintext") {
			t.Errorf("%s is %s: %q %q", c.ID, c.Result, c.Statement, c.Why)
		}
	}
	sound(t, dir)
}
