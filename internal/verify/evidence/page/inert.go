package page

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// literal is text of svmctl's own, for where a reader copies it from: it is made inert, and nothing more.
type literal string

// mapTexts puts every text in what v points to through f, so that no template can forget to.
func mapTexts(v any, f func(string) string) { mapValue(reflect.ValueOf(v), f) }

func mapValue(v reflect.Value, f func(string) string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			mapValue(v.Elem(), f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			mapValue(v.Field(i), f)
		}
	case reflect.Slice:
		// The document's own slices stay as they are.
		v.Set(reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v))
		for i := range v.Len() {
			mapValue(v.Index(i), f)
		}
	case reflect.String:
		if v.Type() == reflect.TypeFor[literal]() {
			v.SetString(inert(v.String()))
			return
		}
		v.SetString(f(v.String()))
	}
}

// inert makes text show all that it holds: names out of etcd are chosen by whoever may create an object, and a bidi override or a
// line break in one must not make a reader see another.
func inert(s string) string {
	var out strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			out.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		out.WriteString(quoted[1 : len(quoted)-1])
	}
	return out.String()
}

// marks are what Markdown, or what shows it, takes for more than text.
var marks = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "&#64;", "://", "&#58;//", "www.", "www&#46;",
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "|", `\|`, "~", `\~`, "#", `\#`, "$", `\$`, "!", `\!`,
)

// What makes a list, a rule or a heading of the line that it stands at the start of.
var (
	bullet   = regexp.MustCompile(`^[-+=]+(?:\s|$)`)
	numbered = regexp.MustCompile(`^([0-9]+)([.)](?:\s|$))`)
)

// plain makes inert text stand for itself in Markdown, within a line.
func plain(s string) string {
	s = marks.Replace(strings.TrimSpace(s))
	if bullet.MatchString(s) {
		return `\` + s
	}
	return numbered.ReplaceAllString(s, `$1\$2`)
}
