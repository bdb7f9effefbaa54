// Package live reads a running etcd at one pinned revision. It is the only package that talks to etcd, and it never
// writes: it holds a client narrowed to reading, never calls Put, Delete, Txn or Compact, and takes no lease.
package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/grpclog"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

const (
	// defaultTimeout bounds one unary request, and the silence between two chunks of a stream.
	defaultTimeout = 15 * time.Second
	// defaultPatience bounds how long a request is tried again.
	defaultPatience = 30 * time.Second
	// introduction bounds the wait for each member to say which cluster it belongs to.
	introduction = time.Second
	// defaultDialTimeout bounds the wait for the first answer of any endpoint.
	defaultDialTimeout = 5 * time.Second
	// maxMessage bounds one answer in bytes, and with it the memory of a page: etcd refuses values of more than 1.5 MiB
	// unless --max-request-bytes says otherwise.
	maxMessage = 64 << 20
)

// contactKey is asked for where the answer's header is all that is wanted. It lies under the default storage root
// because credentials may be limited to that.
const contactKey = "/registry/svmctl"

// getter is the part of clientv3.KV that a reader may use.
type getter interface {
	Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error)
	GetStream(ctx context.Context, key string, opts ...clientv3.OpOption) (clientv3.GetStreamChan, error)
}

// inspector is the part of clientv3.Maintenance that a reader may use.
type inspector interface {
	Status(ctx context.Context, endpoint string) (*clientv3.StatusResponse, error)
	AlarmList(ctx context.Context) (*clientv3.AlarmResponse, error)
	SnapshotWithVersion(ctx context.Context) (*clientv3.SnapshotResponse, error)
}

// Store is a running etcd, or kine. It is safe for concurrent use.
type Store struct {
	kv          getter
	watch       watcher
	maintenance inspector
	members     registry
	close       func() error
	endpoints   []string
	timeout     time.Duration
	patience    time.Duration
	pageBytes   int
	stream      streamSupport
	cluster     clusterGuard
	kine        kineState
}

// Open prepares the client and waits until one endpoint answers, for at most the dial timeout. No request that could
// change anything is sent.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, ErrNoEndpoints
	}
	tlsConfig, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	password, err := cfg.password()
	if err != nil {
		return nil, err
	}
	dialTimeout := cfg.DialTimeout
	if dialTimeout == 0 {
		dialTimeout = defaultDialTimeout
	}
	if err := probe(ctx, cfg.Endpoints, tlsConfig, dialTimeout); err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: cfg.Endpoints, TLS: tlsConfig, Username: cfg.User, Password: password,
		DialTimeout: dialTimeout, DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 10 * time.Second,
		MaxCallRecvMsgSize: maxMessage,
		Logger:             zap.NewNop(), Context: context.WithoutCancel(ctx),
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to etcd: %w", classifyError(err))
	}
	s := &Store{
		kv: client.KV, watch: client.Watcher, maintenance: client.Maintenance, members: client.Cluster, close: client.Close,
		endpoints: cfg.Endpoints, timeout: cfg.Timeout, patience: cfg.Patience, pageBytes: cfg.MaxPageBytes,
	}
	if s.patience == 0 {
		s.patience = defaultPatience
	}
	if s.timeout == 0 {
		s.timeout = min(defaultTimeout, s.patience)
	}
	if s.pageBytes == 0 {
		s.pageBytes = 2 << 20
	}
	if cfg.ForcePaging {
		s.stream.deny()
	}
	if err := s.firstContact(ctx, dialTimeout); err != nil {
		client.Close()
		return nil, fmt.Errorf("connecting to etcd: %w", plainOverTLS(ctx, cfg.Endpoints, err))
	}
	if err := s.introduce(ctx); err != nil {
		client.Close()
		return nil, err
	}
	if s.Kine() && len(s.endpoints) > 1 {
		client.Close()
		return nil, ErrSeveralKine
	}
	return s, nil
}

// introduce asks every endpoint for its cluster. Requests go to any of them, and an answer of another cluster than the
// first one's would be noticed only if requests happened to reach both. Who does not answer soon is noticed later.
func (s *Store) introduce(ctx context.Context) error {
	if len(s.endpoints) < 2 {
		return nil
	}
	ctx, done := context.WithTimeout(ctx, introduction)
	defer done()
	statuses, cancel := s.statuses(ctx)
	defer cancel()
	for range s.endpoints {
		st := <-statuses
		if st.err == nil && errors.Is(s.cluster.check(st.Header), ErrMixedClusters) {
			return ErrMixedClusters
		}
	}
	return nil
}

