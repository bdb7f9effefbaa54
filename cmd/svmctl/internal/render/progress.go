package render

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/migrate"
)

const (
	progressInterval = 200 * time.Millisecond
	// lineInterval is how often progress is written where there is no terminal.
	lineInterval = 15 * time.Second
)

// ScanProgress shows how far a scan is, on a terminal alone, until the returned function is called.
func ScanProgress(w io.Writer, terminal bool, what string, p *etcdscan.Progress) (stop func()) {
	if !terminal {
		return func() {}
	}
	bar := newBar(w, what)
	return poll(progressInterval, func(last bool) {
		if read, total := p.Done(); !last && total > 0 {
			bar.ChangeMax64(total)
			_ = bar.Set64(read)
			return
		}
		_ = bar.Clear()
	})
}

func newBar(w io.Writer, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions64(1, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionThrottle(progressInterval/2),
		progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
}

// poll calls show at every interval and once more at the end.
func poll(interval time.Duration, show func(last bool)) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				show(false)
			case <-done:
				show(true)
				return
			}
		}
	})
	return sync.OnceFunc(func() { close(done); wg.Wait() })
}

// Migrating shows how far a migration is: a line that moves on a terminal, a line now and then elsewhere.
type Migrating struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	progress *migrate.Progress
	bar      *progressbar.ProgressBar
	shown    migrate.Status
	stop     func()
}

// MigrateProgress shows progress until Stop is called.
func MigrateProgress(w io.Writer, terminal bool, p *migrate.Progress) *Migrating {
	m := &Migrating{w: w, terminal: terminal, progress: p}
	interval := lineInterval
	if terminal {
		interval = progressInterval
	}
	m.stop = poll(interval, func(last bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		switch {
		case last:
			m.clear()
		case terminal:
			m.draw()
		default:
			m.line()
		}
	})
	return m
}

// Stop takes the line away. It may be called more than once.
func (m *Migrating) Stop() { m.stop() }

// Hidden runs f with the line out of its way.
func (m *Migrating) Hidden(f func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clear()
	return f()
}

func (m *Migrating) clear() {
	if m.bar != nil {
		_ = m.bar.Clear()
		m.bar = nil
	}
}

func (m *Migrating) draw() {
	s := m.progress.Status()
	if s.Total == 0 {
		m.spin(s)
		return
	}
	if m.bar == nil || s.Phase != m.shown.Phase || s.Resource != m.shown.Resource || s.Total != m.shown.Total {
		m.clear()
		m.bar = newBar(m.w, describe(s))
	}
	m.shown = s
	m.bar.Describe(describe(s))
	m.bar.ChangeMax64(s.Total)
	_ = m.bar.Set64(s.Done)
}

// spin shows that something takes its time of which nobody knows how long.
func (m *Migrating) spin(s migrate.Status) {
	if s.Phase != m.shown.Phase || s.Total != m.shown.Total {
		m.clear()
	}
	m.shown = s
	if s.Phase == "" {
		return
	}
	if m.bar == nil {
		m.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(m.w), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(10),
			progressbar.OptionSetElapsedTime(true), progressbar.OptionThrottle(progressInterval/2))
	}
	m.bar.Describe(describe(s))
	_ = m.bar.Add(1)
}

func (m *Migrating) line() {
	switch s := m.progress.Status(); {
	case s.Total > 0:
		fmt.Fprintf(m.w, "svmctl: %s: %d of %d\n", describe(s), s.Done, s.Total)
	case s.Phase != "":
		fmt.Fprintf(m.w, "svmctl: %s\n", describe(s))
	}
}

func describe(s migrate.Status) string {
	text := s.Phase
	if s.Resource != "" {
		text += " " + s.Resource
	}
	for _, why := range []string{s.Paused, s.Trouble} {
		if why != "" {
			text += " (" + why + ")"
		}
	}
	return text
}
