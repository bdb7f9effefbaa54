package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/crd/upgrade"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/verify"
)

// subject is one definition of the files, with all that is found out about it.
type subject struct {
	next     *crd.Definition
	present  *crd.Definition   // the cluster's; nil if it has none, or if that could not be read
	resource verify.Resource   // whose objects are looked at; zero if the definition names none
	examiner *upgrade.Examiner // nil if the schemas are beyond use
	result   upgrade.Result
	doubts   []string
	taken    int // objects that the scan met
	examined int // of those: with a payload, and in their place
}

// meet reads the cluster's definition and compares. An error means that the apiserver cannot be asked at all.
func meet(ctx context.Context, client *crd.Client, next *crd.Definition) (*subject, error) {
	s := &subject{next: next}
	present, err := client.Get(ctx, next.Name)
	var refused *crd.RefusedError
	switch {
	case errors.Is(err, crd.ErrNotFound):
		s.result.New = true
	case errors.As(err, &refused):
		s.doubt("%v; what would be lost may be lost by the present definition as well", err)
	case err != nil:
		return nil, err
	default:
		s.present = present
	}
	s.result.Name = next.Name
	s.resource = resourceOf(next)
	if s.present != nil {
		s.resource = resourceOf(s.present)
	}
	if s.resource.Name == "" {
		s.doubt("its group and plural are not those of any custom resource, so that no objects were looked for")
	}
	if s.present != nil || s.result.New {
		switch problems, err := upgrade.Compare(ctx, s.present, next); {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			s.doubt("whether the apiserver accepts it could not be told: %v", err)
		default:
			s.result.Problems, s.result.Compared = problems, true
		}
	}
	if s.examiner, err = upgrade.NewExaminer(s.present, next); err != nil {
		s.examiner = nil
		s.doubt("its objects could not be judged: %v", err)
	}
	return s, nil
}

func (s *subject) doubt(format string, args ...any) {
	s.doubts = append(s.doubts, fmt.Sprintf(format, args...))
}

// resourceOf is the resource whose objects a definition declares; zero where that lies in no directory of custom resources: a file
// may say anything, and must not direct the scan to something else.
func resourceOf(d *crd.Definition) verify.Resource {
	o := key.Parse("", "/"+key.Dir(d.Group, d.Plural)+"name")
	if o.Group != d.Group || o.Resource != d.Plural || d.Name != d.Plural+"."+d.Group || key.Builtin(d.Group, d.Plural) {
		return verify.Resource{}
	}
	return verify.Resource{Group: d.Group, Name: d.Plural}
}

// dir is where its objects lie under a storage root.
func (s *subject) dir(root string) string {
	return root + "/" + key.DirIn(root, s.resource.Group, s.resource.Name)
}

// seen tells whether all that lies under the roots was in the scope.
func (s *subject) seen(scope etcdscan.Scope, roots []string) bool {
	for _, root := range roots {
		covered := false
		for _, p := range scope.Prefixes {
			covered = covered || strings.HasPrefix(s.dir(root), p)
		}
		if !covered {
			return false
		}
	}
	return len(roots) > 0
}

// verdict is that of the result, and never better than Unknown where there is a doubt.
func (s *subject) verdict() upgrade.Verdict {
	whole := s.result
	whole.Compared = true // whether or not: what was found is not undone by what was not
	v := whole.Verdict()
	if !s.result.Compared || len(s.doubts) > 0 || len(s.result.Problems) > 0 {
		v = max(v, upgrade.Unknown)
	}
	return v
}

// counter hands the objects of a scan to their subjects.
type counter map[verify.Resource]*subject

// Begin forgets what an earlier scan met.
func (c counter) Begin() {
	for _, s := range c {
		s.taken, s.examined = 0, 0
		was := s.result
		s.result = upgrade.Result{Name: was.Name, New: was.New, Compared: was.Compared, Problems: was.Problems}
	}
}

// Take counts one key. One that lies among the objects of a resource and names none of them is read by a LIST all the same.
func (c counter) Take(r *etcdscan.Record, _ *etcdscan.Entry) error {
	resource := verify.Resource{Group: r.Object.Group, Name: r.Object.Resource}
	if r.Object.Beside != "" {
		var err error
		if resource, err = verify.ParseResource(r.Object.Beside); err != nil {
			return nil
		}
	}
	if s := c[resource]; s != nil {
		s.taken++
	}
	return nil
}

// Examine looks at one plaintext object.
func (c counter) Examine(r *etcdscan.Record, payload []byte) error {
	s := c[verify.Resource{Group: r.Object.Group, Name: r.Object.Resource}]
	if s == nil || s.examiner == nil || r.Fault != etcdscan.NoFault {
		return nil
	}
	s.examined++
	s.result.Add(s.examiner.Examine(payload))
	return nil
}
