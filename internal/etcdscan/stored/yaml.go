package stored

import (
	"bytes"
	"unicode/utf8"

	"go.yaml.in/yaml/v2"
)

// maxYAML is far beyond what etcd and an apiserver take for one object, in bytes.
const maxYAML = 8 << 20

// looksLikeYAML tells whether payload is worth a try: text in which the names of both fields occur. The apiserver has no better test
// for YAML than that nothing else fits.
func looksLikeYAML(payload []byte) bool {
	// A carriage return is a line break of its own in YAML, and no encoder leaves one unescaped.
	control := func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }
	return len(payload) <= maxYAML && utf8.Valid(payload) && !bytes.ContainsFunc(payload, control) &&
		bytes.Contains(payload, []byte("apiVersion")) && bytes.Contains(payload, []byte("kind"))
}

// parseYAML reads one YAML document that is a mapping. Only the header's fields are decoded, so aliases elsewhere are never
// expanded, however much they would come to.
func parseYAML(payload []byte) (Header, error) {
	if severalDocuments(payload) {
		return Header{}, ErrYAML
	}
	// The types are those that JSON would have, which is what the apiserver makes of YAML: true and 5 are no strings.
	var object struct {
		APIVersion any `yaml:"apiVersion"`
		Kind       any `yaml:"kind"`
		Metadata   struct {
			Name              any `yaml:"name"`
			Namespace         any `yaml:"namespace"`
			DeletionTimestamp any `yaml:"deletionTimestamp"`
		} `yaml:"metadata"`
	}
	if yaml.Unmarshal(payload, &object) != nil {
		return Header{}, ErrYAML
	}
	var texts [4]string
	for i, v := range []any{object.APIVersion, object.Kind, object.Metadata.Namespace, object.Metadata.Name} {
		var ok bool
		if texts[i], ok = v.(string); !ok && v != nil {
			return Header{}, ErrYAML
		}
	}
	t, err := typeNames([]byte(texts[0]), []byte(texts[1]))
	return Header{Type: t, Namespace: texts[2], Name: texts[3], Terminating: object.Metadata.DeletionTimestamp != nil}, err
}

// severalDocuments tells whether a document marker stands behind the first line with content. The decoder would read the first
// document and pass over the rest. No scalar can hold a marker at the beginning of a line.
func severalDocuments(payload []byte) bool {
	for _, lineBreak := range []string{"\u0085", "\u2028", "\u2029"} { // YAML 1.1 has these too
		payload = bytes.ReplaceAll(payload, []byte(lineBreak), []byte("\n"))
	}
	content := false
	for line := range bytes.Lines(payload) {
		line = bytes.TrimRight(line, " \t\n")
		marker := len(line) >= 3 && (string(line[:3]) == "---" || string(line[:3]) == "...") && (len(line) == 3 || line[3] == ' ' || line[3] == '\t')
		if marker && (content || line[0] == '.') {
			return true
		}
		content = content || marker || len(line) > 0 && line[0] != '#' && line[0] != '%'
	}
	return false
}
