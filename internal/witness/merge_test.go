package witness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
)

// pages lists what a test gives it.
type pages struct {
	metadata.Getter
	objects []named
}

func (p pages) List(_ context.Context, options metav1.ListOptions) (*metav1.PartialObjectMetadataList, error) {
	from := 0
	fmt.Sscan(options.Continue, &from)
	list := new(metav1.PartialObjectMetadataList)
	list.ResourceVersion = "7"
	to := min(len(p.objects), from+3)
	if to < len(p.objects) {
		list.Continue = fmt.Sprint(to)
	}
	for _, o := range p.objects[from:to] {
		item := metav1.PartialObjectMetadata{}
		item.Namespace, item.Name, _ = strings.Cut(o.name, "/")
		if item.Name == "" {
			item.Namespace, item.Name = "", o.name
		}
		item.ResourceVersion = fmt.Sprint(o.revision)
		list.Items = append(list.Items, item)
	}
	return list, nil
}

// TestMerge compares with what two maps would tell.
func TestMerge(t *testing.T) {
	parts := []string{"a", "a-b", "a.b", "a0", "b", "b:c", "c"}
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		etcd, api := map[string]int64{}, map[string]int64{}
		for i := range r.IntN(40) {
			name := parts[r.IntN(len(parts))]
			if r.IntN(4) > 0 {
				name += "/" + parts[r.IntN(len(parts))]
			}
			revision := int64(i + 1)
			if r.IntN(5) > 0 {
				etcd[name] = revision
			}
			if revision += int64(100 * (r.IntN(5) / 4)); r.IntN(5) > 0 {
				api[name] = revision
			}
		}
		want := sums{inEtcd: int64(len(etcd)), inAPI: int64(len(api))}
		var objects []Object
		for _, o := range inOrder(etcd) {
			namespace, name, namespaced := strings.Cut(o.name, "/")
			if !namespaced {
				namespace, name = "", o.name
			}
			objects = append(objects, Object{Resource: "secrets", Namespace: namespace, Name: name, ModRevision: o.revision})
			switch revision, both := api[o.name]; {
			case !both:
				want.onlyInEtcd++
			case revision == o.revision:
				want.same++
			default:
				want.otherRevision++
			}
		}
		want.onlyInAPI = want.inAPI - want.same - want.otherRevision
		s := newStored(stores(objects))
		s.nextRun()
		if got := merge(t.Context(), s, &listing{client: pages{objects: inOrder(api)}, revision: 7}); got != want {
			t.Fatalf("seed %d: %+v, want %+v\n%v\n%v", seed, got, want, inOrder(etcd), inOrder(api))
		}
		s.stop()
	}
}

func inOrder(objects map[string]int64) []named {
	var list []named
	for name, revision := range objects {
		list = append(list, named{name, revision})
	}
	slices.SortFunc(list, func(a, b named) int { return strings.Compare(a.name, b.name) })
	return list
}
