// Package outage is when a webhook of the playground, or its KMS plugin, is out of order on request. It answers nothing
// itself. A call of the plugin is a review here.
package outage

import (
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// Plan says for how long a webhook fails. The zero Plan never has it fail.
type Plan struct {
	// First is how many reviews fail from the beginning.
	First int
	// For is how long reviews fail, from the first one on.
	For time.Duration
}

// Outage follows a Plan and what it is told meanwhile. It may be used by several goroutines.
type Outage struct {
	now func() time.Time

	mu    sync.Mutex
	plan  Plan
	until time.Time
}

// New begins with the plan. The clock is time.Now but for tests.
func New(plan Plan, now func() time.Time) *Outage {
	return &Outage{now: now, plan: plan}
}

// Review counts a review and tells whether it is to fail.
func (o *Outage) Review() (fails bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.plan.For > 0 {
		o.until = o.now().Add(o.plan.For)
		o.plan.For = 0 // the first review has come
	}
	switch {
	case o.now().Before(o.until):
	case o.plan.First > 0:
		o.plan.First--
	default:
		return false
	}
	return true
}

// Set replaces what was planned by what a query asks for: for=10s fails all reviews from now on for that long, first=3 so
// many. What it does not name ends. The error is for whoever asked, and leaves everything as it was.
func (o *Outage) Set(query url.Values) error {
	duration, first := time.Duration(0), 0
	var err error
	if value := query.Get("for"); value != "" {
		if duration, err = time.ParseDuration(value); err != nil || duration < 0 {
			return fmt.Errorf("for: not a duration: %q", value)
		}
	}
	if value := query.Get("first"); value != "" {
		if first, err = strconv.Atoi(value); err != nil || first < 0 {
			return fmt.Errorf("first: not a number: %q", value)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.plan, o.until = Plan{First: first}, o.now().Add(duration)
	return nil
}
