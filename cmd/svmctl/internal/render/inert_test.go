package render_test

import (
	"testing"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
)

// Names out of etcd reach error lines; RBAC lets anybody who may create a role put escape sequences into one.
func TestInertTextCannotSteerATerminal(t *testing.T) {
	for in, want := range map[string]string{
		"plain text, with ümlauts …":       "plain text, with ümlauts …",
		"/registry/roles/d/\x1b]0;title\a": `/registry/roles/d/\x1b]0;title\a`,
		"\x1b[31mred\x1b[0m":               `\x1b[31mred\x1b[0m`,
		"\u202egnihtemos":                  `\u202egnihtemos`,
		"a\u009bb":                         `a\u009bb`,
	} {
		if got := render.Inert(in); got != want {
			t.Errorf("Inert(%q) = %q, want %q", in, got, want)
		}
	}
}
