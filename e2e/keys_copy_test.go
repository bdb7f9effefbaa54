package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"testing"
	"time"
)

// copyEtcd runs an etcd on a copy of this one's data, as one that was left running when its cluster moved to a restored one, and
// returns its URL.
func (p *plane) copyEtcd(t *testing.T) string {
	t.Helper()
	dir := p.memberFiles(t)
	clients, peers := "http://"+freePort(t), "http://"+freePort(t)
	cmd := exec.Command(playgroundBinary(t), "etcd", "--data-dir", dir, "--force-new-cluster",
		"--listen-client-urls", clients, "--advertise-client-urls", clients, "--listen-peer-urls", peers)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		_ = cmd.Wait()
	})
	await(t, 20*time.Second, "the copy of etcd to be well", func(context.Context) (bool, string) {
		response, err := http.Get(clients + "/health")
		if err == nil {
			response.Body.Close()
		}
		return err == nil && response.StatusCode == http.StatusOK, fmt.Sprint(err)
	})
	return clients
}

// freePort is a loopback address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
