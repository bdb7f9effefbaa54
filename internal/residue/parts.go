package residue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan/carve"
	"github.com/svmctl/svmctl/internal/etcdscan/snapshot"
	"github.com/svmctl/svmctl/internal/etcdscan/wal"
)

// part is a file, or the directory of a log.
type part struct {
	File
	file     *snapshot.File // of a database, and of a raft snapshot that is one
	segments *wal.Log
}

// partsOf lists what is to be looked through in a path.
func partsOf(path string) ([]*part, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("looking for etcd's files: %w", err)
	case info.Mode().IsRegular():
		return []*part{{File: File{Path: path, Kind: Database, Bytes: info.Size()}}}, nil
	case !info.IsDir():
		return nil, fmt.Errorf("%s is %w", path, ErrNothing)
	}
	member := path
	if _, err := os.Stat(filepath.Join(path, "member")); err == nil {
		member = filepath.Join(path, "member")
	}
	var parts []*part
	snap := filepath.Join(member, "snap")
	entries, err := os.ReadDir(snap)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("looking for etcd's files: %w", err)
	}
	for _, entry := range entries {
		name := filepath.Join(snap, entry.Name())
		switch info, err := os.Stat(name); {
		case err != nil:
			return nil, fmt.Errorf("looking for etcd's files: %w", err)
		case !info.Mode().IsRegular():
		case entry.Name() == "db":
			parts = append(parts, &part{File: File{Path: name, Kind: Database, Bytes: info.Size()}})
		default: // raft's snapshots, those that were found broken, and what was received in part
			parts = append(parts, &part{File: File{Path: name, Kind: RaftSnapshot}})
		}
	}
	segments := &part{File: File{Path: filepath.Join(member, "wal"), Kind: Log}}
	for _, dir := range []string{segments.Path, member} {
		switch segments.segments, err = wal.Open(dir); {
		case err == nil:
			segments.Path = dir
			return append(parts, segments), nil
		case !errors.Is(err, wal.ErrNoSegments) && !errors.Is(err, os.ErrNotExist):
			return nil, err
		}
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("%s holds %w", path, ErrNothing)
	}
	segments.Problem = "there is no write-ahead log"
	return append(parts, segments), nil
}

// open opens a part. A raft snapshot that is no database, as most are, is searched as it is.
func (h *home) open(ctx context.Context, p *part) (err error) {
	switch {
	case p.Kind == Log:
		return nil
	case p.Kind == RaftSnapshot && !strings.HasSuffix(p.Path, ".db"):
		return nil
	}
	p.file, err = snapshot.Open(p.Path)
	if err != nil && p.Kind == RaftSnapshot {
		p.Problem = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	if p.Compacted = p.file.Compacted(); p.Kind == RaftSnapshot {
		if info, err := os.Stat(p.Path); err == nil {
			p.Bytes = info.Size()
		}
	}
	if p.Revision, err = p.file.Revision(ctx); err != nil || p.Kind != Database {
		return err
	}
	h.database = true
	if scope, err := audit.ScopeOf(ctx, p.file, nil, 0); err == nil {
		h.roots = scope
	}
	return nil
}

// writes hands over every whole value of a part. Live is only true in the database.
func (h *home) writes(ctx context.Context, p *part, each func(key, value []byte, live bool) error) error {
	switch {
	case p.file != nil:
		err := p.file.Writes(ctx, func(w snapshot.Write) error { return each(w.Key, w.Value, w.Live && p.Kind == Database) })
		if err != nil {
			return fmt.Errorf("reading %s: %w", p.Path, err)
		}
	case p.segments != nil:
		for put, err := range p.segments.Puts(ctx) {
			if err != nil {
				return fmt.Errorf("reading the write-ahead log in %s: %w", p.Path, err)
			}
			if len(put.Value) == 0 {
				continue
			}
			if err := each(put.Key, put.Value, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// search looks for values in what belongs to nothing.
func (h *home) search(ctx context.Context, p *part) error {
	s := h.newSearch(p)
	switch {
	case p.file != nil:
		err := p.file.Free(ctx, func(_ int64, b []byte) error {
			p.FreeBytes += int64(len(b))
			s.in(b)
			return nil
		})
		if err != nil {
			return fmt.Errorf("reading %s: %w", p.Path, err)
		}
	case p.segments != nil:
		state := p.segments.State()
		p.Bytes = state.Bytes
		if n := len(state.Damage); n > 0 {
			b := state.Damage[0]
			p.Problem = fmt.Sprintf("%s is damaged at byte %d: %s", b.Segment, b.Offset, b.Cause)
			if n > 1 {
				p.Problem += fmt.Sprintf(", and so are %d more places", n-1)
			}
			p.Problem += "; what follows was searched for values"
		}
		for _, rest := range state.Rest {
			if err := s.file(ctx, rest.Path, rest.Offset); err != nil {
				return err
			}
		}
	case p.Kind == RaftSnapshot:
		return s.file(ctx, p.Path, 0)
	}
	return nil
}

// maxSearched is how much of a file is searched for values at once, and held in memory for it. A segment has 64 MB.
const maxSearched = 128 << 20

func (s *search) file(ctx context.Context, path string, offset int64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("looking for values: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.NewSectionReader(file, offset, maxSearched+1))
	if err != nil {
		return fmt.Errorf("looking for values in %s: %w", path, err)
	}
	if len(b) > maxSearched {
		b = b[:maxSearched]
		s.part.Problem = fmt.Sprintf("only the first %d MiB of %s were searched for values", maxSearched>>20, path)
	}
	s.part.Bytes += int64(len(b))
	s.in(b)
	clear(b)
	return nil
}

// in searches bytes.
func (s *search) in(b []byte) {
	for v := range carve.Find(b) {
		s.take(v)
	}
}

// finish takes over what is known of databases once they were read.
func (h *home) finish(ctx context.Context) error {
	for _, p := range h.parts {
		if p.file == nil {
			continue
		}
		sum, integrity, err := p.file.Digest(ctx)
		if err != nil {
			return fmt.Errorf("reading %s: %w", p.Path, err)
		}
		p.SHA256, p.Integrity = sum, string(integrity)
		if integrity != snapshot.Absent && p.Kind == Database {
			p.Kind = Snapshot
		}
		if err := p.file.Doubts(ctx); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			p.Problem = err.Error()
		}
	}
	return nil
}
