package kms

import (
	"context"
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
	"k8s.io/kms/apis/v2"
)

// canary is what no error may hold.
const canary = "CANARY-1f0c"

// oddID is one that a provider in a cloud might give.
const oddID = "arn:aws:kms:eu-central-1:key/schlüssel:2"

// clock is a time that tests move.
type clock struct {
	time time.Time
}

func (c *clock) now() time.Time { return c.time }

func TestRotationKeepsWhatWasSealed(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "keys")
	s := serve(t, V2, Settings{}, keyFile, time.Now)
	first := s.encrypt(canary)
	if first.KeyId != "kek-1" || strings.Contains(string(first.Ciphertext), canary) || len(first.Annotations) != 0 {
		t.Errorf("sealed is %v", first)
	}
	if state := s.do("/rotate"); state.KeyID != "kek-2" {
		t.Errorf("after a rotation: %+v", state)
	}
	s.do("/rotate?id=" + url.QueryEscape(oddID))
	answer, err := s.v2.Status(t.Context(), &v2.StatusRequest{})
	if err != nil || answer.KeyId != oddID || answer.Version != "v2" || answer.Healthz != "ok" {
		t.Errorf("status is %v, %v", answer, err)
	}
	second := s.encrypt(canary)
	if second.KeyId != oddID {
		t.Errorf("sealed under %q", second.KeyId)
	}
	want := State{Encrypt: 2, Status: 1, KeyID: oddID, KeyIDs: []string{"kek-1", "kek-2", oddID}}
	if code, state := s.ask(http.MethodGet, "/counts"); code != http.StatusOK || !reflect.DeepEqual(state, want) {
		t.Errorf("state is %d, %+v, want %+v", code, state, want)
	}
	s.stop()

	s = serve(t, V2, Settings{}, keyFile, time.Now)
	for _, sealed := range []*v2.EncryptResponse{first, second} {
		if opened, err := s.decrypt(sealed); err != nil || opened != canary {
			t.Errorf("%s: after a restart: %q, %v", sealed.KeyId, opened, err)
		}
	}
	if state := s.do("/rotate"); state.KeyID != "kek-3" || state.Decrypt != 2 {
		t.Errorf("after a restart and a rotation: %+v", state)
	}
}

func TestDroppedKeyIsGoneForGood(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "keys")
	s := serve(t, V2, Settings{}, keyFile, time.Now)
	sealed := s.encrypt(canary)
	for _, target := range []string{"/drop?id=kek-1", "/drop?id=kek-2", "/drop"} {
		if code, _ := s.ask(http.MethodPost, target); code != http.StatusBadRequest {
			t.Errorf("%s: %d", target, code)
		}
	}
	s.do("/rotate?id=blue")
	if state := s.do("/drop?id=kek-1"); !reflect.DeepEqual(state.KeyIDs, []string{"blue"}) {
		t.Errorf("after a drop: %+v", state)
	}
	for range 2 {
		if _, err := s.decrypt(sealed); status.Code(err) != codes.NotFound || status.Convert(err).Message() != "no such key" {
			t.Errorf("error is %v", err)
		}
		s.stop()
		s = serve(t, V2, Settings{}, keyFile, time.Now)
	}
	if code, _ := s.ask(http.MethodPost, "/rotate?id=kek-1"); code != http.StatusBadRequest {
		t.Errorf("the ID of a dropped key was given again: %d", code)
	}
	if state := s.do("/rotate"); state.KeyID != "kek-2" {
		t.Errorf("after a rotation: %+v", state)
	}
}

