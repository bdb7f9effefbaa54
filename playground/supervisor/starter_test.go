package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// requireNamespaces skips the test where the process may not make UTS namespaces.
func requireNamespaces(t *testing.T) {
	t.Helper()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		result <- syscall.Unshare(syscall.CLONE_NEWUTS)
	}()
	if err := <-result; errors.Is(err, syscall.EPERM) {
		t.Skip("only root may give a process a hostname of its own")
	} else if err != nil {
		t.Fatal(err)
	}
}

func TestHostnameIsOfOneProcess(t *testing.T) {
	requireNamespaces(t)
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var definitions []Definition
	for _, name := range []string{"first", "second", "third"} {
		definition := shell(t, name, `uname -n >> "$OUT"; `+steady)
		definition.Env = append(definition.Env, "OUT="+filepath.Join(dir, name))
		definitions = append(definitions, definition)
	}
	definitions[0].Hostname = "one"
	definitions[2].Hostname = "three"
	_, client, _ := running(t, definitions...)
	if _, err := client.Do(t.Context(), "first", "restart", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"first":  "one\none\n",
		"second": machine + "\n", // started after one that has a name of its own
		"third":  "three\n",
	} {
		// The file that says ready is that of the first start already.
		await(t, name+" takes its hostname for "+strings.Join(strings.Fields(want), ", then "), func() bool {
			got, err := os.ReadFile(filepath.Join(dir, name))
			return err == nil && string(got) == want
		})
	}
	if got, _ := os.Hostname(); got != machine {
		t.Errorf("the machine's hostname is %s, and was %s", got, machine)
	}
}

func TestRefusedHostnameFailsTheStart(t *testing.T) {
	requireNamespaces(t)
	socket, _ := listen(t)
	definition := shell(t, "a", steady)
	definition.Hostname = strings.Repeat("x", 65) // Linux takes 64 bytes
	err := New("dir", []Definition{definition}).Run(t.Context(), socket, 10*time.Second, func() error {
		t.Error("it was started under another name")
		return nil
	})
	if !errors.Is(err, syscall.EINVAL) {
		t.Errorf("error is %v", err)
	}
}

func TestTogether(t *testing.T) {
	dir := t.TempDir()
	script := func(name, script string) Definition {
		definition := shell(t, name, script)
		definition.Env = append(definition.Env, "DIR="+dir)
		return definition
	}
	first := script("first", `touch "$DIR/first"; `+steady)
	// Ready only with the third, and gone only with the word that it was told to stop.
	second := script("second", `[ -e "$DIR/first" ] || exit 1
		trap 'touch "$DIR/ended"; exit 0' TERM
		until [ -e "$DIR/third" ]; do sleep 0.02; done
		touch "$READY"
		while :; do sleep 0.02; done`)
	// Stopped alone it would wait until it is killed.
	third := script("third", `[ -e "$DIR/first" ] || exit 1
		trap 'until [ -e "$DIR/ended" ]; do sleep 0.02; done; exit 0' TERM
		touch "$DIR/third" "$READY"
		while :; do sleep 0.02; done`)
	third.Together = true
	s, _, end := running(t, first, second, third)
	if err := end(); err != nil {
		t.Fatal(err)
	}
	for _, process := range s.Status().Processes[1:] {
		if process.Exit != "exit status 0" {
			t.Errorf("%s ended with %s", process.Name, process.Exit)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "ended")); err != nil {
		t.Error(err)
	}
}
