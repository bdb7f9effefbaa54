package stored

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// looksLikeJSON is how the apiserver recognises JSON: https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/util/yaml/decoder.go
func looksLikeJSON(payload []byte) bool {
	s := jsonScanner{b: payload}
	s.space()
	return s.skip('{')
}

// parseJSON reads one JSON object with nothing but white space around it. Names of fields are case-sensitive, as Kubernetes reads
// them (https://github.com/kubernetes-sigs/json). A field that matters here and occurs twice is an error: no encoder writes that.
func parseJSON(payload []byte) (Header, error) {
	s := jsonScanner{b: payload}
	var apiVersion, kind, name, namespace []byte
	metadata, terminating := false, false
	inMetadata := func(key []byte) bool {
		switch string(key) {
		case "name":
			return s.text(&name)
		case "namespace":
			return s.text(&namespace)
		case "deletionTimestamp":
			terminating = !s.literal("null")
			return !terminating || s.value(3)
		}
		return s.value(3)
	}
	s.space()
	ok := s.object(1, func(key []byte) bool {
		switch string(key) {
		case "apiVersion":
			return s.text(&apiVersion)
		case "kind":
			return s.text(&kind)
		case "metadata":
			if metadata {
				return false
			}
			metadata = true
			return s.literal("null") || s.object(2, inMetadata)
		}
		return s.value(2)
	})
	s.space()
	if !ok || s.at != len(s.b) {
		return Header{}, ErrJSON
	}
	t, err := typeNames(apiVersion, kind)
	return Header{Type: t, Namespace: string(namespace), Name: string(name), Terminating: terminating}, err
}

// maxJSONDepth is the nesting that encoding/json allows.
const maxJSONDepth = 10000

// jsonScanner walks JSON and accepts what encoding/json accepts. Its methods consume what they are named after, or return false.
type jsonScanner struct {
	b  []byte
	at int
}

func (s *jsonScanner) space() {
	for s.at < len(s.b) {
		switch s.b[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

func (s *jsonScanner) skip(c byte) bool {
	if s.at < len(s.b) && s.b[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *jsonScanner) literal(word string) bool {
	if len(s.b)-s.at >= len(word) && string(s.b[s.at:s.at+len(word)]) == word {
		s.at += len(word)
		return true
	}
	return false
}

// value consumes any value; depth is the nesting that it would have as an object or array.
func (s *jsonScanner) value(depth int) bool {
	if s.at >= len(s.b) {
		return false
	}
	switch s.b[s.at] {
	case '{':
		return s.object(depth, nil)
	case '[':
		return s.array(depth)
	case '"':
		_, ok := s.quoted()
		return ok
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	}
	return s.number()
}

// object consumes an object; member, if any, consumes the value of each of its members.
func (s *jsonScanner) object(depth int, member func(key []byte) bool) bool {
	if depth > maxJSONDepth || !s.skip('{') {
		return false
	}
	s.space()
	if s.skip('}') {
		return true
	}
	for {
		s.space()
		start := s.at
		plain, ok := s.quoted()
		end := s.at
		s.space()
		if !ok || !s.skip(':') {
			return false
		}
		s.space()
		if member == nil {
			ok = s.value(depth + 1)
		} else {
			key, valid := s.decoded(start, end, plain)
			ok = valid && member(key)
		}
		if !ok {
			return false
		}
		s.space()
		if s.skip('}') {
			return true
		}
		if !s.skip(',') {
			return false
		}
	}
}

func (s *jsonScanner) array(depth int) bool {
	if depth > maxJSONDepth || !s.skip('[') {
		return false
	}
	s.space()
	if s.skip(']') {
		return true
	}
	for {
		s.space()
		if !s.value(depth + 1) {
			return false
		}
		s.space()
		if s.skip(']') {
			return true
		}
		if !s.skip(',') {
			return false
		}
	}
}

// text consumes a string into an empty dst, or null, which leaves it without bytes but no longer empty.
func (s *jsonScanner) text(dst *[]byte) bool {
	if *dst != nil {
		return false
	}
	if s.literal("null") {
		*dst = []byte{}
		return true
	}
	start := s.at
	plain, ok := s.quoted()
	if !ok {
		return false
	}
	*dst, ok = s.decoded(start, s.at, plain)
	return ok
}

// decoded is the text of the string that was consumed from start to end, never nil.
func (s *jsonScanner) decoded(start, end int, plain bool) ([]byte, bool) {
	if plain {
		return s.b[start+1 : end-1], true
	}
	var text string
	err := json.Unmarshal(s.b[start:end], &text)
	return []byte(text), err == nil
}

// quoted consumes a string; plain means that its bytes are its text.
func (s *jsonScanner) quoted() (plain, ok bool) {
	if !s.skip('"') {
		return false, false
	}
	plain = true
	for s.at < len(s.b) {
		c := s.b[s.at]
		s.at++
		switch {
		case c == '"':
			return plain, true
		case c < ' ':
			return false, false
		case c >= utf8.RuneSelf:
			plain = false
		case c == '\\':
			plain = false
			if !s.escape() {
				return false, false
			}
		}
	}
	return false, false
}

// escape consumes what follows a backslash.
func (s *jsonScanner) escape() bool {
	if s.at >= len(s.b) {
		return false
	}
	c := s.b[s.at]
	s.at++
	if c != 'u' {
		return bytes.IndexByte([]byte(`"\/bfnrt`), c) >= 0
	}
	for range 4 {
		if s.at >= len(s.b) || bytes.IndexByte([]byte("0123456789abcdefABCDEF"), s.b[s.at]) < 0 {
			return false
		}
		s.at++
	}
	return true
}

func (s *jsonScanner) number() bool {
	s.skip('-')
	if !s.skip('0') && !s.digits() {
		return false
	}
	if s.skip('.') && !s.digits() {
		return false
	}
	if s.skip('e') || s.skip('E') {
		if !s.skip('+') {
			s.skip('-')
		}
		return s.digits()
	}
	return true
}

func (s *jsonScanner) digits() bool {
	start := s.at
	for s.at < len(s.b) && s.b[s.at] >= '0' && s.b[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}
