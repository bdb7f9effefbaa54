package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/migrate"
	"github.com/svmctl/svmctl/internal/rewrite"
)

var errDeclined = errors.New("declined: nothing was written")

// prompt asks on the terminal. Plans are shown on stderr, whether or not somebody is asked.
type prompt struct {
	*program
	yes    bool
	around func(func() error) error // takes the progress line out of the way
}

func (p *prompt) plan(ctx context.Context, plan *migrate.Plan) error {
	return p.around(func() error {
		if err := render.Plan(p.err, plan); err != nil {
			return err
		}
		if p.yes {
			return nil
		}
		return p.ask(ctx, fmt.Sprintf("Rewrite %s?", render.Count(plan.Stale(), "object")))
	})
}

func (p *prompt) probe(ctx context.Context, r rewrite.Resource, namespace, name string) error {
	return p.around(func() error {
		fmt.Fprintf(p.err, "No target was named. svmctl can patch one object, which changes nothing in it, and read from etcd how the apiserver wrote it:\n  %s %s/%s\n",
			render.Inert(r.Resource), render.Inert(namespace), render.Inert(name))
		return p.ask(ctx, "Patch it?")
	})
}

// ask waits for a yes; everything else, and an interruption, is a no.
func (p *prompt) ask(ctx context.Context, question string) error {
	fmt.Fprintf(p.err, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(p.in).ReadString('\n')
		answer <- line
	}()
	select {
	case line := <-answer:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
		return errDeclined
	case <-ctx.Done():
		fmt.Fprintln(p.err)
		return context.Cause(ctx)
	}
}
