package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// controlPlaneNode is a tree of files, of which etc and var/lib are a node's.
type controlPlaneNode struct {
	*plane
	tree string
}

// node copies a tree of files that are laid out like a distribution's, for the test to fill in.
func (p *plane) node(t *testing.T, layout string) *controlPlaneNode {
	t.Helper()
	n := &controlPlaneNode{plane: p, tree: filepath.Join(p.dir, layout)}
	if err := os.CopyFS(n.tree, os.DirFS(filepath.Join("..", "internal", "node", "testdata", layout))); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"etc", "var/lib"} {
		if err := os.MkdirAll(filepath.Join(n.tree, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// write puts a file where the node has it.
func (n *controlPlaneNode) write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	file = filepath.Join(n.tree, file)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	os.Remove(file)
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// copy puts a file of the plane where the node has it, for root alone.
func (n *controlPlaneNode) copy(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	n.write(t, to, string(text), 0o600)
}

// change rewrites a file of the node.
func (n *controlPlaneNode) change(t *testing.T, file string, mode os.FileMode, edit func(string) string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.tree, file))
	if err != nil {
		t.Fatal(err)
	}
	n.write(t, file, edit(string(text)), mode)
}

// nobody is a user who may do nothing.
const nobody = "65534"

// svmctl runs without a variable in a mount namespace that has the node's /etc and /var/lib, and in a network namespace which
// leads nowhere but to the plane's etcd, at port 2379, and its apiserver. User is a number, empty for root.
func (n *controlPlaneNode) svmctl(t *testing.T, user string, args ...string) result {
	t.Helper()
	const enter = `mount --bind "$TREE/var/lib" /var/lib && mount --bind "$TREE/etc" /etc && touch /var/lib/svmctl && mount --bind "$SVMCTL" /var/lib/svmctl && unset TREE SVMCTL || exit 99
exec $AS /var/lib/svmctl "$@"`
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-c", enter, "sh"}, args...)...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.home, "TMPDIR=" + n.home, "TREE=" + n.tree, "SVMCTL=" + svmctlBinary(t)}
	if user != "" {
		cmd.Env = append(cmd.Env, "AS=setpriv --reuid="+user+" --regid="+user+" --clear-groups")
	}
	run := &process{p: n.plane, args: args, cmd: cmd, ended: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = &run.stdout, &run.stderr
	failed := make(chan error, 1)
	go func() { failed <- n.apart(cmd) }()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	go func() { run.ended <- cmd.Wait() }()
	result := run.wait(t)
	if result.code == 99 {
		t.Fatalf("no mounts\n%s", result)
	}
	return result
}

// apart starts a command in a network namespace of its own. It ends the thread that it was called on.
func (n *controlPlaneNode) apart(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		return err
	}
	if err := exec.Command("ip", "link", "set", "lo", "up").Run(); err != nil {
		return err
	}
	apiserver := strings.TrimPrefix(n.rest.Host, "https://")
	for at, to := range map[string]string{"127.0.0.1:2379": strings.TrimPrefix(n.variable("ETCDCTL_ENDPOINTS"), "https://"), apiserver: apiserver} {
		listener, err := net.Listen("tcp", at)
		if err != nil {
			return err
		}
		go relayAll(listener, to)
	}
	return cmd.Start()
}
