// Package etcdtest starts a real etcd inside a test. It is imported by tests alone.
package etcdtest

import (
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// Server is a running etcd of one member with a client that may write, for setting up what a test looks at.
type Server struct {
	Endpoint string
	Client   *clientv3.Client
	Etcd     *embed.Etcd
	stop     sync.Once
}

// Stop ends etcd before the test does, so that its files can be looked at.
func (s *Server) Stop() {
	s.stop.Do(func() {
		s.Client.Close()
		s.Etcd.Close()
	})
}

// Start runs etcd on unix sockets until the test ends. Change alters its configuration.
func Start(t testing.TB, change ...func(*embed.Config)) *Server {
	t.Helper()
	// Not t.TempDir: the path of a unix socket is limited to about 100 bytes.
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(dir, "data")
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.UnsafeNoFsync = true
	clientURL := url.URL{Scheme: "unix", Path: filepath.Join(dir, "client:1")}
	peerURL := url.URL{Scheme: "unix", Path: filepath.Join(dir, "peer:1")}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{clientURL}, []url.URL{clientURL}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peerURL}, []url.URL{peerURL}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	for _, f := range change {
		f(cfg)
	}
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Etcd: etcd}
	select {
	case <-etcd.Server.ReadyNotify():
	case <-time.After(30 * time.Second):
		etcd.Close()
		t.Fatal("etcd did not become ready in 30 s")
	}
	s.Endpoint = cfg.ListenClientUrls[0].String()
	s.Client, err = clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint}, Logger: zap.NewNop()})
	if err != nil {
		etcd.Close()
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Put writes one key and returns its revision.
func (s *Server) Put(t testing.TB, key, value string) int64 {
	t.Helper()
	resp, err := s.Client.Put(t.Context(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

// Revision is the newest revision.
func (s *Server) Revision(t testing.TB) int64 {
	t.Helper()
	resp, err := s.Client.Get(t.Context(), "no-such-key")
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}
