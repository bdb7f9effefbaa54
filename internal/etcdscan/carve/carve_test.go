package carve

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/svmctl/svmctl/testdata/vectors"
)

const (
	key      = "/registry/secrets/default/db"
	revision = 1_234_567
)

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// inDB is a value as it lies in the db file: behind the key of bbolt, which is the revision, and in front of a lease.
func inDB(t testing.TB, key string, revision int64, value []byte) []byte {
	rev := binary.BigEndian.AppendUint64(nil, uint64(revision))
	rev = binary.BigEndian.AppendUint64(append(rev, '_'), 0)
	kv := marshal(t, &mvccpb.KeyValue{Key: []byte(key), CreateRevision: revision - 5, ModRevision: revision, Version: 3, Value: value, Lease: 7})
	return append(rev, kv...)
}

// inWAL is a value as it lies in a WAL, written as the apiserver does it.
func inWAL(t testing.TB, key string, value []byte) []byte {
	put := &etcdserverpb.PutRequest{Key: []byte(key), Value: value, Lease: 7}
	return marshal(t, &etcdserverpb.InternalRaftRequest{ID: 77, Txn: &etcdserverpb.TxnRequest{
		Compare: []*etcdserverpb.Compare{{Target: etcdserverpb.Compare_MOD, Key: []byte(key), TargetUnion: &etcdserverpb.Compare_ModRevision{ModRevision: 9}}},
		Success: []*etcdserverpb.RequestOp{{Request: &etcdserverpb.RequestOp_RequestPut{RequestPut: put}}},
		Failure: []*etcdserverpb.RequestOp{{Request: &etcdserverpb.RequestOp_RequestRange{RequestRange: &etcdserverpb.RangeRequest{Key: []byte(key)}}}},
	}})
}

// docs is text about what is searched for.
const docs = "Run etcdctl get | head: `k8s:enc:aescbc:v1:key1:` must lead, k8s:enc:\n k8s-app {\"a\": {\"kind\": \"K\"}} [{\"apiVersion\":\"v1\",\"kind\":\"K\"}]\n"

// pages are what a value may lie between.
func pages() map[string][]byte {
	random := make([]byte, 4096)
	rand.NewChaCha8([32]byte{1}).Read(random)
	return map[string][]byte{"zero": make([]byte, 4096), "random": random, "text": []byte(strings.Repeat(docs, 30))}
}

var (
	firstMember = regexp.MustCompile(`^{\s*"(apiVersion|kind)"\s*:\s*"[^"]+"`)
	bothMembers = regexp.MustCompile(`^{\s*"(apiVersion|kind)"\s*:\s*"[^"]+"\s*,\s*"(apiVersion|kind)"\s*:\s*"[^"]+"`)
	fullPrefix  = regexp.MustCompile(`^k8s:enc:(aescbc|aesgcm|secretbox|kms):v[12]:[ -9;-~]{1,256}:`)
)

// enough is how many bytes of a value must be there to be found, with and without a header in front of them; 0 if all are not
// enough.
func enough(value []byte) (headed, bare int) {
	switch {
	case bytes.HasPrefix(value, []byte("k8s:enc:")):
		headed = 8
		if prefix := len(fullPrefix.Find(value)); prefix > 0 {
			body := value[prefix:min(prefix+16, len(value))]
			if n := slices.IndexFunc(body, func(c byte) bool { return c > '~' || c < ' ' && c != '\n' && c != '\r' && c != '\t' }); n >= 0 {
				bare = prefix + n + 1
			}
		}
	case bytes.HasPrefix(value, []byte("k8s\x00")):
		headed = 4
		if len(value) > 5 && value[4] == 0x0a {
			raw := 6 + int(value[5])
			_, n := protowire.ConsumeVarint(value[raw+1:])
			bare = raw + 1 + n
		}
	case bytes.HasPrefix(value, []byte("\xd9\xd9\xf7")):
		headed, bare = 4, bytes.Index(value, []byte("Dkind"))+5
	default:
		headed, bare = len(firstMember.Find(value)), len(bothMembers.Find(value))
	}
	return headed, bare
}

func find(b []byte) []Value { return slices.Collect(Find(b)) }

