package live_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
)

// startOldEtcd runs the etcd 3.4 that make test puts into bin. Without one the test is skipped, but not in CI.
func startOldEtcd(t *testing.T) (endpoint string, client *clientv3.Client) {
	t.Helper()
	binary, err := filepath.Abs("../../../bin/etcd-3.4")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v: make bin/etcd-3.4 gets it from Debian's packages", err)
		}
		t.Skip("no etcd 3.4 in bin: make bin/etcd-3.4 gets it where the system's packages have it")
	}
	endpoint, peer := "http://"+freeAddress(t), "http://"+freeAddress(t)
	cmd := exec.Command(binary, "--data-dir", t.TempDir(), "--listen-client-urls", endpoint, "--advertise-client-urls", endpoint,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	client, err = clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop(), DialTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return endpoint, client
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestReadFromEtcdWithoutRangeStream(t *testing.T) {
	endpoint, client := startOldEtcd(t)
	var want []string
	for i := range 60 {
		var ops []clientv3.Op
		for j := range 100 {
			k := fmt.Sprintf("/registry/secrets/ns-%02d/name-%03d", i, j)
			want = append(want, k)
			ops = append(ops, clientv3.OpPut(k, strings.Repeat("v", 1100)))
		}
		if _, err := client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, live.Config{Endpoints: []string{endpoint}, DialTimeout: 20 * time.Second})
	r := etcdscan.Prefix("/registry/")
	pin, err := s.Pin(t.Context(), r, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(t.Context(), "/registry/secrets/ns-59/zzz", "after the pin"); err != nil {
		t.Fatal(err)
	}
	keys, _, err := read(t, s, r, pin.Revision)
	if err != nil || !slices.Equal(keys, want) {
		t.Errorf("read %d keys of %d: %v", len(keys), len(want), err)
	}
	health, err := s.Health(t.Context())
	if err != nil || !strings.HasPrefix(health.Version, "3.4.") || health.Quota != 0 || health.DBSize == 0 {
		t.Errorf("Health = %+v, %v", health, err)
	}
	if _, err := client.Compact(t.Context(), pin.Revision+1); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, s, r, pin.Revision); !errors.Is(err, etcdscan.ErrCompacted) {
		t.Errorf("a compacted revision: %v", err)
	}
}