func TestWhatDoesNotOpen(t *testing.T) {
	s := serve(t, V2, Settings{Annotate: true}, filepath.Join(t.TempDir(), "keys"), time.Now)
	s.do("/rotate")
	if opened, err := s.decrypt(s.encrypt(canary)); err != nil || opened != canary {
		t.Fatalf("%q, %v", opened, err)
	}
	for name, damage := range map[string]func(*v2.EncryptResponse){
		"flipped bit":        func(r *v2.EncryptResponse) { r.Ciphertext[20] ^= 1 },
		"cut short":          func(r *v2.EncryptResponse) { r.Ciphertext = r.Ciphertext[:5] },
		"nothing":            func(r *v2.EncryptResponse) { r.Ciphertext = nil },
		"other key":          func(r *v2.EncryptResponse) { r.KeyId = "kek-1" },
		"no annotation":      func(r *v2.EncryptResponse) { r.Annotations = nil },
		"changed annotation": func(r *v2.EncryptResponse) { r.Annotations[annotationKey][0] ^= 1 },
	} {
		sealed := s.encrypt(canary)
		damage(sealed)
		_, err := s.decrypt(sealed)
		if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != ErrDamaged.Error() {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	sealed := s.encrypt(canary)
	sealed.KeyId = canary
	if _, err := s.decrypt(sealed); status.Code(err) != codes.NotFound || strings.Contains(err.Error(), canary) {
		t.Errorf("unknown key: error is %v", err)
	}
	if _, state := s.ask(http.MethodGet, "/counts"); state.Failed != 7 || state.Decrypt != 1 {
		t.Errorf("state is %+v", state)
	}
}

// The apiserver is choosy about annotations and sizes.
func TestSuitsTheAPIServer(t *testing.T) {
	s := serve(t, V2, Settings{Annotate: true}, filepath.Join(t.TempDir(), "keys"), time.Now)
	s.do("/rotate?id=" + url.QueryEscape(strings.Repeat("ü", idLimit/2)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	service, err := kmsv2.NewGRPCService(ctx, "unix://"+s.socket, "vault", 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_, sealed, _, err := kmsv2.GenerateTransformer(ctx, "u-1", service, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed.Annotations) != 1 || len(sealed.KeyID) != idLimit {
		t.Errorf("sealed is %v", sealed)
	}
}

func TestFailsOnRequest(t *testing.T) {
	c := &clock{time: time.Unix(1000, 0)}
	s := serve(t, V2, Settings{}, filepath.Join(t.TempDir(), "keys"), c.now)
	fails := func() bool {
		_, err := s.v2.Status(t.Context(), &v2.StatusRequest{})
		if err != nil && (status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "failing on request") {
			t.Errorf("error is %v", err)
		}
		return err != nil
	}
	s.do("/fail?first=2")
	for call, want := range []bool{true, true, false} {
		if got := fails(); got != want {
			t.Errorf("call %d fails: %t", call, got)
		}
	}
	s.do("/fail?for=10s")
	if _, err := s.decrypt(&v2.EncryptResponse{}); status.Code(err) != codes.Unavailable {
		t.Errorf("decrypting: error is %v", err)
	}
	if !fails() {
		t.Error("a call succeeded meanwhile")
	}
	c.time = c.time.Add(11 * time.Second)
	if fails() {
		t.Error("a call failed afterwards")
	}
	s.do("/healthz?text=out+of+order")
	if answer, err := s.v2.Status(t.Context(), &v2.StatusRequest{}); err != nil || answer.Healthz != "out of order" {
		t.Errorf("status is %v, %v", answer, err)
	}
	s.do("/healthz")
	if answer, err := s.v2.Status(t.Context(), &v2.StatusRequest{}); err != nil || answer.Healthz != "ok" {
		t.Errorf("status is %v, %v", answer, err)
	}
	for _, target := range []string{"/fail?for=x", "/fail?first=-1", "/delay", "/delay?of=-1s", "/rotate?id=%ff", "/rotate?id=" + strings.Repeat("x", idLimit+1)} {
		if code, _ := s.ask(http.MethodPost, target); code != http.StatusBadRequest {
			t.Errorf("%s: %d", target, code)
		}
	}
	if code, _ := s.ask(http.MethodGet, "/rotate"); code != http.StatusMethodNotAllowed {
		t.Errorf("GET /rotate: %d", code)
	}
	if _, state := s.ask(http.MethodGet, "/counts"); state.Failed != 4 || state.Status != 4 || len(state.KeyIDs) != 1 {
		t.Errorf("state is %+v", state)
	}
}

func TestIsSlowOnRequest(t *testing.T) {
	s := serve(t, V2, Settings{}, filepath.Join(t.TempDir(), "keys"), time.Now)
	sealed := s.encrypt(canary)
	s.do("/delay?of=100ms")
	began := time.Now()
	if opened, err := s.decrypt(sealed); err != nil || opened != canary || time.Since(began) < 100*time.Millisecond {
		t.Errorf("%q, %v after %v", opened, err, time.Since(began))
	}
	s.do("/delay?of=1h")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.v2.Status(ctx, &v2.StatusRequest{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("error is %v", err)
	}
	s.do("/delay?of=0s")
	if _, err := s.v2.Status(t.Context(), &v2.StatusRequest{}); err != nil {
		t.Error(err)
	}
}
