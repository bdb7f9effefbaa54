// Package spool keeps a long list in the order it was written, the first part in memory and the rest in a private
// temporary file. It never holds a byte of a stored value: its users put names and revisions in it.
package spool

import (
	"bufio"
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
)

// memoryLimit is how many encoded bytes are held before the file is made.
const memoryLimit = 4 << 20

// Spool is a list of T that is written once and may then be read any number of times. The zero value is empty and
// ready. It is not safe for concurrent use.
type Spool[T any] struct {
	memory  bytes.Buffer
	file    *os.File
	out     *bufio.Writer
	encoder *gob.Encoder
	length  int64
}

// Add appends v.
func (s *Spool[T]) Add(v T) error {
	if s.encoder == nil {
		s.encoder = gob.NewEncoder(writerFunc(s.write))
	}
	if err := s.encoder.Encode(v); err != nil {
		return fmt.Errorf("spooling: %w", err)
	}
	s.length++
	return nil
}

func (s *Spool[T]) write(p []byte) (int, error) {
	if s.file == nil && s.memory.Len()+len(p) > memoryLimit {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	if s.file == nil {
		return s.memory.Write(p)
	}
	return s.out.Write(p)
}

// spill moves on to a file that has no name any more, so that nothing is left of it whichever way the process ends.
func (s *Spool[T]) spill() error {
	file, err := os.CreateTemp("", "svmctl-*")
	if err != nil {
		return err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return err
	}
	s.file, s.out = file, bufio.NewWriterSize(file, 256<<10)
	_, err = s.memory.WriteTo(s.out)
	s.memory = bytes.Buffer{}
	return err
}

// Len is the number of values added.
func (s *Spool[T]) Len() int64 { return s.length }

// All yields the values in the order they were added. An error ends it.
func (s *Spool[T]) All() iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		in, err := s.reader()
		if err != nil {
			yield(zero, fmt.Errorf("reading the spool: %w", err))
			return
		}
		decoder := gob.NewDecoder(in)
		for range s.length {
			var v T
			if err := decoder.Decode(&v); err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				yield(zero, fmt.Errorf("reading the spool: %w", err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

func (s *Spool[T]) reader() (io.Reader, error) {
	if s.file == nil {
		return bytes.NewReader(s.memory.Bytes()), nil
	}
	if err := s.out.Flush(); err != nil {
		return nil, err
	}
	end, err := s.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	return bufio.NewReaderSize(io.NewSectionReader(s.file, 0, end), 256<<10), nil
}

// Close frees the file, if there is one.
func (s *Spool[T]) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
