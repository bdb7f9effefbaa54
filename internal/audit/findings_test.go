package audit_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/verify"
)

func findings(t *testing.T, report *audit.Report) []audit.Finding {
	t.Helper()
	var all []audit.Finding
	for f, err := range report.Findings() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	if int64(len(all)) != report.FindingCount {
		t.Errorf("%d findings, the report counts %d", len(all), report.FindingCount)
	}
	return all
}

// keysOf are "CODE KEY", sorted. A finding that comes twice stands there twice.
func keysOf(all []audit.Finding) []string {
	var keys []string
	for _, f := range all {
		keys = append(keys, fmt.Sprintf("%s %s", f.Code, f.Key))
	}
	slices.Sort(keys)
	return keys
}

func expectFindings(t *testing.T, report *audit.Report, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := keysOf(findings(t, report)); !slices.Equal(got, want) {
		t.Errorf("findings\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestFindingsNameEveryOffendingObjectOnce(t *testing.T) {
	values := variety()
	server := startWith(t, values)
	store := open(t, server)
	garbage := []string{
		"WrongPlace /registry/secrets/ns/swapped", "Empty /registry/secrets/ns/empty", "Undecodable /registry/secrets/ns/garbage",
		"Undecodable /registry/secrets/ns/cut", "UnknownTransformer /registry/secrets/ns/odd",
	}
	for _, c := range []struct {
		expect  string
		verdict verify.Verdict
		more    []string
	}{
		{"", verify.Indeterminate, nil},
		{"configmaps=identity", verify.Indeterminate, []string{"UnknownKey /registry/configmaps/short"}},
		{"secrets=aescbc:key2", verify.Incomplete, []string{
			"StaleKey /registry/secrets/ns/key1", "Plaintext /registry/secrets/ns/plain", "Plaintext /registry/secrets/ns/swapped",
			"UnknownKey /registry/secrets/short",
		}},
		{"*=encrypted", verify.Incomplete, []string{
			"Plaintext /registry/secrets/ns/plain", "Plaintext /registry/secrets/ns/swapped", "Plaintext /registry/configmaps/ns/a",
			"Plaintext /registry/deployments/ns/a", "Plaintext /registry/deployments/ns/b", "Plaintext /registry/minions/node",
			"Plaintext /registry/stable.example.com/selfierequests/ns/a",
			"UnknownKey /registry/secrets/short", "UnknownKey /registry/configmaps/short", "UnknownKey /registry/novelties/ns/a",
		}},
	} {
		t.Run(c.expect, func(t *testing.T) {
			req := request(t, store)
			if c.expect != "" {
				req = request(t, store, c.expect)
			}
			report := run(t, req)
			if report.Verdict != c.verdict {
				t.Errorf("verdict %v, want %v", report.Verdict, c.verdict)
			}
			expectFindings(t, report, slices.Concat(garbage, c.more)...)
			expectFindings(t, report, slices.Concat(garbage, c.more)...) // they can be read again
		})
	}
}

func TestFindingNamesItsObject(t *testing.T) {
	server := startWith(t, map[string]string{"/registry/secrets/ns/other": aescbc("key2")})
	revision := server.Put(t, "/registry/deployments/default/web", aescbc("key1"))
	got := findings(t, run(t, request(t, open(t, server), "deployments.apps=aescbc:key2")))
	if len(got) != 1 {
		t.Fatalf("%d findings", len(got))
	}
	got[0].Message = ""
	want := audit.Finding{
		Code: "StaleKey", Severity: "error", Key: "/registry/deployments/default/web", Group: "apps", Resource: "deployments",
		Namespace: "default", Name: "web", ModRevision: revision, Expected: "aescbc:key2", Found: "aescbc:key1",
	}
	if got[0] != want {
		t.Errorf("%+v\nwant %+v", got[0], want)
	}
}

// A healthy store with one thing broken has exactly one finding.
func TestOneDamageIsOneFinding(t *testing.T) {
	healthy := make(map[string]string)
	for i := range 50 {
		healthy[secretKey(i)] = aescbc("key2")
	}
	server := startWith(t, healthy)
	store := open(t, server)
	victim := secretKey(23)
	for _, c := range []struct {
		name, value string
		code        verify.Code
		verdict     verify.Verdict
	}{
		{"stale", aescbc("key1"), verify.StaleKey, verify.Incomplete},
		{"plaintext", plain("v1", "Secret", "ns", "000023"), verify.Plaintext, verify.Incomplete},
		{"cut off", aescbc("key2")[:60], verify.Undecodable, verify.Indeterminate},
		{"emptied", "", verify.Empty, verify.Indeterminate},
		{"overwritten with zeros", strings.Repeat("\x00", 71), verify.Undecodable, verify.Indeterminate},
		{"under a transformer that is not known", "k8s:enc:aescbc:v9:key2:x", verify.UnknownTransformer, verify.Indeterminate},
	} {
		t.Run(c.name, func(t *testing.T) {
			revision := server.Put(t, victim, c.value)
			report := run(t, request(t, store, "secrets=aescbc:key2"))
			got := findings(t, report)
			if len(got) != 1 || got[0].Code != c.code || got[0].Key != victim || got[0].ModRevision != revision || report.Verdict != c.verdict {
				t.Errorf("%v, %+v", report.Verdict, got)
			}
		})
	}
	server.Put(t, victim, aescbc("key2"))
	if report := run(t, request(t, store, "secrets=aescbc:key2")); report.Verdict != verify.Complete || report.FindingCount != 0 {
		t.Errorf("mended: %v, %d findings", report.Verdict, report.FindingCount)
	}
}

// listKeys is a sink that keeps the names of the records.
type listKeys struct {
	begun int
	keys  map[string]int
}

func (l *listKeys) Begin() { l.begun++; l.keys = make(map[string]int) }
func (l *listKeys) Take(r *etcdscan.Record, _ *etcdscan.Entry) error {
	l.keys[r.Key]++
	return nil
}

func TestTheOtherSinkGetsEveryRecord(t *testing.T) {
	values := variety()
	sink := new(listKeys)
	req := request(t, open(t, startWith(t, values)))
	req.Also = sink
	run(t, req)
	if sink.begun != 1 || len(sink.keys) != len(values) {
		t.Errorf("begun %d times, %d keys of %d", sink.begun, len(sink.keys), len(values))
	}
	for k := range maps.Keys(values) {
		if sink.keys[k] != 1 {
			t.Errorf("%s came %d times", k, sink.keys[k])
		}
	}
}

// Where a key name ends is known once everything was read, and findings follow what is known then.
func TestFindingsFollowTheResolvedKeyName(t *testing.T) {
	noise := strings.Repeat("\xff\x00\xfe\x80", 15)
	values := map[string]string{"/registry/secrets/ns/odd": "k8s:enc:aesgcm:v1:key1:zz:" + noise}
	for i := range 100 {
		values[secretKey(i)] = "k8s:enc:aesgcm:v1:key1:" + noise
	}
	store := open(t, startWith(t, values))
	report := run(t, request(t, store, "secrets=aesgcm:key1"))
	if report.Verdict != verify.Complete || len(report.Groups) != 2 {
		t.Errorf("%v of %d groups", report.Verdict, len(report.Groups))
	}
	expectFindings(t, report) // that a name was chosen is a reason, and no finding
	if len(report.Reasons) != 1 || report.Reasons[0].Code != verify.AmbiguousKey || report.Reasons[0].Severity != verify.Info || report.Reasons[0].Objects != 1 {
		t.Errorf("reasons %+v", report.Reasons)
	}
	var stale []string
	for k := range values {
		stale = append(stale, "StaleKey "+k)
	}
	expectFindings(t, run(t, request(t, store, "secrets=aesgcm:key1:zz")), stale...)
}
