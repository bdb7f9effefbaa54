package e2e

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// terminal is svmctl with a person in front of it: stdin and stderr are a terminal, stdout is not.
type terminal struct {
	*process
	keyboard *os.File
	mu       sync.Mutex
	screen   bytes.Buffer
	answered int           // how much of the screen was there at the last answer
	read     chan struct{} // closed when the screen is complete
}

// onTerminal starts svmctl on a terminal.
func (p *plane) onTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	keyboard, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	term := &terminal{
		process:  &process{p: p, args: args, cmd: p.command(t, args...), ended: make(chan error, 1)},
		keyboard: keyboard, read: make(chan struct{}),
	}
	// It is the leader of a session on this terminal, so that Ctrl-C reaches it.
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	term.cmd.Stdin, term.cmd.Stdout, term.cmd.Stderr = tty, &term.stdout, tty
	err = term.cmd.Start()
	tty.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() { term.ended <- term.cmd.Wait() }()
	t.Cleanup(func() { term.cmd.Process.Kill() })
	go func() {
		defer close(term.read)
		chunk := make([]byte, 4096)
		for {
			n, err := keyboard.Read(chunk)
			term.mu.Lock()
			term.screen.Write(chunk[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return term
}

// answer waits for a question and types the answer.
func (term *terminal) answer(t *testing.T, question, answer string) {
	t.Helper()
	await(t, 30*time.Second, "the question "+question, func(context.Context) (bool, string) {
		term.mu.Lock()
		defer term.mu.Unlock()
		shown := term.screen.String()
		if !strings.Contains(shown[term.answered:], question) {
			return false, shown
		}
		term.answered = len(shown)
		return true, ""
	})
	if _, err := term.keyboard.WriteString(answer); err != nil {
		t.Fatal(err)
	}
}

// wait waits for the end; what was on the screen takes the place of stderr.
func (term *terminal) wait(t *testing.T) result {
	t.Helper()
	res := term.process.wait(t)
	<-term.read
	res.stderr = strings.ReplaceAll(term.screen.String(), "\r\n", "\n")
	term.p.keep(res)
	return res
}
