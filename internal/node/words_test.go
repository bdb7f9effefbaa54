package node

import (
	"slices"
	"testing"
)

func TestWords(t *testing.T) {
	for _, c := range []struct {
		text          string
		script, plain []string
	}{
		{"", nil, nil},
		{" a\tb \n c ", []string{"a", "b", "c"}, []string{"a", "b", "c"}},
		{`--a='b c' "d e"f ''`, []string{"--a=b c", "d ef", ""}, []string{"--a=b c", "d ef", ""}},
		{`"a\"b" 'a\b' a\ b`, []string{`a"b`, `a\b`, "a b"}, []string{`a"b`, `a\b`, "a b"}},
		{"a \\\n  b\\\nc", []string{"a", "bc"}, []string{"a", "bc"}},
		{"a;b&&c|d>e", []string{"a", "b", "c", "d", "e"}, []string{"a;b&&c|d>e"}},
		{"/events#http://a:1 # b\nc", []string{"/events#http://a:1", "c"}, []string{"/events#http://a:1", "#", "b", "c"}},
		{"'/events#http://a:1;http://b:1'", []string{"/events#http://a:1;http://b:1"}, []string{"/events#http://a:1;http://b:1"}},
		{"--a=$(b)", []string{"--a=$(b"}, []string{"--a=$(b)"}},
		{`'open "`, []string{`open "`}, []string{`open "`}},
		{`end\`, []string{`end\`}, []string{`end\`}},
	} {
		if got := words(c.text); !slices.Equal(got, c.script) {
			t.Errorf("words(%q) = %q", c.text, got)
		}
		if got := directive(c.text); !slices.Equal(got, c.plain) {
			t.Errorf("directive(%q) = %q", c.text, got)
		}
	}
}
