// Command svmctl audits how Kubernetes objects lie in etcd, has stale ones rewritten through the apiserver, and proves
// from etcd that it is done.
package main

import (
	"context"
	"io"
	"io/fs"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"golang.org/x/term"
	"k8s.io/klog/v2"

	"github.com/svmctl/svmctl/internal/etcdscan/live"
)

// version is set at link time.
var version = "dev"

func main() {
	// Libraries log to stderr, which is for lines of svmctl's own, and might quote what they were sent.
	klog.SetLogger(logr.Discard())
	live.SilenceTransport()
	log.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	std := streams{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		inTerminal:  term.IsTerminal(int(os.Stdin.Fd())),
		outTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		errTerminal: term.IsTerminal(int(os.Stderr.Fd())),
	}
	code := run(ctx, os.Args[1:], std, os.LookupEnv, os.DirFS("/"))
	os.Exit(code)
}

// streams are what a command reads from and writes to.
type streams struct {
	in                                   io.Reader
	out, err                             io.Writer
	inTerminal, outTerminal, errTerminal bool
}

// run is the whole program but for signals and exit.
func run(ctx context.Context, args []string, io streams, env func(string) (string, bool), host fs.FS) int {
	root := newRootCommand(io, env, host)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if ctx.Err() != nil && err != nil {
		err = interrupted(err)
	}
	return report(io.err, err)
}
