package verify_test

import (
	"encoding/json"
	"testing"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
)

func TestIncompleteOutranksIndeterminate(t *testing.T) {
	order := []verify.Verdict{verify.NotJudged, verify.Complete, verify.Indeterminate, verify.Incomplete}
	for i, better := range order {
		for _, worse := range order[i:] {
			if better.Worse(worse) != worse || worse.Worse(better) != worse {
				t.Errorf("%v and %v make %v and %v", better, worse, better.Worse(worse), worse.Worse(better))
			}
		}
	}
}

func TestVerdictInJSON(t *testing.T) {
	for v, want := range map[verify.Verdict]string{
		verify.NotJudged: "null", verify.Complete: `"Complete"`, verify.Incomplete: `"Incomplete"`, verify.Indeterminate: `"Indeterminate"`,
	} {
		if got, err := json.Marshal(v); err != nil || string(got) != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
		back := verify.Verdict(17)
		if err := json.Unmarshal([]byte(want), &back); want != "null" && (err != nil || back != v) {
			t.Errorf("%s is read as %v, %v", want, back, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a verdict that does not exist is written as something")
		}
	}()
	_ = verify.Verdict(17).String()
}

// What is found is named in the form in which it is expected, so that one can be pasted as the other.
func TestDescribeIsAnExpectation(t *testing.T) {
	for _, e := range []atrest.Encryption{
		{Provider: atrest.Identity},
		{Provider: atrest.AESCBC, Version: atrest.V1, Key: k3sNew, KeyInferred: true},
		{Provider: atrest.KMS, Version: atrest.V1, Key: "vault"},
		{Provider: atrest.KMS, Version: atrest.V2, Key: "vault", KeyID: "arn:aws:kms:1234"},
	} {
		v, err := verify.ParseValue(verify.Describe(e))
		if err != nil || !v.Matches(e) {
			t.Errorf("%+v is described as %q: %v", e, verify.Describe(e), err)
		}
	}
}

// An object whose name may end in two places is rewritten only if it is stale either way.
func TestStaleWhereverTheNameEnds(t *testing.T) {
	staleKey := func(c verify.Code) bool { return c == verify.StaleKey }
	for _, c := range []struct {
		expect         string
		suspect, stale bool
	}{
		{"secrets=aesgcm:key1", true, false},
		{"secrets=aesgcm:key1:2022", true, false},
		{"secrets=aesgcm:key3", true, true},
		{"secrets=aesgcm", false, false},
	} {
		entry := etcdscan.Inspect(t.Context(), "/registry", &etcdscan.KeyValue{Key: "/registry/secrets/ns/a", Value: []byte(aesgcm("key1:2022", 0))}, nil)
		es := parse(t, []string{c.expect})
		if suspect := es.Suspect(&entry); suspect != c.suspect {
			t.Errorf("%s: suspect %v", c.expect, suspect)
		}
		if stale := es.Stale(&entry, staleKey); stale != c.stale {
			t.Errorf("%s: stale %v", c.expect, stale)
		}
	}
}
