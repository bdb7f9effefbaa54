package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"sigs.k8s.io/yaml"
)

// document writes a head and then a list that is too long to be held: the items come one by one.
type document interface {
	begin(w io.Writer, head any, list string) error
	item(w io.Writer, v any) error
	end(w io.Writer) error
}

type jsonDocument struct{ items int }

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

func (d *jsonDocument) begin(w io.Writer, head any, list string) error {
	b, err := marshalJSON(head, "  ")
	if err != nil {
		return err
	}
	open, ok := bytes.CutSuffix(b, []byte("\n}"))
	if !ok {
		return errors.New("the head of the document is no object with fields")
	}
	_, err = fmt.Fprintf(w, "%s,\n  %q: [", open, list)
	return err
}

func (d *jsonDocument) item(w io.Writer, v any) error {
	b, err := marshalJSON(v, "")
	if err != nil {
		return err
	}
	separator := ","
	if d.items == 0 {
		separator = ""
	}
	d.items++
	_, err = fmt.Fprintf(w, "%s\n    %s", separator, b)
	return err
}

func (d *jsonDocument) end(w io.Writer) error {
	closing := "\n  ]\n}\n"
	if d.items == 0 {
		closing = "]\n}\n"
	}
	_, err := io.WriteString(w, closing)
	return err
}

type yamlDocument struct {
	list  string
	items int
}

func (d *yamlDocument) begin(w io.Writer, head any, list string) error {
	b, err := yaml.Marshal(head)
	if err != nil {
		return err
	}
	d.list = list
	_, err = w.Write(b)
	return err
}

func (d *yamlDocument) item(w io.Writer, v any) error {
	b, err := yaml.Marshal([]any{v})
	if err != nil {
		return err
	}
	if d.items == 0 {
		if _, err := fmt.Fprintf(w, "%s:\n", d.list); err != nil {
			return err
		}
	}
	d.items++
	_, err = w.Write(b)
	return err
}

func (d *yamlDocument) end(w io.Writer) error {
	if d.items > 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "%s: []\n", d.list)
	return err
}
