package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/svmctl/svmctl/playground/supervisor"
)

// requireNamespaces skips the test where no namespaces may be made.
func requireNamespaces(t *testing.T) {
	t.Helper()
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET}
	if err := cmd.Run(); errors.Is(err, fs.ErrPermission) {
		t.Skip("only root may make UTS and network namespaces")
	} else if err != nil {
		t.Fatal(err)
	}
}

// variable is what `up` said to export.
func (d *drive) variable(name string) string {
	d.t.Helper()
	for _, variable := range slices.Backward(d.env) {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	d.t.Fatalf("%s is not exported", name)
	return ""
}

// through calls kubectl with one of the apiservers, counted from 1.
func (d *drive) through(number int, args ...string) string {
	d.t.Helper()
	kubeconfig := filepath.Join(d.dir, fmt.Sprintf("kubeconfig-apiserver-%d", number))
	return d.do(append([]string{"kubectl", "--kubeconfig", kubeconfig}, args...)...)
}

// identities are the hostnames of the identity leases by their names. Each must be alive.
func (d *drive) identities() map[string]string {
	d.t.Helper()
	var leases struct {
		Items []struct {
			Metadata struct {
				Name   string
				Labels map[string]string
			}
			Spec struct{ RenewTime time.Time }
		}
	}
	out := d.do("kubectl", "get", "leases", "-n", "kube-system", "-l", "apiserver.kubernetes.io/identity=kube-apiserver", "-o", "json")
	if err := json.Unmarshal([]byte(out), &leases); err != nil {
		d.t.Fatal(err)
	}
	identities := map[string]string{}
	for _, lease := range leases.Items {
		if age := time.Since(lease.Spec.RenewTime); age > time.Minute {
			d.t.Errorf("lease %s was renewed %s ago", lease.Metadata.Name, age)
		}
		identities[lease.Metadata.Name] = lease.Metadata.Labels["kubernetes.io/hostname"]
	}
	return identities
}

func TestThreeAPIServers(t *testing.T) {
	requireNamespaces(t)
	d := newDrive(t)
	conf := t.TempDir()
	all, third := filepath.Join(conf, "all.yaml"), filepath.Join(conf, "third.yaml")
	writeEncryption(t, all, "key2", "key1")
	writeEncryption(t, third, "key2", "key1")
	d.up("--apiservers", "3", "--without-controller-manager", "--encryption-reload-interval", "200ms",
		"--encryption-provider-config", all, "--encryption-provider-config-of", "kube-apiserver-3="+third)

	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	identities := d.identities()
	hostnames := map[string]bool{}
	for _, hostname := range identities {
		hostnames[hostname] = true
	}
	for _, want := range []string{machine, "kube-apiserver-2", "kube-apiserver-3"} {
		if len(identities) != 3 || !hostnames[want] {
			t.Errorf("identities are %v, want three with %s among them", identities, want)
		}
	}
	servers := strings.Split(d.variable("PLAYGROUND_APISERVERS"), ",")
	for number, server := range servers {
		if out := d.through(number+1, "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"); out != server {
			t.Errorf("the kubeconfig of apiserver %d names %s, want %s", number+1, out, server)
		}
	}
	slices.Sort(servers)
	if len(slices.Compact(servers)) != 3 {
		t.Errorf("servers are %v", servers)
	}

	// writes is the key that an apiserver encrypts with.
	writes := func(number int) string {
		name := fmt.Sprintf("s%d", time.Now().UnixNano())
		d.through(number, "create", "secret", "generic", name)
		value := d.do("etcdctl", "get", "/registry/secrets/default/"+name, "--print-value-only")
		encrypted, _ := strings.CutPrefix(value, "k8s:enc:aescbc:v1:")
		key, _, _ := strings.Cut(encrypted, ":")
		return key
	}
	for number := 1; number <= 3; number++ {
		if got := writes(number); got != "key2" {
			t.Errorf("apiserver %d writes with %s at first", number, got)
		}
	}
	d.do("stop", "kube-apiserver-3")
	writeEncryption(t, third, "key1", "key2")
	d.do("start", "kube-apiserver-3")
	for number, want := range map[int]string{1: "key2", 2: "key2", 3: "key1"} {
		if got := writes(number); got != want {
			t.Errorf("after the third one's start with an older configuration, apiserver %d writes with %s", number, got)
		}
	}
	writeEncryption(t, third, "key2", "key1")
	for deadline := time.Now().Add(20 * time.Second); writes(3) != "key2"; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the third apiserver never reloaded its own configuration")
		}
	}

	d.do("kill", "kube-apiserver-2")
	for _, process := range d.status().Processes {
		want := supervisor.Running
		if process.Name == "kube-apiserver-2" {
			want = supervisor.Stopped
		}
		if process.State != want {
			t.Errorf("%s is %s after the kill of the second apiserver", process.Name, process.State)
		}
	}
	d.through(3, "get", "--raw", "/readyz")
	d.do("start", "kube-apiserver-2")
	d.through(2, "get", "--raw", "/readyz")
	if again := d.identities(); fmt.Sprint(again) != fmt.Sprint(identities) {
		t.Errorf("identities were %v and are %v", identities, again)
	}

	pids := d.pids()
	if len(pids) != 5 {
		t.Errorf("looked for %d processes, want a supervisor, etcd and three apiservers", len(pids))
	}
	d.do("down")
	for _, pid := range pids {
		if d.runs(pid) {
			t.Errorf("process %d outlived down", pid)
		}
	}
}

