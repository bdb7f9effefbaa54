// Package wal reads the puts that a copied write-ahead log of etcd carries, and says what of it could not be read. It never
// writes, locks or creates a file, and no byte of a key or of a value gets into its errors.
package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
)

// ErrNoSegments is returned by Open when the directory holds no segment of a log.
var ErrNoSegments = errors.New("no segments of a write-ahead log")

// Put is one write of a key that the log carries: committed or not, replaced or deleted since, and in either branch of a
// transaction, whichever was taken. Key and Value are only valid until the next step of the iteration. Value is empty
// for a put that keeps the value it finds.
type Put struct {
	Index      uint64 // of the raft entry
	Key, Value []byte
}

// Cause is why the records of a segment could not all be read. It is a fixed text: what is wrong with a log could be any
// byte of a secret.
type Cause string

const (
	// CutShort is a record that goes on behind the end of the file, or of which a part never reached the disk. A segment
	// without any record is cut short too.
	CutShort Cause = "a record is cut short"
	// BadLength is a length that no record has, or one above the limit of 64 MiB.
	BadLength Cause = "impossible length of a record"
	// BadRecord is a record that etcd does not write, or not in this place.
	BadRecord Cause = "malformed record"
	// BadChecksum is a record that is not the one that was written.
	BadChecksum Cause = "wrong checksum"
	// BadEntry is a record as it was written, whose request cannot be decoded.
	BadEntry Cause = "malformed raft entry"
	// Unchained is a segment of which the checksums do not show that it follows the segment before: that one is damaged,
	// or records between the two are missing. Its own records are read all the same.
	Unchained Cause = "not known to follow the segment before"
	// Leftover is something behind the zeros that end the records: what was written later was copied and what was written
	// before was not, or damage has made the length of a record zero.
	Leftover Cause = "bytes behind the last record"
)

// Error makes a Cause an error, which is how it travels within this package.
func (c Cause) Error() string { return string(c) }

// Break is a place where the log is not what etcd writes.
type Break struct {
	Segment string // name of the file
	Offset  int64  // of the record
	Cause   Cause
}

// Rest is a part of a file, from Offset to its end, that was not read as records and holds something other than zeros.
type Rest struct {
	Path   string
	Offset int64
}

// State is what is known of a log when all of it has been gone through.
type State struct {
	Ended     bool // Puts came to the end of the log: until then the rest of this says little
	Segments  int
	Bytes     int64  // of the records read, without the zeros behind them
	LastIndex uint64 // highest index of an entry, 0 for none
	Commit    uint64 // of the last hard state, 0 for none
	// Torn is where the last segment ends as etcd leaves it when it crashes or is copied while it writes: with a record
	// that is cut short, or with bytes behind zeros. etcd itself would cut the log there and go on.
	Torn *Break
	// Damage are all other breaks, in their order. After one the reading goes on with the next segment.
	Damage []Break
	// Rest is what a search for bytes must look through by itself: segments behind a break, and what lies in the directory
	// and is no segment, such as preallocated files and copies that a repair left.
	Rest []Rest
}

// Complete tells whether every record of every segment was read. It says nothing of segments that etcd has removed, nor
// of records that had not been written when the last segment was copied.
func (s State) Complete() bool { return s.Ended && s.Torn == nil && len(s.Damage) == 0 }

// Log is a directory of segments. It is not safe for concurrent use.
type Log struct {
	dir      string
	fsys     fs.FS
	segments []string // in their order
	others   []string
	state    State
}

// https://github.com/etcd-io/etcd/blob/v3.7.3/server/storage/wal/util.go
var segmentName = regexp.MustCompile(`^[0-9a-f]{16}-[0-9a-f]{16}\.wal$`)

// Open lists the segments in dir, which is the member/wal of a data directory. It opens none of them.
func Open(dir string) (*Log, error) { return open(dir, os.DirFS(dir)) }

func open(dir string, fsys fs.FS) (*Log, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", dir, err)
	}
	l := &Log{dir: dir, fsys: fsys}
	for _, entry := range entries {
		name := entry.Name()
		// A link may lead to a segment. Opening a pipe would wait for ever.
		info, err := fs.Stat(fsys, name)
		switch isSegment := segmentName.MatchString(name); {
		case err != nil:
			return nil, fmt.Errorf("listing %s: %w", dir, err)
		case isSegment && !info.Mode().IsRegular():
			return nil, fmt.Errorf("listing %s: %s is not a regular file", dir, name)
		case isSegment:
			l.segments = append(l.segments, name)
		case info.Mode().IsRegular():
			l.others = append(l.others, name)
		}
	}
	if len(l.segments) == 0 {
		return nil, fmt.Errorf("listing %s: %w", dir, ErrNoSegments)
	}
	return l, nil
}

func (l *Log) path(name string) string { return filepath.Join(l.dir, name) }

// Puts yields the puts of all segments in the order of the log. What is wrong with the log ends up in State. An error
// means that a file could not be read, or that ctx is done; it is the last thing yielded. Memory is bounded by the largest
// record, whatever the files claim. Iterating again starts anew.
func (l *Log) Puts(ctx context.Context) iter.Seq2[Put, error] {
	return func(yield func(Put, error) bool) {
		l.state = State{}
		p := newPass(ctx, l, func(put Put) bool { return yield(put, nil) })
		if err := p.run(); err != nil && !errors.Is(err, errStopped) {
			yield(Put{}, err)
		}
	}
}

// State is what the last iteration over Puts found.
func (l *Log) State() State { return l.state }
