package snapshot_test

import (
	"fmt"
	"slices"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
)

// old reads the older revisions of a store, as key@revision.
func old(t *testing.T, src etcdscan.Historian, ranges []etcdscan.Range, revision int64) (compacted int64, writes []string) {
	t.Helper()
	compacted, err := src.History(t.Context(), ranges, revision, func(kv etcdscan.KeyValue) error {
		writes = append(writes, fmt.Sprintf("%s@%d", kv.Key, kv.ModRevision))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(writes)
	return compacted, writes
}

// everyRevision finds the older writes the long way: by reading the store at each revision that etcd has.
func everyRevision(t *testing.T, s *etcdtest.Server, r etcdscan.Range, upTo int64) (writes []string) {
	t.Helper()
	read := func(revision int64) (at []string) {
		resp, err := s.Client.Get(t.Context(), r.Start, clientv3.WithRange(r.End), clientv3.WithRev(revision))
		if err != nil {
			return nil
		}
		for _, kv := range resp.Kvs {
			at = append(at, fmt.Sprintf("%s@%d", kv.Key, kv.ModRevision))
		}
		return at
	}
	now := read(upTo)
	for revision := int64(1); revision < upTo; revision++ {
		for _, w := range read(revision) {
			if !slices.Contains(now, w) && !slices.Contains(writes, w) {
				writes = append(writes, w)
			}
		}
	}
	slices.Sort(writes)
	return writes
}

func TestHistoryEqualsEtcd(t *testing.T) {
	s := etcdtest.Start(t)
	store, err := live.Open(t.Context(), live.Config{Endpoints: []string{s.Endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	compare := func(when string, want int64) {
		t.Helper()
		f := open(t, save(t, s))
		newest := s.Revision(t)
		for _, upTo := range []int64{newest, newest - 3} {
			for _, r := range []etcdscan.Range{etcdscan.Prefix("/registry/"), etcdscan.Prefix("/registry/secrets/")} {
				truth := everyRevision(t, s, r, upTo)
				for name, src := range map[string]etcdscan.Historian{"etcd": store, "file": f} {
					compacted, got := old(t, src, []etcdscan.Range{r}, upTo)
					if compacted != want || !slices.Equal(got, truth) {
						t.Errorf("%s, %s up to %d: compacted %d (want %d), %d older writes, and etcd gives %d", when, name, upTo, compacted, want, len(got), len(truth))
					}
				}
			}
		}
	}
	busy(t, s, 150)
	compare("never compacted", 0)
	at := s.Revision(t) - 60
	if _, err := s.Client.Compact(t.Context(), at, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	compare("compacted", at)
	busy(t, s, 50)
	compare("written since", at)
}
