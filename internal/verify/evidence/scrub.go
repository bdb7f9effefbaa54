package evidence

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/verify"
)

// scrubber puts the hash of each KMS key ID in the place of the key ID: IDs may be names of whole accounts. They stand in fields of
// their own, and in texts as kms:NAME:ID. Elsewhere only what is too long to be a mere word is taken for one.
type scrubber struct{ ids []string }

// longID is how many bytes an ID has at least that is known for one wherever it stands.
const longID = 12

// newScrubber knows the key IDs that a report can speak of.
func (o *Observed) newScrubber() *scrubber {
	var ids []string
	for _, e := range o.Report.Entries {
		ids = append(ids, e.AtRest.KeyID)
	}
	if h := o.Report.History; h != nil {
		for _, g := range h.Groups {
			ids = append(ids, g.AtRest.KeyID)
		}
	}
	for _, e := range o.Report.Judged() {
		ids = append(ids, e.Value.KeyID)
	}
	for _, arg := range o.Tool.Arguments {
		// As in --expect secrets=kms:vault:kek-2 and --can-remove kms:vault:kek-1.
		if _, text, ok := strings.Cut(arg, "kms:"); ok {
			if v, err := verify.ParseValue("kms:" + text); err == nil {
				ids = append(ids, v.KeyID)
			}
		}
	}
	if o.CanRemove != nil {
		if v, err := verify.ParseValue(o.CanRemove.Key); err == nil {
			ids = append(ids, v.KeyID)
		}
	}
	ids = append(ids, o.KeyIDs...)
	slices.Sort(ids)
	ids = slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return id == "" })
	slices.SortFunc(ids, func(a, b string) int { return len(b) - len(a) })
	return &scrubber{ids}
}

const kmsPrefix = "kms:"

// text puts hashes in the place of key IDs.
func (s *scrubber) text(t string) string {
	t = s.named(t)
	for _, id := range s.ids {
		if len(id) < longID {
			continue
		}
		for from := 0; ; {
			i := strings.Index(t[from:], id)
			if i < 0 {
				break
			}
			i += from
			if inWord(t, i-1) || inWord(t, i+len(id)) {
				from = i + 1
				continue
			}
			t = t[:i] + hashOf(id) + t[i+len(id):]
			from = i + len(hashOf(id))
		}
	}
	return t
}

// named puts the hash of a key ID in its place behind each kms:NAME:.
func (s *scrubber) named(t string) string {
	var out strings.Builder
	for {
		before, behind, found := strings.Cut(t, kmsPrefix)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		out.WriteString(kmsPrefix)
		t = behind
		name, ids, found := strings.Cut(behind, ":")
		if !found || strings.ContainsAny(name, " ,;\"") {
			continue
		}
		// The longest goes first, as one may be the beginning of another.
		for _, id := range s.ids {
			if rest, ok := strings.CutPrefix(ids, id); ok && !inWord(rest, 0) {
				out.WriteString(name + ":" + hashOf(id))
				t = rest
				break
			}
		}
	}
}

func inWord(t string, i int) bool {
	if i < 0 || i >= len(t) {
		return false
	}
	c := t[i]
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_'
}

// value scrubs what stands in a field.
func (s *scrubber) value(field, text string) string {
	if field == "keyID" && text != "" {
		return hashOf(text)
	}
	if v, err := verify.ParseValue(text); err == nil && slices.Contains([]string{"value", "expected", "found"}, field) {
		return expectedValue(v) // of which only one part can be a key ID
	}
	return s.text(text)
}

// document scrubs the strings of a JSON document and leaves the rest of it as it is.
func (s *scrubber) document(doc []byte) ([]byte, error) {
	var out bytes.Buffer
	field := ""
	for i := 0; i < len(doc); {
		if doc[i] != '"' {
			out.WriteByte(doc[i])
			i++
			continue
		}
		end := i + 1
		for doc[end] != '"' {
			if doc[end] == '\\' {
				end++
			}
			end++
		}
		end++
		if end < len(doc) && doc[end] == ':' { // the name of a field, or of a resource
			field = string(doc[i+1 : end-1])
			out.Write(doc[i:end])
			i = end
			continue
		}
		var text string
		if err := json.Unmarshal(doc[i:end], &text); err != nil {
			return nil, err
		}
		if clean := s.value(field, text); clean == text {
			out.Write(doc[i:end])
		} else {
			literal, err := json.Marshal(clean)
			if err != nil {
				return nil, err
			}
			out.Write(literal)
		}
		i = end
	}
	return out.Bytes(), nil
}

// encode encodes without any key ID.
func (s *scrubber) encode(v any) ([]byte, error) {
	text, err := encode(v)
	if err != nil {
		return nil, err
	}
	return s.document(text)
}

// encode is how JSON files of a bundle are written.
func encode(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
