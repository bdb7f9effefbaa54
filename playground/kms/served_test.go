package kms

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/kms/apis/v2"
)

// served is a plugin on a unix socket, and a connection to it.
type served struct {
	t      *testing.T
	plugin *Plugin
	socket string
	conn   *grpc.ClientConn
	v2     v2.KeyManagementServiceClient
	stop   func()
}

// socketPath is short enough, as t.TempDir may not be.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kms")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "kms.sock")
}

// serve serves a plugin until the test or stop ends it.
func serve(t *testing.T, version Version, settings Settings, keyFile string, now func() time.Time) *served {
	t.Helper()
	keys, err := OpenKeyring(keyFile, "")
	if err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, plugin: New(settings, keys, now), socket: socketPath(t)}
	listener, err := Listen(s.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := s.plugin.Server(version)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	s.conn, err = grpc.NewClient("unix:"+s.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	s.v2 = v2.NewKeyManagementServiceClient(s.conn)
	s.stop = func() {
		s.conn.Close()
		server.Stop()
		if err := <-ended; err != nil {
			t.Errorf("serving: %v", err)
		}
		ended <- nil
	}
	t.Cleanup(s.stop)
	return s
}

// ask steers the plugin, and returns the status of the answer.
func (s *served) ask(method, target string) (int, State) {
	s.t.Helper()
	recorder := httptest.NewRecorder()
	s.plugin.ServeHTTP(recorder, httptest.NewRequest(method, target, nil))
	var state State
	if recorder.Code == http.StatusOK {
		if err := json.Unmarshal(recorder.Body.Bytes(), &state); err != nil {
			s.t.Fatal(err)
		}
	}
	return recorder.Code, state
}

func (s *served) do(target string) State {
	s.t.Helper()
	code, state := s.ask(http.MethodPost, target)
	if code != http.StatusOK {
		s.t.Fatalf("%s: %d", target, code)
	}
	return state
}

func (s *served) encrypt(plaintext string) *v2.EncryptResponse {
	s.t.Helper()
	response, err := s.v2.Encrypt(s.t.Context(), &v2.EncryptRequest{Plaintext: []byte(plaintext), Uid: "u-1"})
	if err != nil {
		s.t.Fatal(err)
	}
	return response
}

func (s *served) decrypt(sealed *v2.EncryptResponse) (string, error) {
	response, err := s.v2.Decrypt(s.t.Context(), &v2.DecryptRequest{
		Ciphertext: sealed.Ciphertext, KeyId: sealed.KeyId, Annotations: sealed.Annotations, Uid: "u-2",
	})
	return string(response.GetPlaintext()), err
}
