package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
	"github.com/svmctl/svmctl/internal/etcdscan/snapshot"
	"github.com/svmctl/svmctl/internal/keys"
)

// source is what a command reads: a running etcd, or a file of one.
type source struct {
	store  keys.Store // handed on as it is: a scan asks it for more than this
	origin audit.Source
	file   *snapshot.File // nil: a running etcd
	live   *live.Store    // nil: a file that somebody has kept
}

func (s *source) Close() {
	if s.file != nil {
		_ = s.file.Close()
	}
	if s.live != nil {
		_ = s.live.Close()
	}
}

// kept tells whether it is a file, which may be as old as it likes.
func (s *source) kept() bool { return s.live == nil }

// now is the store for questions about the present: the etcd, and not the snapshot that was just taken of it.
func (s *source) now() keys.Store {
	if s.live != nil {
		return s.live
	}
	return s.store
}

// describe adds to a report what is known of a file once it was read.
func (s *source) describe(ctx context.Context, report *audit.Source) error {
	if s.file == nil {
		return nil
	}
	sum, integrity, err := s.file.Digest(ctx)
	if err != nil {
		return err
	}
	report.SHA256, report.Integrity = sum, string(integrity)
	return nil
}

// sources are those that the flags name, each to be opened when it is its turn: one etcd, or any number of files.
func (f *etcdFlags) sources() ([]func(context.Context) (*source, error), error) {
	if len(f.snapshots) == 0 {
		return []func(context.Context) (*source, error){f.openLive}, nil
	}
	if len(f.endpoints) > 0 || f.stream {
		return nil, usageError(errors.New("--snapshot stands in place of --endpoints and --stream-snapshot"))
	}
	var all []func(context.Context) (*source, error)
	for _, path := range f.snapshots {
		all = append(all, func(context.Context) (*source, error) { return openSnapshot(path) })
	}
	return all, nil
}

// source is the one that the flags name.
func (f *etcdFlags) source(ctx context.Context) (*source, error) {
	all, err := f.sources()
	if err != nil {
		return nil, err
	}
	if len(all) > 1 {
		return nil, usageError(errors.New("--snapshot: this command reads one at a time"))
	}
	return all[0](ctx)
}

func openSnapshot(path string) (*source, error) {
	file, err := snapshot.Open(path)
	if err != nil {
		return nil, err
	}
	return &source{store: file, file: file, origin: audit.Source{Type: "snapshot", Path: file.Path()}}, nil
}

func (f *etcdFlags) openLive(ctx context.Context) (*source, error) {
	store, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	s := &source{store: store, live: store, origin: origin(store)}
	if !f.stream {
		return s, nil
	}
	if err := s.takeSnapshot(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// takeSnapshot has etcd stream all it has into a private file that has no name, so that nothing is left of it whichever way the
// process ends, and reads that.
func (s *source) takeSnapshot(ctx context.Context) error {
	if s.live.Kine() {
		return &exitError{code: exitFailed, err: live.ErrNoSnapshot, hints: []string{"leave --stream-snapshot out: kine is read page by page"}}
	}
	pin, err := s.live.Pin(ctx, etcdscan.Range{}, 0)
	if err != nil {
		return fmt.Errorf("taking a snapshot of etcd: %w", err)
	}
	file, err := os.CreateTemp("", "svmctl-snapshot-*") // it is for its owner alone
	if err != nil {
		return err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return err
	}
	if _, _, err := s.live.Snapshot(ctx, file); err != nil {
		file.Close()
		return err
	}
	if s.file, err = snapshot.OpenFile("the snapshot of etcd", file); err != nil {
		file.Close()
		return err
	}
	// Members that answer were waited for. One that did not may have sent what it had.
	if newest, err := s.file.Revision(ctx); err != nil || newest < pin.Revision {
		return fmt.Errorf("taking a snapshot of etcd: %w", live.ErrLagging)
	}
	s.store = clustered{s.file, pin.ClusterID}
	return nil
}

// clustered is a file of a known cluster.
type clustered struct {
	*snapshot.File
	id uint64
}

func (c clustered) Pin(ctx context.Context, r etcdscan.Range, revision int64) (etcdscan.Pin, error) {
	pin, err := c.File.Pin(ctx, r, revision)
	pin.ClusterID = c.id
	return pin, err
}

// inUseHint is the next step where the file belongs to an etcd that is running.
const inUseHint = "take a snapshot (etcdctl snapshot save FILE), or copy the data directory of a stopped member; a running etcd is read with --endpoints, and svmctl audit --stream-snapshot takes a snapshot itself"