// checkOne searches a region with one value: value is what is left of it.
func checkOne(t *testing.T, b []byte, at int, value []byte, cut, found bool, key string, revision int64) {
	t.Helper()
	got := find(b)
	if !found {
		if len(got) > 0 {
			t.Fatalf("found %d values, the first at %d", len(got), got[0].Offset-at)
		}
		return
	}
	if len(got) != 1 || got[0].Offset != at {
		t.Fatalf("found %d values, want one at %d: %v", len(got), at, offsets(got))
	}
	v := got[0]
	if string(v.Key) != key || v.ModRevision != revision {
		t.Fatalf("key %q at %d, want %q at %d", v.Key, v.ModRevision, key, revision)
	}
	if v.Cut != cut {
		t.Fatalf("cut: %v", v.Cut)
	}
	if !cut && string(v.Bytes) != string(value) || cut && !bytes.HasPrefix(v.Bytes, value) && !bytes.HasPrefix(value, v.Bytes) {
		t.Fatalf("%d bytes, want %d", len(v.Bytes), len(value))
	}
}

func offsets(values []Value) []int {
	var all []int
	for _, v := range values {
		all = append(all, v.Offset)
	}
	return all
}

// TestCutAtEveryOffset loses the end of every vector, or its beginning, between pages of every kind.
func TestCutAtEveryOffset(t *testing.T) {
	for _, c := range vectors.Load(t) {
		if c.File == "identity-garbage" {
			continue // no value of Kubernetes, but what is in it looks like one
		}
		headed, _ := enough(c.Value)
		if c.Headers["expect-provider"] != "identity" && headed == 0 {
			t.Errorf("%s: ciphertext is to be found", c.File)
		}
		for name, page := range pages() {
			for form, whole := range map[string][]byte{"db": inDB(t, key, revision, c.Value), "wal": inWAL(t, key, c.Value)} {
				t.Run(strings.Join([]string{c.File, name, form}, " "), func(t *testing.T) {
					begins := bytes.LastIndex(whole, c.Value)
					keyBegins := bytes.LastIndex(whole[:begins], []byte(key))
					rev := int64(revision)
					if form == "wal" {
						rev = 0
					}
					if len(c.Value) == 0 {
						if got := find(slices.Concat(page, whole, page)); len(got) > 0 {
							t.Fatalf("found at %v", offsets(got))
						}
						return
					}
					for end := begins; end <= len(whole); end++ {
						left := min(end-begins, len(c.Value))
						found := headed > 0 && left >= headed
						checkOne(t, slices.Concat(page, whole[:end]), len(page)+begins, c.Value[:left], left < len(c.Value), found, key, rev)
					}
					checkOne(t, slices.Concat(page, whole, page), len(page)+begins, c.Value, false, headed > 0, key, rev)
					for start := keyBegins - 2; start <= begins; start++ {
						b := slices.Concat(whole[start:], page)
						switch {
						case start == keyBegins-2:
							checkOne(t, b, begins-start, c.Value, false, headed > 0, key, rev)
						case form == "db" && start <= keyBegins+len(key):
							checkOne(t, b, begins-start, c.Value, false, headed > 0, "", rev)
						default:
							checkBare(t, b, begins-start, c.Value)
						}
					}
				})
			}
		}
	}
}

// checkBare searches a value without its header: what ends by itself does so.
func checkBare(t *testing.T, b []byte, at int, value []byte) {
	t.Helper()
	got := find(b)
	if _, bare := enough(b[at:]); bare == 0 {
		if len(got) > 0 {
			t.Fatalf("found at %v", offsets(got))
		}
		return
	}
	if len(got) != 1 || got[0].Offset != at || got[0].Key != nil || got[0].ModRevision != 0 {
		t.Fatalf("found at %v, want %d", offsets(got), at)
	}
	if v := got[0]; !v.Cut && !bytes.HasPrefix(value, v.Bytes) || bytes.HasPrefix(v.Bytes, []byte("k8s:enc:")) && !v.Cut {
		t.Fatalf("cut: %v, %d bytes of %d", v.Cut, len(v.Bytes), len(value))
	}
}

// TestBareEnds: without a header the end is known of what holds its own.
func TestBareEnds(t *testing.T) {
	for _, c := range vectors.Load(t) {
		whole := map[string]bool{"identity-protobuf": true, "identity-json": true, "identity-cbor": true, "key-master-lease": true}[c.File]
		_, bare := enough(c.Value)
		if bare == 0 {
			continue
		}
		got := find(slices.Concat([]byte("\x00"), c.Value, make([]byte, 100)))
		if len(got) != 1 {
			t.Fatalf("%s: found %d", c.File, len(got))
		}
		if whole && (got[0].Cut || string(got[0].Bytes) != strings.TrimSuffix(string(c.Value), "\n")) {
			t.Errorf("%s: cut %v, %d of %d bytes", c.File, got[0].Cut, len(got[0].Bytes), len(c.Value))
		}
		if c.Headers["expect-provider"] != "identity" && !got[0].Cut {
			t.Errorf("%s: the end of ciphertext is not known", c.File)
		}
	}
}
