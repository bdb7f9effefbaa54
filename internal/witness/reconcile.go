package witness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/verify/evidence"
)

// Object is one of the API, as a key of etcd has it.
type Object struct {
	Group, Resource string
	Namespace, Name string
	ModRevision     int64
}

// Comparison is what to compare.
type Comparison struct {
	Config   *rest.Config
	Revision int64 // at which etcd was read
	// Covers tells whether every object of a resource was read, by the names of key.Parse; of the resource * whether that is so of all
	// in the group. nil: of each one.
	Covers func(group, resource string) bool
	// Objects are those that were read, in the order of their keys.
	Objects iter.Seq2[Object, error]
}

// Method is how Reconcile compares.
const Method = "LIST of the metadata of every resource, with resourceVersion of that revision and resourceVersionMatch=Exact; " +
	"an object's name and resourceVersion against its key's name and mod_revision"

// Problems of a resource that are none of its list.
const (
	unserved  = "the API serves no such resource"
	partly    = "not all of it was read from etcd"
	disorder  = "the API does not list it in the order of its keys"
	otherEtcd = "its apiserver keeps it in another etcd"
	placeless = "there is none, and nothing shows that its apiserver would keep it in this etcd"
	untold    = "the apiserver does not tell what this group serves"
)

// Reconcile compares the objects that were read from etcd with those that the API lists at that revision. What could not be listed is
// said of its resource. It holds one page of a list at a time, however many objects there are; of resources that etcd has none of
// it lists some at once.
//
// Left out, named in the method and returned, are groups that another apiserver serves and that this etcd holds nothing of. The error means that
// nothing was compared: it is that of Objects, of the context, or that discovery gave no answer, in fixed words.
func Reconcile(ctx context.Context, what Comparison) (rec *evidence.Reconciliation, leftOut []string, err error) {
	cfg := quiet(what.Config)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return promptly{next} })
	client, err := metadata.NewForConfig(cfg)
	if err != nil {
		return nil, nil, errors.New(unusable)
	}
	served, err := readCatalog(ctx, cfg)
	if err != nil {
		return nil, nil, cmp.Or(interrupted(ctx), err)
	}
	r := &reconciler{Comparison: what, client: client, served: served, rows: make(map[schema.GroupResource]*row)}
	if err := r.compareStored(ctx); err != nil {
		return nil, nil, err
	}
	leftOut = r.compareOthers(ctx)
	r.place(ctx)
	if err := interrupted(ctx); err != nil {
		return nil, nil, err
	}
	rec = r.conclude()
	if len(leftOut) > 0 {
		rec.Method += "; without what other apiservers serve and this etcd holds none of: " + strings.Join(leftOut, ", ")
	}
	return rec, leftOut, nil
}

type reconciler struct {
	Comparison
	client metadata.Interface
	served *catalog
	rows   map[schema.GroupResource]*row
	// anchored: a resource was found to be the same on both sides, so that it is the apiserver's etcd.
	anchored bool
}

// row is what came of one resource. It may lie under several storage roots, of which the API has one: that where it knows the most
// objects.
type row struct {
	best   sums
	beyond int64 // objects under the other roots
}

func (r *reconciler) covers(gr schema.GroupResource) bool {
	return r.Covers == nil || r.Covers(gr.Group, gr.Resource)
}

func (r *reconciler) list(e entry) *listing {
	return &listing{client: r.client.Resource(e.at), revision: r.Revision}
}

// lags tells whether a resource lies in an etcd that has not come to the revision. An apiserver waits some seconds before it says so
// of a list, which for each resource of another cluster would be too long.
func (r *reconciler) lags(ctx context.Context, e entry) bool {
	if r.anchored {
		return false
	}
	now, ok := newest(ctx, r.client.Resource(e.at))
	return ok && now < r.Revision
}