// inhabitants are the processes in a network namespace, which is as /proc/PID/ns/net names it.
func inhabitants(t *testing.T, namespace string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(links, func(link string) bool {
		target, err := os.Readlink(link)
		return err != nil || target != namespace
	})
}

func TestAPIServersInANamespace(t *testing.T) {
	requireNamespaces(t)
	d := newDrive(t)
	d.up("--netns", "--apiservers", "3", "--without-controller-manager")

	namespace := strings.TrimSpace(d.do("exec", "--", "readlink", "/proc/self/ns/net"))
	if own, err := os.Readlink("/proc/self/ns/net"); err != nil || namespace == own {
		t.Fatalf("a command runs in %s, and this test in %s (%v)", namespace, own, err)
	}
	etcd := strings.TrimPrefix(d.variable("ETCDCTL_ENDPOINTS"), "https://")
	if connection, err := net.Dial("tcp", etcd); err == nil {
		connection.Close()
		t.Errorf("etcd of the namespace answers outside, on %s", etcd)
	}
	d.do("exec", "--", d.bin, "etcdctl", "endpoint", "health")

	announced := func() []string {
		var slice struct {
			Endpoints []struct{ Addresses []string }
			Ports     []struct{ Port int }
		}
		out := d.do("exec", "--", d.bin, "kubectl", "get", "endpointslice", "kubernetes", "-o", "json")
		if err := json.Unmarshal([]byte(out), &slice); err != nil {
			t.Fatal(err)
		}
		var servers []string
		for _, endpoint := range slice.Endpoints {
			for _, address := range endpoint.Addresses {
				for _, port := range slice.Ports {
					servers = append(servers, fmt.Sprintf("https://%s:%d", address, port.Port))
				}
			}
		}
		slices.Sort(servers)
		return servers
	}
	want := strings.Split(d.variable("PLAYGROUND_APISERVERS"), ",")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		got := announced()
		if len(want) == 3 && slices.Equal(got, want) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the EndpointSlice holds %v, want three: %v", got, want)
		}
	}
	for number := 1; number <= 3; number++ {
		kubeconfig := filepath.Join(d.dir, fmt.Sprintf("kubeconfig-apiserver-%d", number))
		kubectl := []string{"exec", "--", d.bin, "kubectl", "--kubeconfig", kubeconfig}
		if out := d.do(append(kubectl, "get", "--raw", "/readyz")...); out != "ok" {
			t.Errorf("apiserver %d says %q", number, out)
		}
		if out := d.do(append(kubectl, "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")...); out != want[number-1] {
			t.Errorf("that was %s, want %s", out, want[number-1])
		}
	}
	var exit *exec.ExitError
	if _, err := d.try("exec", "sh", "-c", "exit 7"); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("the exit status of a command was lost: %v", err)
	}

	if found := inhabitants(t, namespace); len(found) != 5 {
		t.Errorf("in the namespace are %v, want a supervisor, etcd and three apiservers", found)
	}
	d.do("down")
	awaitGone(t, namespace)
}

// awaitGone waits until nobody is in the network namespace, and expects that nothing keeps it.
func awaitGone(t *testing.T, namespace string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := inhabitants(t, namespace)
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("in the namespace are still %v", left)
		}
	}
	// A namespace that has a name, as `ip netns` gives it, is a mount.
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), namespace) {
		t.Errorf("a mount keeps %s", namespace)
	}
}

func TestNamespaceEndsWithItsSupervisor(t *testing.T) {
	requireNamespaces(t)
	for name, signal := range map[string]syscall.Signal{"Ctrl-C": syscall.SIGINT, "a kill": syscall.SIGKILL} {
		d := newDrive(t)
		cmd := d.foreground("--netns", "--etcd-only")
		if pid := d.status().PID; pid != cmd.Process.Pid {
			t.Errorf("the supervisor is %d, not the %d that was started", pid, cmd.Process.Pid)
		}
		namespace := strings.TrimSpace(d.do("exec", "readlink", "/proc/self/ns/net"))
		if len(inhabitants(t, namespace)) != 2 {
			t.Errorf("in %s are %v, want a supervisor and etcd", namespace, inhabitants(t, namespace))
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); (err == nil) != (signal == syscall.SIGINT) {
			t.Errorf("up ended by %s: %v", name, err)
		}
		awaitGone(t, namespace)
	}
}
