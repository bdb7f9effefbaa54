package apiservers

import (
	"context"
	"fmt"
	"time"
)

// hopeless is after how many looks in a row that leave open whether the apiservers agree there is nothing to wait for: what
// may not be read now may not be read later.
const hopeless = 3

// WaitConverged asks again and again until the apiservers agree, pausing for poll (0: 2 s). The look during which timeout ends
// is the last one; see Ask for how long that may take. What it saw is returned whatever came of it, and early when three
// looks in a row could not tell. observe, unless nil, is shown every look. The only error is that of ctx.
func WaitConverged(ctx context.Context, req Request, q Question, poll, timeout time.Duration, observe func(Agreement)) (*Survey, Agreement, error) {
	if poll <= 0 {
		poll = 2 * time.Second
	}
	end := time.NewTimer(timeout)
	defer end.Stop()
	for open := 0; ; {
		s := Ask(ctx, req)
		a := s.Agreement(q)
		if err := ctx.Err(); err != nil {
			return s, a, fmt.Errorf("waiting for the apiservers to agree: %w", err)
		}
		if observe != nil {
			observe(a)
		}
		if open++; a.Agree != nil {
			open = 0
		}
		if open == hopeless || a.Agree != nil && *a.Agree {
			return s, a, nil
		}
		pause := time.NewTimer(poll)
		select {
		case <-ctx.Done():
			pause.Stop()
			return s, a, fmt.Errorf("waiting for the apiservers to agree: %w", ctx.Err())
		case <-end.C:
			pause.Stop()
			return s, a, nil
		case <-pause.C:
		}
	}
}
