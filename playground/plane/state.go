package plane

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// socketPathLimit is below what Linux takes as the path of a unix socket (107 bytes).
const socketPathLimit = 100

// State is what state.json keeps of a plane from one run to the next.
type State struct {
	Spec  Spec  `json:"spec"`
	Ports Ports `json:"ports"`
	// Socket is where the supervisor takes requests.
	Socket string `json:"socket"`
}

// LoadState reads the state of a plane. One that was never up has none: fs.ErrNotExist.
func LoadState(layout Layout) (State, error) {
	data, err := os.ReadFile(layout.state())
	if err != nil {
		return State{}, fmt.Errorf("reading state of the plane: %w", err)
	}
	var state State
	if err := json.Unmarshal(data, &state); err != nil {
		return State{}, fmt.Errorf("parsing %s: %w", layout.state(), err)
	}
	return state, nil
}

// Save writes state.json.
func (s State) Save(layout Layout) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding state of the plane: %w", err)
	}
	return writeFile(layout.state(), append(data, '\n'), 0o600)
}

// Listen opens the control socket, whose path it notes in the state. The caller must hold the
// lock of the plane: a socket file that is there then belongs to nobody.
func (s *State) Listen(layout Layout) (net.Listener, error) {
	path := layout.socket()
	if len(path) > socketPathLimit {
		dir, err := os.MkdirTemp("", "playground-")
		if err != nil {
			return nil, fmt.Errorf("creating directory of the control socket: %w", err)
		}
		path = filepath.Join(dir, "control.sock")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing old control socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		return nil, fmt.Errorf("protecting %s: %w", path, err)
	}
	s.Socket = path
	return listener, nil
}

// Close closes the control socket, and takes away a directory that was made for it.
func (s *State) Close(layout Layout, listener net.Listener) {
	listener.Close()
	if s.Socket != layout.socket() {
		os.Remove(filepath.Dir(s.Socket))
	}
}
