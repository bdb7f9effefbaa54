package main

import (
	"context"
	"net"

	"github.com/rogpeppe/go-internal/testscript"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
)

// emptyHeader answers as kine does, whose header names no cluster. No etcd produces that.
type emptyHeader struct {
	etcdserverpb.UnimplementedKVServer
}

func (emptyHeader) Range(_ context.Context, r *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	resp := &etcdserverpb.RangeResponse{Header: &etcdserverpb.ResponseHeader{Revision: 7}, Count: 1}
	if !r.CountOnly {
		resp.Kvs = []*mvccpb.KeyValue{{Key: []byte("/registry/secrets/ns/a"), Value: []byte("CANARY"), ModRevision: 7}}
	}
	return resp, nil
}

// unresponsive takes requests and never answers one.
type unresponsive struct {
	etcdserverpb.UnimplementedKVServer
}

func (unresponsive) Range(ctx context.Context, _ *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// startKine sets $ETCD to a store with empty headers.
func startKine(ts *testscript.TestScript, _ bool, _ []string) { serve(ts, emptyHeader{}) }

// startSilent sets $ETCD to a store that never answers.
func startSilent(ts *testscript.TestScript, _ bool, _ []string) { serve(ts, unresponsive{}) }

func serve(ts *testscript.TestScript, kv etcdserverpb.KVServer) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	server := grpc.NewServer()
	etcdserverpb.RegisterKVServer(server, kv)
	go server.Serve(l)
	ts.Defer(server.Stop)
	ts.Setenv("ETCD", "http://"+l.Addr().String())
}
