package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

// falseKine is a kine at revision 1000 of which a test has one kind of answer falsified.
type falseKine struct {
	getter
	keys []string
	lie  func(op clientv3.Op, resp *clientv3.GetResponse)
}

func (k *falseKine) Get(_ context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	op := clientv3.OpGet(key, opts...)
	resp := &clientv3.GetResponse{Header: &etcdserverpb.ResponseHeader{Revision: 1000}}
	end := string(op.RangeBytes())
	for i, name := range k.keys {
		if end == "" && name != key || end != "" && !(key == everything && end == everything) && (name < key || name >= end) {
			continue
		}
		resp.Count++
		if op.IsCountOnly() {
			continue
		}
		if limit := op.Limit(); limit > 0 && int64(len(resp.Kvs)) == limit {
			resp.More = true
			continue
		}
		kv := &mvccpb.KeyValue{Key: []byte(name), ModRevision: int64(i + 1)}
		if name == apiserverRevKey {
			kv.Key = []byte(compactRevKey)
		}
		if !op.IsKeysOnly() {
			kv.Value = []byte("value of " + name)
		}
		resp.Kvs = append(resp.Kvs, kv)
	}
	if k.lie != nil {
		k.lie(op, resp)
	}
	return resp, nil
}

func (k *falseKine) store() *Store {
	s := &Store{kv: k, endpoints: []string{"a"}, timeout: 10 * time.Second, patience: 30 * time.Second, pageBytes: 200}
	s.cluster.kine.Store(true)
	s.kine.namesPerPage = 100
	return s
}

func newFalseKine() *falseKine {
	k := &falseKine{keys: []string{"/registry/health", compactRevKey, apiserverRevKey}}
	for i := range 300 {
		k.keys = append(k.keys, fmt.Sprintf("/registry/secrets/ns/%03d", i))
	}
	slices.Sort(k.keys)
	return k
}

func drop(resp *clientv3.GetResponse, i int) {
	resp.Kvs = slices.Delete(slices.Clone(resp.Kvs), i, i+1)
}

func isNames(op clientv3.Op) bool {
	return op.IsKeysOnly() && string(op.RangeBytes()) == highest && op.Limit() > 2
}

func isValues(op clientv3.Op) bool { return !op.IsKeysOnly() && !op.IsCountOnly() }

const always = 1 << 30

