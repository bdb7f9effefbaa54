package wal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
)

const bufferSize = 64 << 10

// errStopped is the consumer's wish.
var errStopped = errors.New("stopped")

// pass is one reading of a l.
type pass struct {
	ctx     context.Context
	l       *Log
	state   *State
	yield   func(Put) bool
	records records
}

func newPass(ctx context.Context, l *Log, yield func(Put) bool) *pass {
	return &pass{ctx: ctx, l: l, state: &l.state, yield: yield, records: records{in: bufio.NewReaderSize(nil, bufferSize)}}
}

func (p *pass) run() error {
	for i, name := range p.l.segments {
		if i > 0 && sequence(name) != sequence(p.l.segments[i-1])+1 {
			p.records.chained = false
		}
		if err := p.segment(i); err != nil {
			return err
		}
		p.state.Segments++
	}
	for _, name := range p.l.others {
		if err := p.other(name); err != nil {
			return err
		}
	}
	p.state.Ended = true
	return nil
}

// sequence is the number of a segment, which the first half of its name is.
func sequence(name string) uint64 {
	n, _ := strconv.ParseUint(name[:16], 16, 64) // by the pattern of the names it is one
	return n
}

func (p *pass) segment(i int) error {
	name, last := p.l.segments[i], i == len(p.l.segments)-1
	f, size, err := p.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	p.records.reset(io.NewSectionReader(f, 0, size), size)
	err = p.entries(i)
	offset := p.records.offset
	cause, isCause := errors.AsType[Cause](err)
	switch {
	case err == errStopped:
		return err
	case err != io.EOF && !isCause:
		return fmt.Errorf("reading %s at offset %d: %w", p.l.path(name), offset, err)
	}
	// Behind the last record etcd preallocates zeros. A length that damage has made zero looks the same up to here.
	zeros, err := p.onlyZeros(f, offset, size)
	switch {
	case err != nil:
		return fmt.Errorf("reading %s behind offset %d: %w", p.l.path(name), offset, err)
	case !isCause && !zeros:
		cause = Leftover
	case !isCause && offset == 0:
		cause = CutShort
	}
	if !zeros {
		p.state.Rest = append(p.state.Rest, Rest{Path: p.l.path(name), Offset: offset})
	}
	if cause != "" {
		p.broken(Break{Segment: name, Offset: offset, Cause: cause}, last)
	}
	return nil
}

func (p *pass) broken(b Break, last bool) {
	p.records.chained = false
	if last && (b.Cause == CutShort || b.Cause == Leftover) {
		p.state.Torn = &b
	} else {
		p.state.Damage = append(p.state.Damage, b)
	}
}

// entries reads a segment up to what ends it, which is never nil.
func (p *pass) entries(i int) error {
	for {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		offset := p.records.offset
		rec, err := p.records.next()
		switch {
		case err == Unchained && i > 0: // the segments before the first one are those that etcd has removed
			p.state.Damage = append(p.state.Damage, Break{Segment: p.l.segments[i], Offset: offset, Cause: Unchained})
		case err != nil && err != Unchained:
			return err
		}
		if err := p.record(rec); err != nil {
			p.records.offset = offset
			return err
		}
		p.state.Bytes += p.records.offset - offset
	}
}

func (p *pass) record(rec record) error {
	switch rec.kind {
	case entryType:
		e, ok := parseEntry(rec.data)
		if !ok {
			return BadEntry
		}
		if e.kind == normalEntry {
			if err := p.request(e); err != nil {
				return err
			}
		}
		p.state.LastIndex = max(p.state.LastIndex, e.index)
	case stateType:
		commit, ok := parseCommit(rec.data)
		if !ok {
			return BadRecord
		}
		p.state.Commit = commit
	}
	return nil
}

// request yields the puts of an entry when all of it can be decoded: what cannot is left to whoever searches the Rest,
// and should not be found twice.
func (p *pass) request(e entry) error {
	if err := eachPut(e.data, func(_, _ []byte) error { return nil }); err != nil {
		return err
	}
	return eachPut(e.data, func(key, value []byte) error {
		if !p.yield(Put{Index: e.index, Key: key, Value: value}) {
			return errStopped
		}
		return nil
	})
}

// other looks at a file that is no segment.
func (p *pass) other(name string) error {
	f, size, err := p.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	zeros, err := p.onlyZeros(f, 0, size)
	if err != nil {
		return fmt.Errorf("reading %s: %w", p.l.path(name), err)
	}
	if !zeros {
		p.state.Rest = append(p.state.Rest, Rest{Path: p.l.path(name)})
	}
	return nil
}

// file is what a segment needs of an fs.File.
type file interface {
	fs.File
	io.ReaderAt
}

func (p *pass) open(name string) (file, int64, error) {
	f, err := p.l.fsys.Open(name)
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", p.l.dir, err)
	}
	at, ok := f.(file)
	info, err := f.Stat()
	if err == nil && !ok {
		err = errors.ErrUnsupported
	}
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("reading %s: %w", p.l.path(name), err)
	}
	return at, info.Size(), nil
}

// onlyZeros tells whether f has nothing but zeros from offset to its end.
func (p *pass) onlyZeros(f io.ReaderAt, offset, size int64) (bool, error) {
	p.records.in.Reset(io.NewSectionReader(f, offset, size-offset))
	for {
		if err := p.ctx.Err(); err != nil {
			return false, err
		}
		chunk, err := p.records.in.Peek(bufferSize)
		if !allZero(chunk) {
			return false, nil
		}
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if _, err := p.records.in.Discard(len(chunk)); err != nil {
			return false, err
		}
	}
}
