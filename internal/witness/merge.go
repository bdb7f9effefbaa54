package witness

import (
	"context"
	"iter"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// sums are what came of comparing one resource under one storage root.
type sums struct {
	inEtcd, inAPI, same                  int64
	onlyInEtcd, onlyInAPI, otherRevision int64
	problem                              string
}

func (s sums) equal() bool {
	return s.problem == "" && s.onlyInEtcd+s.onlyInAPI+s.otherRevision == 0
}

// stored are the objects of etcd, cut into runs: the objects of one resource under one storage root. The zero value has none.
type stored struct {
	pull     func() (Object, error, bool)
	stop     func()
	head     Object // the next one, if there is
	ahead    bool
	resource schema.GroupResource // of this run
	last     string               // name of the object before, in this run
	started  bool                 // the run has one
	err      error
}

func newStored(objects iter.Seq2[Object, error]) *stored {
	s := new(stored)
	s.pull, s.stop = iter.Pull2(objects)
	s.fetch()
	return s
}

func (s *stored) fetch() {
	var ok bool
	s.head, s.err, ok = s.pull()
	s.ahead = ok && s.err == nil
}

// nextRun begins the next run. There is none at the end, and after an error.
func (s *stored) nextRun() bool {
	if s.ahead {
		s.resource, s.last, s.started = canonical(s.head.Group, s.head.Resource), "", false
	}
	return s.ahead
}

// peek is the next object of the run. A name that does not come after the one before is of another root.
func (s *stored) peek() (next named, ok bool) {
	if !s.ahead || canonical(s.head.Group, s.head.Resource) != s.resource {
		return named{}, false
	}
	next = named{nameOf(s.head.Namespace, s.head.Name), s.head.ModRevision}
	return next, !s.started || next.name > s.last
}

func (s *stored) skip() {
	s.last, s.started = nameOf(s.head.Namespace, s.head.Name), true
	s.fetch()
}

// drain counts the run.
func (s *stored) drain(problem string) sums {
	found := sums{problem: problem}
	for _, ok := s.peek(); ok; _, ok = s.peek() {
		found.inEtcd++
		s.skip()
	}
	return found
}

// merge compares a run with what the API lists. Both are in the order of their keys; what the API lists in another one is not compared.
func merge(ctx context.Context, etcd *stored, api *listing) sums {
	var found sums
	last, ordered := "", true
	for {
		a, inAPI := api.peek(ctx)
		if api.problem != "" {
			rest := etcd.drain(api.problem)
			return sums{inEtcd: found.inEtcd + rest.inEtcd, inAPI: api.read, problem: api.problem}
		}
		e, inEtcd := etcd.peek()
		fromEtcd, fromAPI := false, false
		switch {
		case !inEtcd && !inAPI:
			found.inAPI = api.read
			if !ordered {
				return sums{inEtcd: found.inEtcd, inAPI: found.inAPI, problem: disorder}
			}
			return found
		case inEtcd && inAPI && e.name == a.name:
			if fromEtcd, fromAPI, last = true, true, a.name; e.revision == a.revision {
				found.same++
			} else {
				found.otherRevision++
			}
		case inEtcd && inAPI && e.revision == a.revision: // the value is that of an object with another name than its key's
			fromEtcd, fromAPI = true, true
			found.onlyInEtcd++
			found.onlyInAPI++
		case inAPI && a.name <= last:
			ordered, fromAPI = false, true
		case inEtcd && (!inAPI || e.name < a.name):
			fromEtcd = true
			found.onlyInEtcd++
		default:
			fromAPI, last = true, a.name
			found.onlyInAPI++
		}
		if fromEtcd {
			found.inEtcd++
			etcd.skip()
		}
		if fromAPI {
			api.skip()
		}
	}
}
