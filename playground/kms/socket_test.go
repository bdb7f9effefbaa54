package kms

import (
	"net"
	"os"
	"strings"
	"testing"
)

func TestSocketOfADeadPluginIsReplaced(t *testing.T) {
	path := socketPath(t)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "somebody does already") {
		t.Errorf("error is %v", err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	listener, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket is %v, %v", info, err)
	}
	listener.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestPathsThatAreNoSocket(t *testing.T) {
	file := socketPath(t)
	if err := os.WriteFile(file, []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("error is %v", err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != canary {
		t.Errorf("file is %q, %v", data, err)
	}
	if _, err := Listen("/tmp/" + strings.Repeat("x", 103)); err == nil || !strings.Contains(err.Error(), "may have 107 bytes, and this one has 108") {
		t.Errorf("error is %v", err)
	}
}
