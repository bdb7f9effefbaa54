package wal

import (
	"slices"
	"testing"
	"testing/fstest"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func putOp(key, value string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(key), Value: []byte(value)}}}
}

func txnOp(txn *pb.TxnRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: txn}}
}

func nested(depth int) *pb.InternalRaftRequest {
	txn := &pb.TxnRequest{Success: []*pb.RequestOp{putOp("k", "v")}}
	for range depth - 1 {
		txn = &pb.TxnRequest{Failure: []*pb.RequestOp{txnOp(txn)}}
	}
	return &pb.InternalRaftRequest{Txn: txn}
}

// requests are those that etcd's own types can tell.
func requests() map[string]*pb.InternalRaftRequest {
	return map[string]*pb.InternalRaftRequest{
		"a put":    {Header: &pb.RequestHeader{ID: 1, Username: "root"}, Put: &pb.PutRequest{Key: []byte("k"), Value: []byte("v"), Lease: 7, PrevKv: true}},
		"no value": {ID: 1, Put: &pb.PutRequest{Key: []byte("k"), IgnoreValue: true}},
		"both branches": {Txn: &pb.TxnRequest{
			Compare: []*pb.Compare{{Key: []byte("c"), Target: pb.Compare_VALUE, TargetUnion: &pb.Compare_Value{Value: []byte("old")}}},
			Success: []*pb.RequestOp{putOp("a", "1"), {Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte("d")}}}, putOp("b", "2")},
			Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("r")}}}, putOp("c", "3"), txnOp(&pb.TxnRequest{Success: []*pb.RequestOp{putOp("e", "4")}, Failure: []*pb.RequestOp{putOp("f", "5")}})},
		}},
		"the deepest":  nested(maxTxnNesting),
		"a delete":     {DeleteRange: &pb.DeleteRangeRequest{Key: []byte("k")}},
		"a compaction": {Compaction: &pb.CompactionRequest{Revision: 5}},
		"a user":       {AuthUserAdd: &pb.AuthUserAddRequest{Name: "n", Password: "p"}},
	}
}

func marshal(t testing.TB, request *pb.InternalRaftRequest) []byte {
	t.Helper()
	b, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRequests(t *testing.T) {
	for name, request := range requests() {
		t.Run(name, func(t *testing.T) {
			log := fstest.MapFS{segmentA: {Data: newSegment(0).entry(normalEntry, 9, marshal(t, request)).out}}
			got, state := compare(t, log)
			if want := flatten(9, request); !state.Complete() || !slices.Equal(got, want) {
				t.Errorf("%v, want %v: %+v", got, want, state)
			}
			if state.LastIndex != 9 {
				t.Errorf("%+v", state)
			}
		})
	}
}

// TestOtherEntries have no puts in them, and are no damage either.
func TestOtherEntries(t *testing.T) {
	put := marshal(t, requests()["a put"])
	text := func(b []byte, number protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), s)
	}
	v2 := text(text(text([]byte{8, 1}, 2, "PUT"), 3, "/0/version"), 4, "3.4.0")
	w := newSegment(0)
	w.entry(normalEntry, 1, nil)
	w.entry(1, 2, put).entry(2, 3, put) // changes of the membership
	w.entry(normalEntry, 4, v2)
	w.entry(normalEntry, 5, text(nil, 2, string(v2))) // as later releases wrap it
	w.entry(normalEntry, 6, text(put, 2000, "of a later release"))
	w.record(stateType, []byte{8, 1, 16, 2, 24, 5})
	writes, state := readFS(t, fstest.MapFS{segmentA: {Data: w.out}})
	if !slices.Equal(writes, []write{{6, "k", "v"}}) || !state.Complete() || state.LastIndex != 6 || state.Commit != 5 {
		t.Errorf("%v, %+v", writes, state)
	}
}

// TestMalformedRequests: none of the puts of a request are told that cannot be decoded to its end.
func TestMalformedRequests(t *testing.T) {
	put := marshal(t, requests()["a put"])
	bytesField := func(number protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), b)
	}
	for name, request := range map[string][]byte{
		"cut short":          put[:len(put)-1],
		"a put, then noise":  append(slices.Clip(put), 0xff),
		"noise in a put":     slices.Concat(put, bytesField(requestPut, []byte{0xff})),
		"noise in a txn":     slices.Concat(put, bytesField(requestTxn, []byte{0xff})),
		"noise in an op":     slices.Concat(put, bytesField(requestTxn, bytesField(txnSuccess, []byte{0xff}))),
		"nested too deeply":  slices.Concat(put, marshal(t, nested(maxTxnNesting+1))),
		"nested 10000 times": marshal(t, nested(9_999)),
		"field number 0":     {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			writes, state := readFS(t, fstest.MapFS{segmentA: {Data: newSegment(0).entry(normalEntry, 9, request).out}})
			if len(writes) > 0 || len(state.Damage) != 1 || state.Damage[0].Cause != BadEntry || len(state.Rest) != 1 || state.LastIndex != 0 {
				t.Errorf("%d puts, %+v", len(writes), state)
			}
		})
	}
}
