package verify_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/verify"
)

// judged is a store, what is expected of it, and what must come of it.
type judged struct {
	name     string
	store    store
	expect   []string // "secrets=aescbc:key2"; one with a leading "version " is an --expect-version
	verdict  verify.Verdict
	reasons  []string            // "CODE severity RESOURCE objects"
	emptyAPI []string            // resources that the API confirms to have no objects
	declared verify.Expectations // what the API declares
}

func check(t *testing.T, cases []judged) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			res := scan(t, c.store)
			if res.Shortfall != nil {
				t.Fatal(res.Shortfall)
			}
			evidence := verify.Evidence{Entries: res.Tally.Entries()}
			if c.emptyAPI != nil {
				evidence.ConfirmedEmpty = func(r verify.Resource) bool { return slices.Contains(c.emptyAPI, r.String()) }
			}
			expectVerdict(t, parse(t, c.expect).With(c.declared), evidence, c.verdict, c.reasons)
		})
	}
}

func expectVerdict(t *testing.T, es verify.Expectations, evidence verify.Evidence, want verify.Verdict, wantReasons []string) {
	t.Helper()
	verdict, reasons := es.Check(evidence)
	if verdict != want {
		t.Errorf("verdict %v, want %v", verdict, want)
	}
	got := describeReasons(reasons)
	slices.Sort(wantReasons)
	if !slices.Equal(got, wantReasons) {
		t.Errorf("reasons\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(wantReasons, "\n  "))
	}
}

func describeReasons(reasons []verify.Reason) []string {
	var got []string
	for _, r := range reasons {
		got = append(got, fmt.Sprintf("%s %s %s %d", r.Code, r.Severity, r.Resource, r.Objects))
	}
	slices.Sort(got)
	return got
}

func parse(t *testing.T, expect []string) verify.Expectations {
	t.Helper()
	var values, versions []string
	for _, e := range expect {
		if version, ok := strings.CutPrefix(e, "version "); ok {
			versions = append(versions, version)
		} else {
			values = append(values, e)
		}
	}
	es, err := verify.ParseExpectations(values, versions)
	if err != nil {
		t.Fatal(err)
	}
	return es
}

func TestKeyVerdicts(t *testing.T) {
	check(t, []judged{
		{
			name: "one stale among many", store: secrets(aescbc("key2", 0), aescbc("key1", 0), aescbc("key2", 0)),
			expect: []string{"secrets=aescbc:key2"}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets 1"},
		},
		{
			name: "the expected name is the beginning of the stored one", store: secrets(aescbc("key11", 0)),
			expect: []string{"secrets=aescbc:key1"}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets 1"},
		},
		{
			name: "the same name under another provider", store: secrets(secretbox("key2")),
			expect: []string{"secrets=aescbc:key2"}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets 1"},
		},
		{
			name: "plaintext among ciphertext", store: secrets(aescbc("key2", 0), plainSecret("b")),
			expect: []string{"secrets=aescbc:key2"}, verdict: verify.Incomplete, reasons: []string{"Plaintext error secrets 1"},
		},
		{
			name: "any cipher is expected and there is plaintext", store: secrets(aescbc("key2", 0), plainSecret("b")),
			expect: []string{"secrets=encrypted"}, verdict: verify.Incomplete, reasons: []string{"Plaintext error secrets 1"},
		},
		{
			name: "plaintext that quotes the expected prefix", store: secrets(" k8s:enc:aescbc:v1:key2:" + noise(48, 0)),
			expect: []string{"secrets=aescbc:key2"}, verdict: verify.Indeterminate, reasons: []string{"Undecodable warning secrets 1"},
		},
		{
			name: "plaintext is expected and there is ciphertext", store: secrets(plainSecret("a"), aescbc("key1", 0)),
			expect: []string{"secrets=identity"}, verdict: verify.Incomplete, reasons: []string{"EncryptedUnexpectedly error secrets 1"},
		},
		{
			name: "all under the key", store: secrets(aescbc("key2", 0), aescbc("key2", 1)),
			expect: []string{"secrets=aescbc:key2"}, verdict: verify.Complete,
		},
		{
			name: "all under the provider", store: secrets(aescbc("key1", 0), aescbc("key2", 0)),
			expect: []string{"secrets=aescbc"}, verdict: verify.Complete,
		},
		{
			name: "all encrypted somehow", store: secrets(aescbc("key1", 0), secretbox("k"), kmsV1("old"), kmsV2("vault", "kek")),
			expect: []string{"secrets=encrypted"}, verdict: verify.Complete,
		},
		{
			name: "all in plaintext", store: secrets(plainSecret("a")),
			expect: []string{"secrets=identity"}, verdict: verify.Complete,
		},
		{
			name: "nothing is expected", store: secrets(plainSecret("a"), aescbc("key1", 0)),
			verdict: verify.NotJudged,
		},
	})
}

func TestUnreadIsNeverClean(t *testing.T) {
	whole := secrets(aescbc("key2", 0), aescbc("key2", 1))
	short := scan(t, without{whole, "/registry/secrets/ns/b"})
	if short.Shortfall == nil {
		t.Fatal("a lost key is no shortfall")
	}
	for _, c := range []struct {
		name    string
		expect  []string
		verdict verify.Verdict
		reasons []string
	}{
		{"all that was read is as expected", []string{"secrets=aescbc:key2"}, verify.Indeterminate, []string{"NotRead warning  0"}},
		{"nothing is expected", nil, verify.Indeterminate, []string{"NotRead warning  0"}},
		{"what was read is stale", []string{"secrets=aescbc:key3"}, verify.Incomplete, []string{"NotRead warning  0", "StaleKey error secrets 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			evidence := verify.Evidence{Entries: short.Tally.Entries(), Shortfall: short.Shortfall}
			expectVerdict(t, parse(t, c.expect), evidence, c.verdict, c.reasons)
		})
	}
	t.Run("nothing at all was read, and the API says that there is nothing", func(t *testing.T) {
		evidence := verify.Evidence{Shortfall: errors.New("lost"), ConfirmedEmpty: func(verify.Resource) bool { return true }}
		expectVerdict(t, parse(t, []string{"secrets=aescbc:key2"}), evidence, verify.Indeterminate, []string{"NotRead warning  0"})
	})
}

func TestNothingThereIsNotComplete(t *testing.T) {
	check(t, []judged{
		{
			name: "no key of the resource", store: store{"/registry/configmaps/ns/a": aescbc("key2", 0)},
			expect: []string{"secrets=aescbc:key2"}, verdict: verify.Indeterminate, reasons: []string{"NothingFound warning secrets 0"},
		},
		{
			name: "no key at all", store: store{},
			expect: []string{"secrets=identity"}, verdict: verify.Indeterminate, reasons: []string{"NothingFound warning secrets 0"},
		},
		{
			name: "a version alone is expected of nothing", store: store{},
			expect: []string{"version secrets=v1"}, verdict: verify.Indeterminate, reasons: []string{"NothingFound warning secrets 0"},
		},
		{
			name: "everything is expected and only what no API serves is there", store: store{"/registry/masterleases/10.0.0.1": "x"},
			expect: []string{"*=encrypted"}, verdict: verify.Indeterminate, reasons: []string{"NothingFound warning * 0"},
		},
		{
			name: "nobody can confirm that everything is empty", store: store{"/registry/masterleases/10.0.0.1": "x"},
			expect: []string{"*=encrypted"}, emptyAPI: []string{"*"},
			verdict: verify.Indeterminate, reasons: []string{"NothingFound warning * 0"},
		},
		{
			name: "one of two is confirmed", store: store{"/registry/pods/ns/a": plain("v1", "Pod", "ns", "a")},
			expect: []string{"secrets=aescbc:key2", "configmaps=aescbc:key2"}, emptyAPI: []string{"secrets"},
			verdict: verify.Indeterminate, reasons: []string{"NothingFound warning configmaps 0"},
		},
		{
			name: "the same name in another group", store: store{"/registry/example.com/secrets/ns/a": plain("example.com/v1", "Secret", "ns", "a")},
			expect: []string{"secrets=identity"}, verdict: verify.Indeterminate, reasons: []string{"NothingFound warning secrets 0"},
		},
		{
			name: "confirmed by the API", store: store{},
			expect: []string{"secrets=aescbc:key2"}, emptyAPI: []string{"secrets"}, verdict: verify.Complete,
		},
	})
}
