package witness

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
)

// place finds out of which resources the apiservers keep the objects in another etcd, as with --etcd-servers-overrides. A list has the
// revision of the etcd that it was made from; that of a resource with objects that are the same on both sides, revisions and all, is of this
// etcd. Those that are empty, and those that do not match, are listed in between two lists of such a one.
func (r *reconciler) place(ctx context.Context) {
	var doubtful []schema.GroupResource
	var reference metadata.Getter
	var most int64
	for gr, row := range r.rows {
		e, known := r.served.resources[gr]
		b := row.best
		if !known || b.problem == partly || b.problem == untold || b.problem == forbidden {
			continue
		}
		if b.same > most {
			reference, most = r.client.Resource(e.at), b.same
		}
		if b.same == 0 || !b.equal() {
			doubtful = append(doubtful, gr)
		}
	}
	each(doubtful, func(gr schema.GroupResource) {
		row := r.rows[gr]
		own := r.client.Resource(r.served.resources[gr].at)
		switch where := compareNow(ctx, reference, own); {
		case where == elsewhere:
			there := merge(ctx, new(stored), &listing{client: own})
			row.best = sums{inEtcd: row.best.inEtcd, onlyInEtcd: row.best.inEtcd, inAPI: there.inAPI, onlyInAPI: there.inAPI, problem: otherEtcd}
		case where == notTold && row.best.equal():
			row.best.problem = placeless
		}
	})
}

type whereabouts int

const (
	notTold whereabouts = iota
	here
	elsewhere
)

// compareNow tells whether two resources lie in one etcd. Between two lists of the one it may only be at a revision in between.
func compareNow(ctx context.Context, reference, other metadata.Getter) whereabouts {
	if reference == nil {
		return notTold
	}
	where := notTold
	for range 3 {
		before, ok1 := newest(ctx, reference)
		now, ok2 := newest(ctx, other)
		after, ok3 := newest(ctx, reference)
		switch {
		case !ok1 || !ok2 || !ok3:
			return notTold
		case before <= now && now <= after:
			return here
		}
		where = elsewhere
	}
	return where
}
