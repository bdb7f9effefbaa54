package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// plane is a playground that lives as long as one table is measured.
type plane struct {
	dir        string
	playground string
	svmctl     string
	env        []string
}

// startPlane starts a playground in a fresh directory. prepare, if set, may put files there and name further flags.
func startPlane(ctx context.Context, bin string, prepare func(dir string) ([]string, error)) (_ *plane, err error) {
	dir, err := os.MkdirTemp("", "svmctl-bench-")
	if err != nil {
		return nil, fmt.Errorf("preparing a directory: %w", err)
	}
	p := &plane{dir: dir, playground: filepath.Join(bin, "playground"), svmctl: filepath.Join(bin, "svmctl")}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	var flags []string
	if prepare != nil {
		if flags, err = prepare(dir); err != nil {
			return nil, err
		}
	}
	args := append([]string{"up", "--detach", "--dir", p.state()}, flags...)
	if _, _, err := measure(ctx, os.Environ(), p.playground, args...); err != nil {
		return nil, err
	}
	p.env, err = readEnv(filepath.Join(p.state(), "env"))
	return p, err
}

func (p *plane) state() string { return filepath.Join(p.dir, "plane") }

// close stops the playground, also when the run was interrupted.
func (p *plane) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := os.Stat(p.state()); err == nil {
		if out, err := exec.CommandContext(ctx, p.playground, "down", "--dir", p.state()).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "bench: stopping the playground: %v: %s\n", err, tail(string(out)))
		}
	}
	os.RemoveAll(p.dir)
}

// as is the environment with the kubeconfig of a user of the playground.
func (p *plane) as(user string) []string {
	return append(p.env[:len(p.env):len(p.env)], "KUBECONFIG="+filepath.Join(p.state(), "kubeconfig-"+user))
}

// readEnv reads the lines "export NAME=VALUE" and puts them behind the environment, less what could get in their way.
func readEnv(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the playground's variables: %w", err)
	}
	defer f.Close()
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ETCDCTL_") && !strings.HasPrefix(v, "KUBECONFIG=") {
			env = append(env, v)
		}
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "export "); ok {
			env = append(env, strings.ReplaceAll(v, "'", ""))
		}
	}
	return env, lines.Err()
}

// versions names what was measured.
func versions(ctx context.Context, bin string) (string, error) {
	svmctl, _, err := measure(ctx, os.Environ(), filepath.Join(bin, "svmctl"), "version")
	if err != nil {
		return "", err
	}
	kubernetes, _, err := measure(ctx, os.Environ(), filepath.Join(bin, "playground"), "kubectl", "version", "--client")
	if err != nil {
		return "", err
	}
	etcd, _, err := measure(ctx, os.Environ(), filepath.Join(bin, "playground"), "etcdctl", "version")
	if err != nil {
		return "", err
	}
	_, kube, _ := strings.Cut(firstLine(kubernetes), ": ")
	_, etcdVersion, _ := strings.Cut(firstLine(etcd), ": ")
	return fmt.Sprintf("%s, Kubernetes %s, etcd %s", firstLine(svmctl), kube, etcdVersion), nil
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}