// compareStored goes over the objects of etcd, resource by resource.
func (r *reconciler) compareStored(ctx context.Context) error {
	s := newStored(r.Objects)
	defer s.stop()
	for s.nextRun() {
		e, known := r.served.resources[s.resource]
		var found sums
		switch {
		case !r.covers(s.resource):
			found = s.drain(partly)
		case !known && slices.Contains(r.served.untold, s.resource.Group):
			found = s.drain(untold)
		case !known:
			found = s.drain(unserved)
			found.onlyInEtcd = found.inEtcd
		case r.lags(ctx, e):
			found = s.drain(otherEtcd)
			found.onlyInEtcd = found.inEtcd
		default:
			found = merge(ctx, s, r.list(e))
			r.anchored = r.anchored || found.equal()
		}
		if s.err != nil || ctx.Err() != nil {
			break
		}
		r.take(s.resource, found)
	}
	if s.err != nil {
		return fmt.Errorf("comparing with the API: %w", s.err)
	}
	return interrupted(ctx)
}

func (r *reconciler) take(gr schema.GroupResource, found sums) {
	switch old := r.rows[gr]; {
	case old == nil:
		r.rows[gr] = &row{best: found}
	case found.same > old.best.same:
		old.best, old.beyond = found, old.beyond+old.best.inEtcd
	default:
		old.beyond += found.inEtcd
	}
}

const atOnce = 8 // lists at a time, of resources that etcd has none of

// compareOthers lists what etcd has no object of.
func (r *reconciler) compareOthers(ctx context.Context) (leftOut []string) {
	var others []schema.GroupResource
	for _, gr := range r.served.sorted() {
		switch {
		case r.rows[gr] != nil || !r.covers(gr):
		case r.served.resources[gr].aggregated:
			if !slices.Contains(leftOut, gr.Group) {
				leftOut = append(leftOut, gr.Group)
			}
		default:
			r.rows[gr] = new(row)
			others = append(others, gr)
		}
	}
	each(others, func(gr schema.GroupResource) {
		e := r.served.resources[gr]
		if r.lags(ctx, e) {
			r.rows[gr].best.problem = otherEtcd
			return
		}
		r.rows[gr].best = merge(ctx, new(stored), r.list(e))
	})
	for gv := range r.served.elsewhere { // which may be down
		if !r.served.tells(gv.Group) && r.covers(schema.GroupResource{Group: gv.Group, Resource: "*"}) && !slices.Contains(leftOut, gv.Group) {
			leftOut = append(leftOut, gv.Group)
		}
	}
	for _, group := range r.served.untold {
		if all := (schema.GroupResource{Group: group, Resource: "*"}); r.covers(all) {
			r.rows[all] = &row{best: sums{problem: untold}}
		}
	}
	slices.Sort(leftOut)
	return leftOut
}

// each calls f for every resource, some at once.
func each(resources []schema.GroupResource, f func(schema.GroupResource)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, gr := range resources {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(gr)
		})
	}
	wg.Wait()
}

// conclude makes a report of the rows.
func (r *reconciler) conclude() *evidence.Reconciliation {
	rec := &evidence.Reconciliation{Method: Method, Revision: r.Revision, Match: len(r.rows) > 0, Resources: []evidence.Reconciled{}}
	for _, gr := range slices.SortedFunc(maps.Keys(r.rows), func(a, b schema.GroupResource) int { return strings.Compare(a.String(), b.String()) }) {
		row := r.rows[gr]
		b := row.best
		one := evidence.Reconciled{Resource: gr.String(), InEtcd: b.inEtcd + row.beyond, InAPI: b.inAPI, Problem: b.problem}
		if b.problem == "" || b.problem == unserved || b.problem == otherEtcd {
			one.OnlyInEtcd, one.OnlyInAPI, one.OtherRev = b.onlyInEtcd+row.beyond, b.onlyInAPI, b.otherRevision
		}
		if !b.equal() || row.beyond > 0 {
			rec.Match = false
		}
		rec.Resources = append(rec.Resources, one)
	}
	return rec
}

// canonical is the name that etcd has for a resource.
func canonical(group, resource string) schema.GroupResource {
	group, resource = key.Canonical(group, resource)
	return schema.GroupResource{Group: group, Resource: resource}
}
