package render

import (
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

const progressInterval = 200 * time.Millisecond

// ScanProgress shows how far a scan is, on a terminal alone, until the returned function is called.
func ScanProgress(w io.Writer, terminal bool, what string, p *etcdscan.Progress) (stop func()) {
	if !terminal {
		return func() {}
	}
	bar := newBar(w, what)
	return poll(progressInterval, func(last bool) {
		read, total := p.Done()
		if last {
			_ = bar.Clear()
			return
		}
		if total > 0 {
			bar.ChangeMax64(total)
			_ = bar.Set64(read)
		}
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
