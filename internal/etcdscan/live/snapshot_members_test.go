package live

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// members is an etcd at revision 100 whose members are wherever a test has them.
type members struct {
	getter
	inspector
	revision func(endpoint string) (int64, error)
	content  []byte
	refusals int64
	opened   atomic.Int64
}

func (m *members) Get(context.Context, string, ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	return &clientv3.GetResponse{Header: &etcdserverpb.ResponseHeader{ClusterId: 1, Revision: 100}}, nil
}

func (m *members) Status(_ context.Context, endpoint string) (*clientv3.StatusResponse, error) {
	revision, err := m.revision(endpoint)
	if err != nil {
		return nil, err
	}
	return &clientv3.StatusResponse{Header: &etcdserverpb.ResponseHeader{ClusterId: 1, Revision: revision}}, nil
}

func (m *members) SnapshotWithVersion(context.Context) (*clientv3.SnapshotResponse, error) {
	if m.opened.Add(1) <= m.refusals {
		return nil, status.Error(codes.Unavailable, "etcdserver: server stopped")
	}
	return &clientv3.SnapshotResponse{Snapshot: io.NopCloser(bytes.NewReader(m.content))}, nil
}

func (m *members) store() *Store {
	return &Store{kv: m, maintenance: m, endpoints: []string{"a", "b"}, timeout: 10 * time.Second, patience: 30 * time.Second}
}

func sealed(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}

func TestSnapshotIsNotOfAMemberThatLags(t *testing.T) {
	down := status.Error(codes.Unavailable, "down")
	for name, tt := range map[string]struct {
		b    func(since time.Duration) (int64, error)
		want error
	}{
		"none lags":        {func(time.Duration) (int64, error) { return 101, nil }, nil},
		"one is down":      {func(time.Duration) (int64, error) { return 0, down }, nil},
		"one catches up":   {func(d time.Duration) (int64, error) { return 99 + int64(d/(5*time.Second)), nil }, nil},
		"one stays behind": {func(time.Duration) (int64, error) { return 99, nil }, ErrLagging},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				m := &members{content: sealed(make([]byte, 8192)), revision: func(endpoint string) (int64, error) {
					if endpoint == "a" {
						return 100, nil
					}
					return tt.b(time.Since(start))
				}}
				var w bytes.Buffer
				_, _, err := m.store().Snapshot(t.Context(), &w)
				if !errors.Is(err, tt.want) || (err == nil) != bytes.Equal(w.Bytes(), m.content) {
					t.Errorf("%v, %d bytes", err, w.Len())
				}
				if err != nil && (m.opened.Load() != 0 || time.Since(start) > time.Minute) {
					t.Errorf("opened %d times, %s", m.opened.Load(), time.Since(start))
				}
			})
		})
	}
}

func TestSnapshotOfWrongBytes(t *testing.T) {
	whole := sealed(bytes.Repeat([]byte("page"), 64<<10))
	flipped := bytes.Clone(whole)
	flipped[70_000] ^= 1
	for name, content := range map[string][]byte{
		"flipped": flipped, "cut": whole[:len(whole)-1], "without its digest": whole[:len(whole)-sha256.Size],
		"digest alone": sealed(nil), "less than a digest": []byte("x"), "nothing": nil,
	} {
		t.Run(name, func(t *testing.T) {
			m := &members{content: content, revision: func(string) (int64, error) { return 100, nil }}
			dir := t.TempDir()
			if _, _, err := m.store().SaveSnapshot(t.Context(), filepath.Join(dir, "snap.db")); !errors.Is(err, ErrSnapshotDigest) {
				t.Error(err)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
				t.Errorf("left: %v, %v", entries, err)
			}
		})
	}
}

func TestSnapshotIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &members{content: sealed(make([]byte, 8192)), refusals: 3, revision: func(string) (int64, error) { return 100, nil }}
		if n, _, err := m.store().Snapshot(t.Context(), io.Discard); err != nil || n != int64(len(m.content)) || m.opened.Load() != 4 {
			t.Errorf("%d bytes, opened %d times, %v", n, m.opened.Load(), err)
		}
	})
}
