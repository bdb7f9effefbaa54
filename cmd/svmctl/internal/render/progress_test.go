package render_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/migrate"
)

// screen is a terminal: what is on its line is what follows the last carriage return.
type screen struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(p)
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

func (s *screen) line() string {
	text := s.text()
	line := text[strings.LastIndexByte(text, '\r')+1:]
	return strings.TrimSpace(strings.TrimPrefix(line, "\x1b[2K"))
}

// lost is a cluster whose etcd fails after the first key of a scan.
type lost struct{ *cluster }

func (l lost) Read(_ context.Context, r etcdscan.Range, _ int64) iter.Seq2[[]etcdscan.KeyValue, error] {
	return func(yield func([]etcdscan.KeyValue, error) bool) {
		if yield([]etcdscan.KeyValue{l.kvs[l.keys(r)[0]]}, nil) {
			yield(nil, errors.New("lost"))
		}
	}
}

// begin leaves the progress of a scan at 1 of 10 keys.
func begin(t *testing.T, p *etcdscan.Progress) {
	t.Helper()
	scope := etcdscan.NewScope([]string{"/registry/"}, []string{"/registry"})
	if _, err := etcdscan.Scan(t.Context(), etcdscan.Reading{Source: lost{rotation()}, Scope: scope, Progress: p}, discard{}); err != nil {
		t.Fatal(err)
	}
}

type discard struct{}

func (discard) Begin()                                       {}
func (discard) Take(*etcdscan.Record, *etcdscan.Entry) error { return nil }

func TestScanProgress(t *testing.T) {
	progress := new(etcdscan.Progress)
	begin(t, progress)
	pipe := new(screen)
	render.ScanProgress(pipe, false, "reading etcd", progress)()
	if pipe.text() != "" {
		t.Errorf("a pipe gets %q", pipe.text())
	}
	terminal := new(screen)
	stop := render.ScanProgress(terminal, true, "reading etcd", progress)
	waitFor(t, func() bool {
		return strings.Contains(terminal.line(), "reading etcd") && strings.Contains(terminal.line(), "(1/10")
	})
	stop()
	stop() // harmless
	if terminal.line() != "" {
		t.Errorf("%q is left on the line", terminal.line())
	}
	after := terminal.text()
	time.Sleep(250 * time.Millisecond)
	if terminal.text() != after {
		t.Error("it goes on writing after it was stopped")
	}
}

// A question is asked with the progress line out of its way, and nothing is drawn before the answer.
func TestMigrateProgressHides(t *testing.T) {
	progress := new(migrate.Progress)
	begin(t, &progress.Scan)
	terminal := new(screen)
	shown := render.MigrateProgress(terminal, true, progress)
	defer shown.Stop()
	waitFor(t, func() bool { return terminal.line() != "" })
	declined := errors.New("declined")
	err := shown.Hidden(func() error {
		if terminal.line() != "" {
			t.Errorf("%q is in the way of the question", terminal.line())
		}
		before := terminal.text()
		time.Sleep(500 * time.Millisecond)
		if terminal.text() != before {
			t.Error("something is drawn into the question")
		}
		return declined
	})
	if err != declined {
		t.Error(err)
	}
	shown.Stop()
	if terminal.line() != "" {
		t.Errorf("%q is left on the line", terminal.line())
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was drawn")
		}
	}
}

func TestBytesAndCount(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 5 << 30: "5.0 GiB", 3 << 40: "3.0 TiB", 1 << 52: "4096.0 TiB",
	} {
		if got := render.Bytes(n); got != want {
			t.Errorf("%d bytes are %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 keys", 1: "1 key", 2: "2 keys"} {
		if got := render.Count(n, "key"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestParseFormat(t *testing.T) {
	for _, s := range []string{"table", "wide", "json", "yaml", "csv"} {
		if f, err := render.ParseFormat(s); err != nil || string(f) != s {
			t.Errorf("%s: %v, %v", s, f, err)
		}
	}
	for _, s := range []string{"", "JSON", "name", "json "} {
		if f, err := render.ParseFormat(s); err == nil {
			t.Errorf("%q is taken for %v", s, f)
		}
	}
}
