// Playground runs a real Kubernetes control plane on one machine, and is itself each of the
// programs that the plane is made of. It is for development and demonstration, not for production.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/svmctl/svmctl/playground/command"
	"github.com/svmctl/svmctl/playground/program"
)

func main() {
	os.Exit(run())
}

func run() int {
	if len(os.Args) > 1 {
		if start, ok := program.Lookup(os.Args[1]); ok {
			// The programs read os.Args themselves, and expect their own name in front.
			os.Args = os.Args[1:]
			return start()
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return command.Run(ctx, program.Names(), os.Args[1:], os.Stdout, os.Stderr)
}
