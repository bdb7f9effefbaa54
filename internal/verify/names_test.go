package verify_test

import (
	"testing"

	"github.com/svmctl/svmctl/internal/verify"
)

const (
	k3sOld = "aescbckey-2022-04-21T23:01:02-07:00"
	k3sNew = "aescbckey-2022-04-21T23:59:59-07:00"
)

// Key names may hold colons, and so may the ciphertext behind them.
func TestKeyNamesWithColons(t *testing.T) {
	three := func(value func(string, byte) string, key string) []string {
		return []string{value(key, 0), value(key, 1), value(key, 2)}
	}
	check(t, []judged{
		{
			name:   "names that differ behind their first colon",
			store:  secrets(append(three(aescbc, k3sNew), three(aescbc, k3sOld)...)...),
			expect: []string{"secrets=aescbc:" + k3sNew}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets 3"},
		},
		{
			name: "the expected name ends at the first colon of the stored one", store: secrets(three(aescbc, k3sNew)...),
			expect:  []string{"secrets=aescbc:aescbckey-2022-04-21T23"},
			verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets 3"},
		},
		{
			name: "all under the name", store: secrets(three(aescbc, k3sNew)...),
			expect: []string{"secrets=aescbc:" + k3sNew}, verdict: verify.Complete,
		},
	})
}

// One value alone does not tell whether "2022:" behind "key1:" is more of the name or ciphertext.
func TestAmbiguousKeyNames(t *testing.T) {
	one := aesgcm("key1:2022", 0)
	check(t, []judged{
		{
			name: "the shorter name is expected", store: secrets(one),
			expect: []string{"secrets=aesgcm:key1"}, verdict: verify.Indeterminate, reasons: []string{"AmbiguousKey warning secrets 1"},
		},
		{
			name: "the longer name is expected", store: secrets(one),
			expect: []string{"secrets=aesgcm:key1:2022"}, verdict: verify.Indeterminate, reasons: []string{"AmbiguousKey warning secrets 1"},
		},
		{
			name: "copies of one value are no witnesses", store: secrets(one, one, one, one),
			expect: []string{"secrets=aesgcm:key1:2022"}, verdict: verify.Indeterminate, reasons: []string{"AmbiguousKey warning secrets 4"},
		},
		{
			name: "another one is stale", store: secrets(one, aesgcm("key0", 0)),
			expect:  []string{"secrets=aesgcm:key1"},
			verdict: verify.Incomplete, reasons: []string{"AmbiguousKey warning secrets 1", "StaleKey error secrets 1"},
		},
		{
			name: "stale wherever the name ends", store: secrets(one),
			expect: []string{"secrets=aesgcm:key3"}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets 1"},
		},
		{
			name: "as expected wherever the name ends", store: secrets(one),
			expect: []string{"secrets=aesgcm"}, verdict: verify.Complete,
		},
		{
			name: "nothing is expected", store: secrets(one), verdict: verify.NotJudged,
		},
	})
}