func TestKineIsNotBelieved(t *testing.T) {
	for name, tt := range map[string]struct {
		lie  func(*falseKine) func(clientv3.Op, *clientv3.GetResponse)
		want string // in the error; none if the truth is found out after all
	}{
		"the truth": {told(0, nil, nil), ""},
		"a name is left out": {told(always, isNames, func(_ *falseKine, resp *clientv3.GetResponse) {
			resp.Kvs = slices.DeleteFunc(slices.Clone(resp.Kvs), func(kv *mvccpb.KeyValue) bool { return string(kv.Key) == "/registry/secrets/ns/007" })
		}), "kine names 302 keys where it counts 303"},
		"the last name is left out": {told(always, isNames, func(_ *falseKine, resp *clientv3.GetResponse) {
			drop(resp, len(resp.Kvs)-1)
		}), "where it counts 303"},
		"the names break off once": {told(1, isNames, func(_ *falseKine, resp *clientv3.GetResponse) {
			resp.Kvs, resp.More = resp.Kvs[:100], false
		}), ""},
		"the names break off before the first": {told(1, isNames, func(_ *falseKine, resp *clientv3.GetResponse) {
			resp.Kvs, resp.More = nil, false
		}), "kine names 0 keys where it counts 303"},
		"a page of names comes twice": {told(always, isNames, func(k *falseKine, resp *clientv3.GetResponse) {
			*resp = *k.page(0, 100)
			resp.More = true
		}), "out of order"},
		"an empty page of names with more to come": {told(always, isNames, func(_ *falseKine, resp *clientv3.GetResponse) {
			resp.Kvs, resp.More = nil, true
		}), "kine names 0 keys where it counts 303"},
		"a name comes twice": {told(always, isNames, func(_ *falseKine, resp *clientv3.GetResponse) {
			resp.Kvs = slices.Insert(slices.Clone(resp.Kvs), 5, resp.Kvs[5])
		}), "out of order"},
		"names by another order": {told(always, isNames, func(_ *falseKine, resp *clientv3.GetResponse) {
			resp.Kvs[3], resp.Kvs[4] = resp.Kvs[4], resp.Kvs[3]
		}), "out of order"},
		"a name of a later revision": {told(always, isNames, func(_ *falseKine, resp *clientv3.GetResponse) {
			resp.Kvs[3].ModRevision = 1001
		}), "was written at revision 1001, after"},
		"too many are counted": {told(always, clientv3.Op.IsCountOnly, func(_ *falseKine, resp *clientv3.GetResponse) {
			resp.Count++
		}), "kine names 303 keys where it counts 304"},
		"too few are counted": {told(always, clientv3.Op.IsCountOnly, func(_ *falseKine, resp *clientv3.GetResponse) {
			resp.Count--
		}), "kine names 303 keys where it counts 302"},
		"a value is left out": {told(always, isValues, func(_ *falseKine, resp *clientv3.GetResponse) {
			drop(resp, len(resp.Kvs)/2)
		}), errShortPage.Error()},
		"the values break off once": {told(1, isValues, func(_ *falseKine, resp *clientv3.GetResponse) {
			resp.Kvs, resp.More = resp.Kvs[:3], false
		}), ""},
		"an empty page of values with more to come": {told(always, isValues, func(_ *falseKine, resp *clientv3.GetResponse) {
			resp.Kvs, resp.More = nil, true
		}), errShortPage.Error()},
		"a page of values comes twice": {told(always, isValues, func(k *falseKine, resp *clientv3.GetResponse) {
			resp.Kvs = k.page(1, 1+len(resp.Kvs)).Kvs
		}), "sent another key or revision in its place"},
		"a value that nobody named": {told(always, isValues, func(_ *falseKine, resp *clientv3.GetResponse) {
			resp.Kvs = append(resp.Kvs, &mvccpb.KeyValue{Key: []byte("/registry/secrets/ns/zzz")})
		}), "kine sent 65 keys of a page for which it named 64"},
		"a value of another revision": {told(always, isValues, func(_ *falseKine, resp *clientv3.GetResponse) {
			resp.Kvs[2].ModRevision = 99
		}), "sent another key or revision in its place"},
		"a row comes late": {told(1, isValues, func(k *falseKine, _ *clientv3.GetResponse) {
			k.keys = append(k.keys, "later")
		}), "kine names 303 keys where it counts 304"},
		"an answer of etcd": {told(1, isValues, func(_ *falseKine, resp *clientv3.GetResponse) {
			resp.Header.ClusterId = 7
		}), ErrMixedClusters.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newFalseKine()
				want := slices.Clone(k.keys)
				k.lie = tt.lie(k)
				keys, err := scan(t, k.store())
				switch {
				case tt.want == "" && (err != nil || !slices.Equal(keys, want[1:len(want)-2])):
					t.Errorf("read %d keys: %v", len(keys), err)
				case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
					t.Errorf("read %d keys: %v, want %q", len(keys), err, tt.want)
				}
			})
		})
	}
}

// told has a lie told so many times, and the truth after that.
func told(n int, when func(clientv3.Op) bool, lie func(*falseKine, *clientv3.GetResponse)) func(*falseKine) func(clientv3.Op, *clientv3.GetResponse) {
	return func(k *falseKine) func(clientv3.Op, *clientv3.GetResponse) {
		return func(op clientv3.Op, resp *clientv3.GetResponse) {
			if n > 0 && when(op) {
				n--
				lie(k, resp)
			}
		}
	}
}

// page is what kine sends of its keys from one to another.
func (k *falseKine) page(from, to int) *clientv3.GetResponse {
	resp := &clientv3.GetResponse{Header: &etcdserverpb.ResponseHeader{Revision: 1000}}
	for i := from; i < to; i++ {
		resp.Kvs = append(resp.Kvs, &mvccpb.KeyValue{Key: []byte(k.keys[i]), ModRevision: int64(i + 1)})
	}
	return resp
}

