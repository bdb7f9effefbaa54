package e2e

import (
	"slices"
	"strings"
	"testing"
)

// keys asks about the plane's EncryptionConfiguration. Nothing is under way in these tests, so that nothing has to settle.
func (p *plane) keys(t *testing.T, args ...string) result {
	t.Helper()
	return p.svmctl(t, slices.Concat([]string{"keys", "--encryption-provider-config", p.config, "--settle", "0"}, args)...)
}

// canRemove asks about one key and checks that answer and exit status agree, and that the reason has the words.
func (p *plane) canRemove(t *testing.T, key, want string, words []string, args ...string) keyReport {
	t.Helper()
	result := p.keys(t, slices.Concat([]string{"--can-remove", key, "-o", "json"}, args)...)
	result.wantCode(t, map[string]int{"yes": 0, "no": 3, "unknown": 4}[want])
	report := result.keys(t)
	answer := report.CanRemove
	if answer == nil || answer.Key != key || answer.Answer != want {
		t.Fatalf("the answer is %+v, want %s for %s\n%s", answer, want, key, result)
	}
	for _, word := range words {
		if !strings.Contains(answer.Reason, word) {
			t.Errorf("the reason %q does not say %q", answer.Reason, word)
		}
	}
	if want == "yes" && len(answer.After) == 0 {
		t.Errorf("nothing says what is left to be done before the key may be destroyed\n%s", result)
	}
	return report
}
