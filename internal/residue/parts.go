package residue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan/carve"
	"github.com/svmctl/svmctl/internal/etcdscan/wal"
)

// part is a file, or the directory of a log.
type part struct {
	of    string // the path that was asked for
	path  string
	kind  Kind
	bytes int64
}

// partsOf lists what is to be looked through in a path.
func partsOf(path string) ([]part, error) {
	of := path
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("looking for etcd's files: %w", err)
	}
	if !info.IsDir() {
		return []part{{path, path, Database, info.Size()}}, nil
	}
	if _, err := os.Stat(filepath.Join(path, "member")); err == nil {
		path = filepath.Join(path, "member")
	}
	var parts []part
	snap := filepath.Join(path, "snap")
	entries, err := os.ReadDir(snap)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("looking for etcd's files: %w", err)
	}
	for _, entry := range entries {
		name := filepath.Join(snap, entry.Name())
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("looking for etcd's files: %w", err)
		}
		switch {
		case !info.Mode().IsRegular():
		case entry.Name() == "db", strings.HasSuffix(name, ".snap.db"):
			parts = append(parts, part{of, name, Database, info.Size()})
		default: // raft's snapshots, those that were found broken, and what was received in part
			parts = append(parts, part{of, name, RaftSnapshot, info.Size()})
		}
	}
	for _, dir := range []string{filepath.Join(path, "wal"), path} {
		if segments, _ := filepath.Glob(filepath.Join(dir, "*.wal")); len(segments) > 0 {
			parts = append(parts, part{of: of, path: dir, kind: Log})
			break
		}
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("%s holds %w", path, ErrNothing)
	}
	return parts, nil
}

// log counts the puts of a write-ahead log, and the values in what of it is no log any more.
func (l *look) log(ctx context.Context, p part) error {
	segments, err := wal.Open(p.path)
	if err != nil {
		return err
	}
	t := l.table(p, WAL, p.path)
	for put, err := range segments.Puts(ctx) {
		if err != nil {
			return fmt.Errorf("reading the write-ahead log in %s: %w", p.path, err)
		}
		if len(put.Value) > 0 {
			l.add(t, put.Key, put.Value)
		}
	}
	state := segments.State()
	out := File{Path: p.path, of: p.of, Kind: Log, Bytes: state.Bytes}
	if len(state.Damage) > 0 {
		b := state.Damage[0]
		out.Problem = fmt.Sprintf("%s is damaged at byte %d: %s", b.Segment, b.Offset, b.Cause)
		if more := len(state.Damage) - 1; more > 0 {
			out.Problem += fmt.Sprintf(", and so are %d more places", more)
		}
		out.Problem += "; what follows was searched for values"
	}
	for _, rest := range state.Rest {
		if err := l.carveFile(ctx, t, rest.Path, rest.Offset, &out); err != nil {
			return err
		}
	}
	l.report.Files = append(l.report.Files, out)
	return nil
}

// raftSnapshot looks for values in a file beside the database. Raft's own snapshots hold none, as a rule.
func (l *look) raftSnapshot(ctx context.Context, p part) error {
	out := File{Path: p.path, of: p.of, Kind: RaftSnapshot}
	if err := l.carveFile(ctx, l.table(p, WAL, p.path), p.path, 0, &out); err != nil {
		return err
	}
	l.report.Files = append(l.report.Files, out)
	return nil
}

// maxCarved is how much of a file is searched for values at once, and held in memory for it. A segment has 64 MB.
const maxCarved = 128 << 20

func (l *look) carveFile(ctx context.Context, t *table, path string, offset int64, out *File) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("looking for values: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.NewSectionReader(file, offset, maxCarved+1))
	if err != nil {
		return fmt.Errorf("looking for values in %s: %w", path, err)
	}
	if len(b) > maxCarved {
		b = b[:maxCarved]
		out.Problem = fmt.Sprintf("only the first %d MiB of %s were searched for values", maxCarved>>20, path)
	}
	out.Bytes += int64(len(b))
	for v := range carve.Find(b) {
		l.addCarved(t, v)
	}
	clear(b)
	return nil
}
