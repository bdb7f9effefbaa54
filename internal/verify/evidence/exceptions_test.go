package evidence

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/verify"
)

// approval is a file with one exception, in which some fields are replaced.
func approval(replaced ...string) string {
	fields := map[string]string{"id": "EX-1", "reason": "so", "approver": "she", "expires": "2027-03-31", "selector": "{resource: secrets}"}
	for i := 0; i < len(replaced); i += 2 {
		fields[replaced[i]] = replaced[i+1]
	}
	text := "exceptions:\n- "
	for _, name := range sortedKeys(fields) {
		text += fmt.Sprintf("%s: %s\n  ", name, fields[name])
	}
	return text
}

func TestParseExceptions(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                    "",
		"no entry":                   "exceptions: []",
		"no id":                      approval("id", `""`),
		"no reason":                  approval("reason", `""`),
		"no approver":                approval("approver", `""`),
		"no expiry":                  approval("expires", `""`),
		"no day":                     approval("expires", "2027-02-30"),
		"a time without a zone":      approval("expires", "'2027-03-31T10:00:00'"),
		"never":                      approval("expires", "never"),
		"no day of approval":         approval("approved", "yesterday"),
		"no resource":                approval("selector", "{name: x}"),
		"everything":                 approval("selector", "{resource: '*'}"),
		"everything of a group":      approval("selector", "{resource: '*.apps'}"),
		"no resource that can be":    approval("selector", "{resource: 'ns/secrets'}"),
		"no pattern":                 approval("selector", "{resource: secrets, name: 'a[' }"),
		"no pattern of a namespace":  approval("selector", "{resource: secrets, namespace: '[' }"),
		"no code":                    approval("selector", "{resource: secrets, codes: [Plain]}"),
		"what was not understood":    approval("selector", "{resource: secrets, codes: [Plaintext, UnknownTransformer]}"),
		"what cannot be opened":      approval("selector", "{resource: secrets, codes: [CannotOpen]}"),
		"what was not read":          approval("selector", "{resource: secrets, codes: [NotRead]}"),
		"a field that there is none": approval("forever", "true"),
		"the id twice":               approval() + strings.TrimPrefix(approval(), "exceptions:"),
		"no YAML":                    "\x00",
	} {
		if e, err := ParseExceptions([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
	for text, want := range map[string]time.Time{
		"2027-03-31":                  time.Date(2027, 3, 31, 23, 59, 59, 0, time.UTC),
		"'2027-03-31T10:00:00+02:00'": time.Date(2027, 3, 31, 8, 0, 0, 0, time.UTC),
	} {
		e, err := ParseExceptions([]byte(approval("expires", text, "approved", "2026-01-02", "ticket", "T-1")))
		if err != nil || !e.Exceptions[0].Expires.Equal(want) || e.Exceptions[0].Expires.Location() != time.UTC {
			t.Errorf("%s: %+v, %v", text, e, err)
			continue
		}
		if x := e.Exceptions[0]; !x.Approved.Equal(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)) || x.Ticket != "T-1" || len(x.Selector.Codes) != 3 {
			t.Errorf("%+v", x)
		}
	}
	if e, err := ParseExceptions([]byte(approval("selector", "{resource: deployments}"))); err != nil || e.Exceptions[0].Selector.Resource != "deployments.apps" {
		t.Errorf("%+v, %v", e, err)
	}
	// JSON is YAML.
	if _, err := ParseExceptions([]byte(`{"exceptions":[{"id":"1","reason":"a","approver":"b","expires":"2027-01-01","selector":{"resource":"secrets"}}]}`)); err != nil {
		t.Error(err)
	}
}

func TestExceptionsMatch(t *testing.T) {
	object := func(resource, namespace, name string) key.Object {
		return key.Object{Resource: resource, Namespace: namespace, Name: name}
	}
	const p, s, u, v = verify.Plaintext, verify.StaleKey, verify.UnknownTransformer, verify.StaleVersion
	for _, c := range []struct {
		selector string
		object   key.Object
		codes    []verify.Code
		want     bool
	}{
		{"{resource: secrets}", object("secrets", "ns", "a"), []verify.Code{p}, true},
		{"{resource: secrets}", object("secrets", "ns", "a"), nil, false},
		{"{resource: secrets}", object("configmaps", "ns", "a"), []verify.Code{p}, false},
		{"{resource: secrets}", object("", "ns", "a"), []verify.Code{p}, false},
		{"{resource: secrets.example.com}", object("secrets", "ns", "a"), []verify.Code{p}, false},
		{"{resource: secrets}", object("secrets", "ns", "a"), []verify.Code{p, v}, true},
		{"{resource: secrets}", object("secrets", "ns", "a"), []verify.Code{p, u}, false},
		{"{resource: secrets, codes: [StaleKey]}", object("secrets", "ns", "a"), []verify.Code{p}, false},
		{"{resource: secrets, codes: [StaleKey]}", object("secrets", "ns", "a"), []verify.Code{s, p}, false},
		{"{resource: secrets, codes: [StaleKey, Plaintext]}", object("secrets", "ns", "a"), []verify.Code{s, p}, true},
		{"{resource: secrets, codes: [EncryptedUnexpectedly]}", object("secrets", "ns", "a"), []verify.Code{verify.EncryptedUnexpectedly}, true},
		{"{resource: secrets}", object("secrets", "ns", "a"), []verify.Code{verify.EncryptedUnexpectedly}, false},
		{"{resource: secrets, name: a}", object("secrets", "ns", "a"), []verify.Code{p}, true},
		{"{resource: secrets, name: a}", object("secrets", "ns", "ab"), []verify.Code{p}, false},
		{"{resource: secrets, name: 'a*'}", object("secrets", "ns", "ab"), []verify.Code{p}, true},
		{"{resource: secrets, name: 'a?'}", object("secrets", "ns", "ab"), []verify.Code{p}, true},
		{"{resource: secrets, name: 'a?'}", object("secrets", "ns", "a"), []verify.Code{p}, false},
		{"{resource: secrets, name: A}", object("secrets", "ns", "a"), []verify.Code{p}, false},
		{"{resource: secrets, namespace: 'kube-*', name: '*'}", object("secrets", "kube-system", "a"), []verify.Code{p}, true},
		{"{resource: secrets, namespace: 'kube-*'}", object("secrets", "kub", "a"), []verify.Code{p}, false},
		{"{resource: secrets, namespace: '?*'}", object("secrets", "", "a"), []verify.Code{p}, false},
	} {
		e, err := ParseExceptions([]byte(approval("selector", c.selector)))
		if err != nil {
			t.Fatal(err)
		}
		e.begin(noon)
		id, expired := e.match(c.object, c.codes)
		if (id != "") != c.want || expired {
			t.Errorf("%s and %+v with %v: %q, expired %t", c.selector, c.object, c.codes, id, expired)
		}
		if (e.Exceptions[0].Objects == 1) != c.want {
			t.Errorf("%s: it counts %d", c.selector, e.Exceptions[0].Objects)
		}
	}
	var none *Exceptions
	if id, _ := none.match(object("secrets", "ns", "a"), []verify.Code{p}); id != "" || len(none.used()) != 0 {
		t.Error("without exceptions there is one")
	}
}

// An exception ends with its last second.
func TestExceptionsExpire(t *testing.T) {
	for at, want := range map[string]bool{
		"2027-03-30T00:00:00Z": false, "2027-03-31T23:59:58Z": false, "2027-03-31T23:59:59Z": true, "2027-04-01T00:00:00Z": true,
		"2027-03-31T23:59:58+12:00": false, "2027-04-01T01:00:00+02:00": false,
	} {
		e, err := ParseExceptions([]byte(approval()))
		if err != nil {
			t.Fatal(err)
		}
		moment, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if e.begin(moment); e.Exceptions[0].Expired != want {
			t.Errorf("at %s it has expired: %t", at, e.Exceptions[0].Expired)
		}
	}
}

// Each object is counted once, for the first exception that covers it, and exceptions.json tells how many.
func TestExceptionsCount(t *testing.T) {
	t.Parallel()
	server := startWith(t, usual().and(values{"/registry/secrets/ns/p1": plain("v1", "Secret", "ns", "p1"), "/registry/secrets/ns/p2": plain("v1", "Secret", "ns", "p2"),
		"/registry/secrets/ns/s": aescbc("key1")}))
	o := look{expect: []string{"secrets=aescbc:key2"}}.live(t, server)
	var err error
	o.Exceptions, err = ParseExceptions([]byte(approval("id", "OLD", "expires", "2026-01-01") + strings.TrimPrefix(approval("id", "P1", "selector", "{resource: secrets, name: p1}"), "exceptions:") +
		strings.TrimPrefix(approval("id", "P", "selector", "{resource: secrets, codes: [Plaintext]}"), "exceptions:") + strings.TrimPrefix(approval("id", "NONE", "selector", "{resource: events}"), "exceptions:")))
	if err != nil {
		t.Fatal(err)
	}
	want := "OLD true 1, P1 false 1, P false 1, NONE false 0"
	for range 2 { // to write twice is not to count twice
		dir, _ := write(t, o, Options{})
		sound(t, dir)
		var written Exceptions
		if err := json.Unmarshal(file(t, dir, ExceptionsFile), &written); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range written.Exceptions {
			got = append(got, fmt.Sprint(x.ID, " ", x.Expired, " ", x.Objects))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("the counts are %v, and should be %s", got, want)
		}
	}
}
