package node

import "strings"

// words splits a shell script into words, as far as flags need it: quotes, backslashes, comments and operators are seen,
// nothing is expanded, and there is no error: what the shell would refuse comes out somehow.
func words(script string) []string { return split(script, true) }

// directive splits a line of a systemd unit or of a file of variables: in these, a shell's operators and comments are text.
func directive(line string) []string { return split(line, false) }

func split(text string, shell bool) []string {
	var (
		found []string
		word  strings.Builder
		open  bool // a word has begun, perhaps an empty one
		quote byte
	)
	end := func() {
		if open {
			found = append(found, word.String())
			word.Reset()
			open = false
		}
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote == '\'' && c == '\'', quote == '"' && c == '"':
			quote = 0
		case quote == '\'':
			word.WriteByte(c)
		case c == '\\' && i+1 < len(text):
			i++
			if text[i] != '\n' {
				open = true
				word.WriteByte(text[i])
			}
		case quote == '"':
			word.WriteByte(c)
		case c == '\'' || c == '"':
			open, quote = true, c
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			end()
		case shell && strings.IndexByte(";&|()<>", c) >= 0 && !(c == '(' && strings.HasSuffix(word.String(), "$")):
			end()
		case shell && c == '#' && !open:
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		default:
			open = true
			word.WriteByte(c)
		}
	}
	end()
	return found
}
