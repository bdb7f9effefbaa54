package carve

import "bytes"

// near is how far into an object its apiVersion or kind may lie.
const near = 512

// json takes an object whose type is among its first members, and finds its end by its brackets. No header can lie before that
// end, because each holds a control character and JSON cannot: so these bytes are passed over.
func (s *search) json(at int, content []byte, headed bool) (extent, bool) {
	apiVersion, kind := jsonType(content[:min(near, len(content))], headed)
	if headed && !apiVersion && !kind || !headed && (!apiVersion || !kind || enclosed(s.b[s.floor:at])) {
		return extent{}, false
	}
	end, whole := jsonEnd(content)
	if headed && whole && skipSpace(content, end) == len(content) { // encoders write a newline behind it
		end = len(content)
	}
	return extent{end: end, whole: whole, next: end, hides: end}, true
}

// jsonType tells which of the two an object has among its first members. With anyFirst, another member may be the very first: in
// a custom resource, whose members are sorted. In every other object one of the two is, and asking for that keeps the search
// fast.
func jsonType(b []byte, anyFirst bool) (apiVersion, kind bool) {
	for at := skipSpace(b, 1); ; at = skipSpace(b, at+1) {
		keyEnd := stringEnd(b, at)
		if keyEnd < 0 {
			return
		}
		key := string(b[at:keyEnd])
		typed := key == `"apiVersion"` || key == `"kind"`
		if !typed && !anyFirst && !apiVersion && !kind {
			return
		}
		at = skipSpace(b, keyEnd)
		if at == len(b) || b[at] != ':' {
			return
		}
		at = skipSpace(b, at+1)
		end := memberEnd(b, at)
		if end < 0 || typed && (b[at] != '"' || !typeName(b[at+1:end-1])) {
			return
		}
		apiVersion = apiVersion || key == `"apiVersion"`
		kind = kind || key == `"kind"`
		if at = skipSpace(b, end); apiVersion && kind || at == len(b) || b[at] != ',' {
			return
		}
	}
}

// memberEnd is where the value of a member ends that begins at an offset, negative if that is not seen.
func memberEnd(b []byte, at int) int {
	if at == len(b) {
		return -1
	}
	switch b[at] {
	case '"':
		return stringEnd(b, at)
	case '{', '[':
		if n, whole := jsonEnd(b[at:]); whole {
			return at + n
		}
		return -1
	}
	if n := bytes.IndexAny(b[at:], ",}]\x00"); n >= 0 {
		return at + n
	}
	return -1
}

// jsonEnd is where the object or array ends that b begins with, if whole; otherwise the first byte that cannot belong to it.
func jsonEnd(b []byte) (end int, whole bool) {
	depth := 0
	for at := 0; at < len(b); at++ {
		switch c := b[at]; c {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return at + 1, true
			}
		case '"':
			n := stringEnd(b, at)
			if n < 0 {
				return ^n, false
			}
			at = n - 1
		case ',', ':', '-', '+', '.', ' ', '\t', '\r', '\n':
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != 'E' {
				return at, false
			}
		}
	}
	return len(b), false
}

// stringEnd is where the string ends that begins at an offset; otherwise the complement of the first byte that cannot belong to
// one.
func stringEnd(b []byte, at int) int {
	if at >= len(b) || b[at] != '"' {
		return ^at
	}
	for at++; at < len(b); at++ {
		switch c := b[at]; {
		case c == '"':
			return at + 1
		case c == '\\' && at+1 < len(b) && b[at+1] >= ' ':
			at++
		case c < ' ':
			return ^at
		}
	}
	return ^len(b)
}

// enclosed tells whether the object behind before is part of another one whose beginning is missing: an owner reference, a
// template.
func enclosed(before []byte) bool {
	before = bytes.TrimRight(before, " \t\r\n")
	n := len(before)
	if n < 2 || bytes.IndexByte([]byte(":[,"), before[n-1]) < 0 {
		return false
	}
	// The length of a value may look like that too: in front of it is its tag, or a byte with the high bit.
	return before[n-2] != tagValue && before[n-2] != tagPutValue && before[n-2] < 0x80
}

func skipSpace(b []byte, at int) int {
	for at < len(b) && space(b[at]) {
		at++
	}
	return at
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
