package migrate

import (
	"sync"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/rewrite"
)

// Progress can be read at any time while a migration runs. Its zero value is ready.
type Progress struct {
	Scan etcdscan.Progress

	mu     sync.Mutex
	status Status
	patch  func() rewrite.Progress
}

// Status is a snapshot of a migration under way.
type Status struct {
	Phase       string // what is being done; "rewriting" while objects are written
	Resource    string
	Done, Total int64 // objects of this round
	Paused      string
	Trouble     string // why the apiserver is not getting on
}

const (
	phaseRewriting = "rewriting"
	phaseWatching  = "watching for late writes"
	phaseAsking    = "asking the apiservers"
)

// Status is a snapshot.
func (p *Progress) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	if s.Phase == phaseWatching || s.Phase == phaseAsking {
		return s // they take their time, and count nothing
	}
	if s.Phase != phaseRewriting {
		s.Done, s.Total = p.Scan.Done()
		return s
	}
	if p.patch != nil {
		now := p.patch()
		s.Done = int64(now.Done)
		if !now.OutageSince.IsZero() && now.Trouble != nil {
			s.Trouble = now.Trouble.Error()
		}
	}
	return s
}

func (p *Progress) begin(phase string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = Status{Phase: phase}
	p.patch = nil
}

// rewriting begins a resource of which total objects are to be written.
func (p *Progress) rewriting(resource string, total int64, patch func() rewrite.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = Status{Phase: phaseRewriting, Resource: resource, Total: total}
	p.patch = patch
}

func (p *Progress) done(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Done = n
}

func (p *Progress) pause(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Paused = why
}
