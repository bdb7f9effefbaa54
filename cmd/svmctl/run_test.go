package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
)

// result is what one call of the program left behind.
type result struct {
	code     int
	out, err string
}

// call runs the program in this process. Terminal says what its streams pretend to be.
func call(ctx context.Context, terminal bool, env map[string]string, args ...string) result {
	return callOn(ctx, nil, terminal, env, args...)
}

// callOn is call on a machine with these files.
func callOn(ctx context.Context, host fs.FS, terminal bool, env map[string]string, args ...string) result {
	var out, errOut bytes.Buffer
	code := run(ctx, args, streams{
		in: strings.NewReader(""), out: &out, err: &errOut, inTerminal: terminal, outTerminal: terminal, errTerminal: terminal,
	}, func(name string) (string, bool) { v, ok := env[name]; return v, ok }, host)
	return result{code, out.String(), errOut.String()}
}

func TestColour(t *testing.T) {
	server := etcdtest.Start(t)
	server.Put(t, "/registry/secrets/ns/a", sealed("aescbc:v1:key1"))
	for _, c := range []struct {
		name     string
		terminal bool
		env      map[string]string
		flags    []string
		colour   bool
	}{
		{"a terminal", true, nil, nil, true},
		{"a terminal and NO_COLOR", true, map[string]string{"NO_COLOR": "1"}, nil, false},
		{"a terminal and --color never", true, nil, []string{"--color", "never"}, false},
		{"a terminal, NO_COLOR and --color always", true, map[string]string{"NO_COLOR": "1"}, []string{"--color", "always"}, true},
		{"a pipe", false, nil, nil, false},
		{"a pipe and --color always", false, nil, []string{"--color", "always"}, true},
		{"JSON on a terminal", true, nil, []string{"-o", "json"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := call(t.Context(), c.terminal, c.env, append([]string{"audit", "--endpoints", server.Endpoint, "--expect", "secrets=aescbc:key2"}, c.flags...)...)
			if r.code != exitIncomplete {
				t.Errorf("exit status %d: %s", r.code, r.err)
			}
			if colour := strings.Contains(r.out, "\x1b["); colour != c.colour {
				t.Errorf("coloured: %v, want %v", colour, c.colour)
			}
		})
	}
}

// A report that cannot be written is no report.
func TestClosedOutputIsAnError(t *testing.T) {
	server := etcdtest.Start(t)
	server.Put(t, "/registry/secrets/ns/a", sealed("aescbc:v1:key1"))
	for _, format := range []string{"table", "wide", "json", "yaml", "csv"} {
		var errOut bytes.Buffer
		code := run(t.Context(), []string{"audit", "--endpoints", server.Endpoint, "-o", format, "--expect", "secrets=aescbc:key1"},
			streams{in: strings.NewReader(""), out: fullDisk{}, err: &errOut}, func(string) (string, bool) { return "", false }, nil)
		if code != exitFailed || !strings.Contains(errOut.String(), "svmctl: error: writing the report: the disk is full") {
			t.Errorf("%s: exit status %d, %q", format, code, errOut.String())
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

var _ io.Writer = fullDisk{}

// waiting is an etcd that takes a request, says so, and never answers.
type waiting struct {
	etcdserverpb.UnimplementedKVServer
	asked chan struct{}
}

func (w waiting) Range(ctx context.Context, _ *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	select {
	case w.asked <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestInterrupted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	etcd := waiting{asked: make(chan struct{}, 1)}
	server := grpc.NewServer()
	etcdserverpb.RegisterKVServer(server, etcd)
	go server.Serve(l)
	defer server.Stop()
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			cmd := exec.Command("svmctl", "audit", "--endpoints", "http://"+l.Addr().String(), "--etcd-dial-timeout", "1m")
			var out, errOut bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errOut
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-etcd.asked:
			case <-time.After(20 * time.Second):
				cmd.Process.Kill()
				t.Fatal("svmctl asked nothing")
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || errOut.String() != "svmctl: error: interrupted\n" || out.Len() > 0 {
				t.Errorf("exit status %d, stdout %q, stderr %q", code, out.String(), errOut.String())
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %v to end", took)
			}
		})
	}
}
