package render

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"regexp"

	"sigs.k8s.io/yaml"
)

// document writes JSON or YAML whose lists are too long to be held: the frame is marshalled as a whole, with a mark where
// a list belongs, and the items are written in its place one by one.
type document struct {
	format Format
	token  string
	lists  []func(item func(any) error) error
}

// list is the mark of a list inside a document.
type list string

func newDocument(format Format) *document {
	// Nothing that is marshalled can know the token, so that nothing but a mark can look like one.
	return &document{format: format, token: rand.Text()}
}

// list registers a list that produce writes item by item.
func (d *document) list(produce func(item func(any) error) error) list {
	d.lists = append(d.lists, produce)
	return list(fmt.Sprintf("%s-%d-", d.token, len(d.lists)-1))
}

func (d *document) write(w io.Writer, frame any) error {
	var marshalled []byte
	var err error
	if d.format == YAML {
		marshalled, err = yaml.Marshal(frame)
	} else {
		marshalled, err = marshalJSON(frame, "  ")
		marshalled = append(marshalled, '\n')
	}
	if err != nil {
		return err
	}
	mark := regexp.MustCompile(`"?` + d.token + `-(\d+)-"?`)
	for {
		at := mark.FindSubmatchIndex(marshalled)
		if at == nil {
			_, err := w.Write(marshalled)
			return err
		}
		if _, err := w.Write(marshalled[:at[0]]); err != nil {
			return err
		}
		var index int
		if _, err := fmt.Sscan(string(marshalled[at[2]:at[3]]), &index); err != nil {
			return err
		}
		if err := d.writeList(w, indentation(marshalled[:at[0]]), d.lists[index]); err != nil {
			return err
		}
		marshalled = marshalled[at[1]:]
	}
}

// writeList writes the items one to a line, in JSON, which is YAML as well.
func (d *document) writeList(w io.Writer, indent string, produce func(item func(any) error) error) error {
	n := 0
	err := produce(func(v any) error {
		b, err := marshalJSON(v, "")
		if err != nil {
			return err
		}
		separator := ","
		if n == 0 {
			separator = "["
		}
		n++
		_, err = fmt.Fprintf(w, "%s\n%s  %s", separator, indent, b)
		return err
	})
	if err != nil {
		return err
	}
	closing := "\n" + indent + "]"
	if n == 0 {
		closing = "[]"
	}
	_, err = io.WriteString(w, closing)
	return err
}

// indentation is that of the last line.
func indentation(b []byte) string {
	line := b[bytes.LastIndexByte(b, '\n')+1:]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " "))])
}

func marshalJSON(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// Between is what stands between two reports, in front of the second and every later one.
func Between(format Format, i int) string {
	switch {
	case i == 0, format == JSON:
		return "" // JSON documents follow each other as they are
	case format == YAML:
		return "---\n"
	}
	return "\n"
}
