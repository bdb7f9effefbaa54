package apiservers

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// storageOps counts the values that were encrypted and decrypted, from the first one on (k8s.io/apiserver pkg/storage/value). A resource
// that the EncryptionConfiguration does not name has none of it.
const storageOps = "apiserver_storage_transformation_operations_total"

const (
	maxCounted = 256 << 10 // bytes of such lines that are held at a time
	maxCounts  = 5000      // counters that are told apart by their resource
)

// Transformation is how often an apiserver has encrypted or decrypted a value since it was started.
type Transformation struct {
	Resource string // RESOURCE or RESOURCE.GROUP; empty before Kubernetes 1.33, and where there are too many to tell apart
	Write    bool   // it encrypted; else it decrypted
	Prefix   string // of the provider, or of a key below it; of a write without encryption empty, of such a read "identity"
	Status   string // OK, or why it failed
	Count    int64
}

// counts adds up lines of storageOps, as there is one for each resource, provider, key and status.
type counts struct {
	lines []byte
	sums  map[Transformation]int64 // by what has no count
	only  bool                     // the sums have no resources any more
}

func (c *counts) add(line []byte) error {
	if c.lines = append(append(c.lines, line...), '\n'); len(c.lines) < maxCounted {
		return nil
	}
	return c.sum()
}

// sum takes the lines into the sums.
func (c *counts) sum() error {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(c.lines))
	if err != nil {
		return errStrange
	}
	c.lines = c.lines[:0]
	if c.sums == nil {
		c.sums = make(map[Transformation]int64)
	}
	for _, m := range families[storageOps].GetMetric() {
		t := Transformation{Resource: label(m, "resource"), Prefix: label(m, "transformer_prefix"), Status: label(m, "status")}
		switch label(m, "transformation_type") {
		case "to_storage":
			t.Write = true
		case "from_storage":
		default:
			return errStrange
		}
		if c.only {
			t.Resource = ""
		}
		c.sums[t] += int64(value(m))
		if len(c.sums) <= maxCounts {
			continue
		}
		if c.only {
			return errTooLong
		}
		c.forget()
	}
	return nil
}

// forget adds up what differs in nothing but the resource.
func (c *counts) forget() {
	sums := make(map[Transformation]int64)
	for t, n := range c.sums {
		t.Resource = ""
		sums[t] += n
	}
	c.sums, c.only = sums, true
}

// all are the sums in order.
func (c *counts) all() ([]Transformation, error) {
	if err := c.sum(); err != nil {
		return nil, err
	}
	var all []Transformation
	for t, n := range c.sums {
		t.Count = n
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b Transformation) int {
		return cmp.Or(-compareBool(a.Write, b.Write), strings.Compare(a.Resource, b.Resource), strings.Compare(a.Prefix, b.Prefix), strings.Compare(a.Status, b.Status))
	})
	return all, nil
}

// keepAndCount is keep, with the lines of storageOps added up.
func keepAndCount(r io.Reader) (kept []byte, all []Transformation, err error) {
	var c counts
	if kept, err = keep(r, c.add); err != nil {
		return nil, nil, err
	}
	all, err = c.all()
	return kept, all, err
}
