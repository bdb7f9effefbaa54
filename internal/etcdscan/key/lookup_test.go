package key

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation"
)

// The names of the API are judged as the API judges them.
func checkNames(t *testing.T, s string) {
	t.Helper()
	if got, want := pathSegment(s), s != "" && len(content.IsPathSegmentName(s)) == 0; got != want {
		t.Errorf("path segment %q: %v", s, got)
	}
	if got, want := dnsSubdomain(s), len(validation.IsDNS1123Subdomain(s)) == 0; got != want {
		t.Errorf("subdomain %q: %v", s, got)
	}
	if got, want := dnsLabel(s, true), len(validation.IsDNS1123Label(s)) == 0; got != want {
		t.Errorf("label %q: %v", s, got)
	}
	if got, want := dnsLabel(s, false), len(validation.IsDNS1035Label(s)) == 0; got != want {
		t.Errorf("label without leading digit %q: %v", s, got)
	}
}

func TestNames(t *testing.T) {
	for _, s := range []string{
		"", "a", "0", "-", "a-", "-a", "a-b", "A", "a.b", ".a", "a.", "a..b", ".", "..", "...", "a/b", "a%b", "a:b", "é", "a\n", "0a", "a0",
		strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a", 253), strings.Repeat("a", 254), "a." + strings.Repeat("b", 200),
	} {
		checkNames(t, s)
	}
}

func FuzzNames(f *testing.F) {
	f.Add("a.b-c")
	f.Fuzz(checkNames)
}