// firstContact tells a server that cannot be reached from one that can, whatever the credentials may then read.
func (s *Store) firstContact(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := s.kv.Get(ctx, contactKey, clientv3.WithCountOnly())
	if err = classifyError(err); errors.Is(err, etcdscan.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.meet(resp)
}

// SilenceTransport keeps gRPC from logging to stderr, for the whole process. It is to be called before anything else.
func SilenceTransport() {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
}

// Close ends the connections.
func (s *Store) Close() error { return s.close() }

// Endpoints are those the store was opened with.
func (s *Store) Endpoints() []string { return s.endpoints }

// Pin implements etcdscan.Source.
func (s *Store) Pin(ctx context.Context, r etcdscan.Range, revision int64) (etcdscan.Pin, error) {
	if s.Kine() {
		return s.pinKine(ctx, revision)
	}
	// The header is all that is wanted. One key brings it, where etcd would walk its index to count a range.
	at := etcdscan.Key(r.Start)
	resp, err := s.get(ctx, at, clientv3.WithCountOnly())
	if err != nil {
		return etcdscan.Pin{}, err
	}
	pin := etcdscan.Pin{Revision: resp.Header.Revision, ClusterID: resp.Header.ClusterId}
	switch {
	case revision > pin.Revision:
		return etcdscan.Pin{}, fmt.Errorf("revision %d: %w (the newest is %d)", revision, etcdscan.ErrFutureRevision, pin.Revision)
	case revision > 0:
		if _, err := s.get(ctx, at, clientv3.WithCountOnly(), clientv3.WithRev(revision)); err != nil {
			return etcdscan.Pin{}, fmt.Errorf("revision %d: %w", revision, err)
		}
		pin.Revision = revision
	}
	return pin, nil
}

// Count implements etcdscan.Source.
func (s *Store) Count(ctx context.Context, r etcdscan.Range, revision int64) (int64, error) {
	if s.Kine() {
		return s.countKineRange(ctx, r, revision)
	}
	resp, err := s.get(ctx, r, clientv3.WithCountOnly(), clientv3.WithRev(revision))
	if err != nil {
		return 0, err
	}
	return resp.Count, nil
}

// First implements etcdscan.Source.
func (s *Store) First(ctx context.Context, r etcdscan.Range, revision int64) (string, bool, error) {
	if s.Kine() {
		return s.firstOfKine(ctx, r, revision)
	}
	resp, err := s.get(ctx, r, clientv3.WithKeysOnly(), clientv3.WithLimit(1), clientv3.WithRev(revision))
	if err != nil {
		return "", false, err
	}
	if len(resp.Kvs) == 0 {
		return "", false, nil
	}
	return string(resp.Kvs[0].Key), true, nil
}

// Revision is the newest revision of the store, read linearizably.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	if s.Kine() {
		return s.newestOfKine(ctx)
	}
	resp, err := s.get(ctx, etcdscan.Key(contactKey), clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

// Look reads one key as it is now, linearizably; found is false when there is none.
func (s *Store) Look(ctx context.Context, k string) (kv etcdscan.KeyValue, found bool, err error) {
	if s.Kine() {
		return s.lookKine(ctx, k)
	}
	resp, err := s.get(ctx, etcdscan.Key(k))
	if err != nil || len(resp.Kvs) == 0 {
		return etcdscan.KeyValue{}, false, err
	}
	return keyValue(resp.Kvs[0]), true, nil
}

// get sends one linearizable range request and retries it while that is of use.
func (s *Store) get(ctx context.Context, r etcdscan.Range, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	start, opts := rangeOptions(r, opts)
	return s.request(ctx, start, opts...)
}

func (s *Store) request(ctx context.Context, start string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	var resp *clientv3.GetResponse
	err := s.retry(ctx, func() error {
		var err error
		resp, err = s.send(ctx, start, opts...)
		return err
	})
	return resp, err
}

// send is one attempt.
func (s *Store) send(ctx context.Context, start string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	resp, err := s.kv.Get(ctx, start, opts...)
	if err != nil {
		return nil, err
	}
	return resp, s.cluster.check(resp.Header)
}

// rangeOptions turns a range into etcd's terms, where "\x00" as the end means no upper bound and an empty key is none.
func rangeOptions(r etcdscan.Range, opts []clientv3.OpOption) (string, []clientv3.OpOption) {
	end := r.End
	if end == "" {
		end = "\x00"
	}
	start := r.Start
	if start == "" {
		start = "\x00"
	}
	return start, append(opts[:len(opts):len(opts)], clientv3.WithRange(end))
}

func keyValue(kv *mvccpb.KeyValue) etcdscan.KeyValue {
	return etcdscan.KeyValue{
		Key: string(kv.Key), Value: kv.Value,
		CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version, Lease: kv.Lease,
	}
}

var _ etcdscan.Source = (*Store)(nil)