// scan reads the secrets as a scan does: the count, and then as many keys.
func scan(t *testing.T, s *Store) (keys []string, err error) {
	r := etcdscan.Prefix("/registry/secrets/")
	pin, err := s.Pin(t.Context(), r, 0)
	if err != nil {
		return nil, err
	}
	counted, err := s.Count(t.Context(), r, pin.Revision)
	if err != nil {
		return nil, err
	}
	for batch, err := range s.Read(t.Context(), r, pin.Revision) {
		if err != nil {
			return keys, err
		}
		for _, kv := range batch {
			keys = append(keys, kv.Key)
		}
	}
	if int64(len(keys)) != counted {
		t.Errorf("read %d keys of %d without an error", len(keys), counted)
	}
	return keys, nil
}

func TestKineNamesInPagesOfAnySize(t *testing.T) {
	k := newFalseKine()
	for size := range int64(10) {
		s := k.store()
		s.kine.namesPerPage = size + 2
		for what, r := range map[string]etcdscan.Range{"everything": {}, "behind the last": {Start: apiserverRevKey + "\x00"}, "two that are named alike": etcdscan.Prefix(compactRevKey)} {
			from, to := slices.Index(k.keys, compactRevKey), len(k.keys)
			switch what {
			case "everything":
				from = 0
			case "behind the last":
				from = to
			}
			var keys []string
			for batch, err := range s.Read(t.Context(), r, 1000) {
				if err != nil {
					t.Fatal(err)
				}
				for _, kv := range batch {
					keys = append(keys, kv.Key)
				}
			}
			if !slices.Equal(keys, k.keys[from:to]) {
				t.Errorf("%s, in pages of %d: %q", what, size+2, keys)
			}
			first, found, err := s.First(t.Context(), r, 0)
			if err != nil || found != (from < to) || found && first != k.keys[from] {
				t.Errorf("the first of %s, in pages of %d: %q, %v, %v", what, size+2, first, found, err)
			}
		}
	}
}

func TestKineThatFindsNothingIsAskedForTheCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFalseKine()
		k.lie = func(op clientv3.Op, resp *clientv3.GetResponse) {
			if !op.IsCountOnly() && !isNames(op) && string(op.KeyBytes()) != compactRevKey {
				resp.Kvs, resp.More = nil, false
			}
		}
		s := k.store()
		if k, found, err := s.First(t.Context(), etcdscan.Prefix("/registry/secrets/"), 0); !errors.Is(err, errShortPage) {
			t.Errorf("First = %q, %v, %v", k, found, err)
		}
		if _, found, err := s.Look(t.Context(), "/registry/secrets/ns/000"); !errors.Is(err, errShortPage) {
			t.Errorf("Look = %v, %v", found, err)
		}
		if _, found, err := s.Look(t.Context(), "/registry/secrets/ns/none"); found || err != nil {
			t.Errorf("Look for a key that is not there = %v, %v", found, err)
		}
	})
}

func TestUnreadableKine(t *testing.T) {
	for name, lie := range map[string]func(clientv3.Op, *clientv3.GetResponse){
		"rounds ranges to directories": func(op clientv3.Op, resp *clientv3.GetResponse) {
			if end := string(op.RangeBytes()); end != "" && !strings.HasSuffix(end, "0") {
				resp.Kvs, resp.Count = nil, 0
			}
		},
		"cannot count all keys": func(op clientv3.Op, resp *clientv3.GetResponse) {
			if string(op.RangeBytes()) == everything {
				resp.Count = 0
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newFalseKine()
			k.lie = lie
			r := etcdscan.Prefix("/registry/")
			_, pinErr := k.store().Pin(t.Context(), r, 0)
			_, countErr := k.store().Count(t.Context(), r, 50)
			_, _, firstErr := k.store().First(t.Context(), r, 0)
			_, _, lookErr := k.store().Look(t.Context(), "/registry/health")
			_, revisionErr := k.store().Revision(t.Context())
			for call, err := range map[string]error{"Pin": pinErr, "Count": countErr, "First": firstErr, "Look": lookErr, "Revision": revisionErr} {
				if !errors.Is(err, etcdscan.ErrUnsupportedStore) {
					t.Errorf("%s = %v", call, err)
				}
			}
		})
	}
}
