package live_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
)

// TestFollow sees every write after a revision in the ranges, those from before the call among them, and nothing else.
func TestFollow(t *testing.T) {
	server := etcdtest.Start(t)
	store := open(t, live.Config{Endpoints: []string{server.Endpoint}})
	server.Put(t, "/registry/secrets/ns/before", "1")
	after := server.Put(t, "/registry/secrets/ns/at", "1")
	server.Put(t, "/registry/secrets/ns/a", "early")
	server.Put(t, "/registry/secretsfoo/ns/a", "sibling")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	revision := server.Revision(t)
	go func() {
		time.Sleep(100 * time.Millisecond)
		server.Put(t, "/registry/secrets/ns/b", "1")
		if _, err := server.Client.Delete(t.Context(), "/registry/secrets/ns/b"); err != nil {
			t.Error(err)
		}
		server.Put(t, "/registry/configmaps/ns/c", "1")
		server.Put(t, "/registry/secrets/ns/b", "2")
		server.Put(t, "/registry/pods/ns/end", "1")
	}()
	var seen []string
	scope := etcdscan.NewScope([]string{"/registry/secrets", "/registry/configmaps"}, nil)
	err := store.Follow(ctx, scope.Ranges, after, func(kv etcdscan.KeyValue) error {
		seen = append(seen, kv.Key+"="+string(kv.Value))
		if len(seen) == 4 {
			time.AfterFunc(200*time.Millisecond, cancel) // nothing more is to come
		}
		return nil
	})
	slices.Sort(seen)
	want := []string{"/registry/configmaps/ns/c=1", "/registry/secrets/ns/a=early", "/registry/secrets/ns/b=1", "/registry/secrets/ns/b=2"}
	if err != nil || !slices.Equal(seen, want) {
		t.Errorf("%v %q, want %q", err, seen, want)
	}
	if now := server.Revision(t); now != revision+5 {
		t.Errorf("etcd is at revision %d, and five writes after %d it should be at %d", now, revision, revision+5)
	}
}

func TestFollowWhatWasCompacted(t *testing.T) {
	server := etcdtest.Start(t)
	store := open(t, live.Config{Endpoints: []string{server.Endpoint}})
	for range 5 {
		server.Put(t, "/registry/secrets/ns/a", "1")
	}
	if _, err := server.Client.Compact(t.Context(), server.Revision(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := store.Follow(ctx, []etcdscan.Range{etcdscan.Prefix("/registry/")}, 1, func(etcdscan.KeyValue) error { return nil })
	if !errors.Is(err, etcdscan.ErrCompacted) {
		t.Errorf("%v: what was compacted cannot be followed", err)
	}
}

func TestFollowUntilTheCallerHasEnough(t *testing.T) {
	server := etcdtest.Start(t)
	store := open(t, live.Config{Endpoints: []string{server.Endpoint}})
	server.Put(t, "/registry/secrets/ns/a", "1")
	enough := errors.New("enough")
	err := store.Follow(t.Context(), []etcdscan.Range{etcdscan.Prefix("/registry/")}, 0, func(etcdscan.KeyValue) error { return enough })
	if !errors.Is(err, enough) {
		t.Error(err)
	}
}
