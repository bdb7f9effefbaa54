package netns

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inside runs do on a thread in a namespace of its own, which ends with it.
func inside(t *testing.T, do func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			do()
		}
		done <- err
	}()
	if err := <-done; errors.Is(err, unix.EPERM) {
		t.Skip("only root may make a network namespace")
	} else if err != nil {
		t.Fatal(err)
	}
}

func TestAddressesAreThereAndNothingElseIs(t *testing.T) {
	inside(t, func() {
		if err := SetUp([]string{"10.250.0.11", "10.250.0.12"}); err != nil {
			t.Error(err)
			return
		}
		for _, ip := range []string{"127.0.0.1", "10.250.0.11", "10.250.0.12"} {
			listener, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
			if err != nil {
				t.Errorf("listening on %s: %v", ip, err)
				continue
			}
			connection, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Errorf("dialling %s: %v", ip, err)
			} else {
				connection.Close()
			}
			listener.Close()
		}
		// Neither a neighbour nor the world: there is no route, and so no waiting either.
		for _, ip := range []string{"10.250.0.13", "192.0.2.1"} {
			if _, err := net.Dial("tcp", net.JoinHostPort(ip, "1")); !errors.Is(err, unix.ENETUNREACH) {
				t.Errorf("dialling %s: %v, want no route", ip, err)
			}
		}
		if err := SetUp(nil); !errors.Is(err, errSetUp) {
			t.Errorf("set up once more: %v", err)
		}
	})
}

func TestNamespaceInUseIsNotTouched(t *testing.T) {
	before, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	if err := SetUp([]string{"10.250.0.11"}); !errors.Is(err, errSetUp) {
		t.Errorf("setting up the machine's own namespace: %v", err)
	}
	after, err := net.InterfaceAddrs()
	if err != nil || len(after) != len(before) {
		t.Errorf("addresses were %v and are %v (%v)", before, after, err)
	}
}

// TestPrograms runs this very test binary as the program that ExecNew and ExecIn become.
func TestPrograms(t *testing.T) {
	const what = "NETNS_TEST"
	switch value := os.Getenv(what); value {
	case "":
	case "new":
		t.Fatal(ExecNew("/bin/readlink", []string{"readlink", "/proc/self/ns/net"}, nil))
	default:
		pid, err := strconv.Atoi(value)
		if err != nil {
			t.Fatal(err)
		}
		t.Fatal(ExecIn(pid, "/bin/readlink", []string{"readlink", "/proc/self/ns/net"}, nil))
	}
	machine, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	sleeper := exec.Command("sleep", "1000")
	New(sleeper)
	if err := sleeper.Start(); errors.Is(err, unix.EPERM) {
		t.Skip("only root may make a network namespace")
	} else if err != nil {
		t.Fatal(err)
	}
	defer sleeper.Wait()
	defer sleeper.Process.Kill()
	become := func(value string) string {
		t.Helper()
		cmd := exec.Command(os.Args[0], "-test.run=^TestPrograms$")
		cmd.Env = append(os.Environ(), what+"="+value)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "net:[") {
			t.Fatalf("%s: %v: %s", value, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := become("new"); got == machine {
		t.Error("the program runs in the namespace of the machine")
	}
	want, err := os.Readlink("/proc/" + strconv.Itoa(sleeper.Process.Pid) + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if got := become(strconv.Itoa(sleeper.Process.Pid)); got != want || got == machine {
		t.Errorf("the program runs in %s, want %s of the sleeper, not %s of the machine", got, want, machine)
	}
}
