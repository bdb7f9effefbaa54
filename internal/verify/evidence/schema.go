package evidence

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/svmctl/svmctl/docs/schema"
)

// schemas are compiled when they are first needed.
var schemas sync.Map // file → func() (*jsonschema.Schema, error)

// valid tells whether a JSON file has the form that docs/schema tells.
func valid(file string, text []byte) error {
	compile, _ := schemas.LoadOrStore(file, sync.OnceValues(func() (*jsonschema.Schema, error) {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.Of(file)))
		if err != nil {
			return nil, fmt.Errorf("the schema of %s: %w", file, err)
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource(file, doc); err != nil {
			return nil, err
		}
		return c.Compile(file)
	}))
	s, err := compile.(func() (*jsonschema.Schema, error))()
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}
