package upgrade

import "github.com/svmctl/svmctl/internal/crd"

// Examiner tells what a new definition would do to stored objects. It is safe for concurrent use.
type Examiner struct {
	present *crd.Pruner // nil if the cluster has no such definition
	next    *crd.Pruner
}

// Outcome is what would become of one object. The zero value tells nothing.
type Outcome struct {
	Examined bool   // the payload could be understood; everything below was found out
	Version  string // the version that it is stored at, "" if that is not of the definition's group
	// Unreadable: the apiserver could not read it under the new definition. Already: nor under the present one.
	Unreadable, Already bool
	Lost                []string // fields that the new definition would drop and the present one keeps, sorted, at most 32
	Omitted             int      // more of those
	Converted           bool     // a webhook converts it under the new definition: what that drops is not in Lost
}

// NewExaminer prepares the schemas. present is nil where the cluster has no definition of that name: then nothing is lost or
// unreadable already, and objects may yet be left over from a definition that was deleted.
func NewExaminer(present, next *crd.Definition) (*Examiner, error) {
	var x Examiner
	var err error
	if x.next, err = crd.NewPruner(next); err != nil {
		return nil, err
	}
	if present == nil {
		return &x, nil
	}
	if x.present, err = crd.NewPruner(present); err != nil {
		return nil, err
	}
	return &x, nil
}

// Examine looks at one payload as it lies in etcd, opened. A payload that is no custom resource at all gives the zero Outcome. Fields
// count as lost if they would be gone once the object is rewritten, be it by its next update.
func (x *Examiner) Examine(payload []byte) Outcome {
	next, err := x.next.Examine(payload)
	if err != nil {
		return Outcome{}
	}
	var present crd.Examination
	if x.present != nil {
		if present, err = x.present.Examine(payload); err != nil {
			return Outcome{}
		}
	}
	o := Outcome{Examined: true, Version: next.Version, Converted: next.Converted}
	if !next.Readable {
		o.Unreadable, o.Already = true, x.present != nil && !present.Readable
		return o
	}
	o.Lost, o.Omitted = next.Beyond(present)
	return o
}
