package live

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

var (
	errStalled  = errors.New("etcd sent nothing for too long")
	errCutShort = errors.New("the stream ended before its last chunk")

	errNoStream = errors.New("this etcd has no RangeStream")
)

// streamSupport remembers that some member does not speak RangeStream (etcd before 3.7, or the gRPC proxy).
type streamSupport struct{ denied atomic.Bool }

func (s *streamSupport) deny()         { s.denied.Store(true) }
func (s *streamSupport) allowed() bool { return !s.denied.Load() }

// Read implements etcdscan.Source: by RangeStream where the server has it, else by pages. A connection that breaks is
// resumed behind the last key at the same revision, which leaves the proof whole.
func (s *Store) Read(ctx context.Context, r etcdscan.Range, revision int64) iter.Seq2[[]etcdscan.KeyValue, error] {
	return func(yield func([]etcdscan.KeyValue, error) bool) {
		stopped := false
		deliver := func(batch []etcdscan.KeyValue) bool {
			if len(batch) > 0 {
				r.Start = batch[len(batch)-1].Key + "\x00"
				stopped = !yield(batch, nil)
			}
			return !stopped
		}
		var err error
		if s.Kine() {
			err = s.readKine(ctx, r, revision, deliver)
		} else if s.stream.allowed() {
			err = s.readResuming(ctx, func() error { return s.readStream(ctx, r, revision, deliver) }, func() string { return r.Start })
		} else {
			err = errNoStream
		}
		if errors.Is(err, errNoStream) {
			err = s.readPages(ctx, r, revision, deliver)
		}
		if err != nil && !stopped {
			yield(nil, err)
		}
	}
}

// readResuming repeats a read that breaks off. The retries begin anew whenever one has brought the position further,
// so that their bound holds for one place and not for the length of the scan.
func (s *Store) readResuming(ctx context.Context, read func() error, position func() string) error {
	for {
		before := position()
		moved := false
		err := s.retry(ctx, func() error {
			err := read()
			if err != nil && transient(err) && position() != before {
				moved = true
				return nil
			}
			return err
		})
		if err != nil || !moved {
			return err
		}
	}
}

// readStream drains one RangeStream. The header, the count and the end of the range come with the last chunk alone, so
// a stream without one is an error however much it has sent.
func (s *Store) readStream(ctx context.Context, r etcdscan.Range, revision int64, deliver func([]etcdscan.KeyValue) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(s.timeout, func() { cancel(errStalled) })
	defer stall.Stop()

	start, opts := rangeOptions(r, []clientv3.OpOption{clientv3.WithRev(revision)})
	chunks, err := s.kv.GetStream(ctx, start, opts...)
	if err != nil {
		return s.streamError(ctx, err)
	}
	defer func() {
		cancel(nil)
		for range chunks { // lets the client's goroutine end
		}
	}()
	var sent int64
	var batch []etcdscan.KeyValue
	for chunk := range chunks {
		if err := chunk.Err(); err != nil {
			return s.streamError(ctx, err)
		}
		// The time that the consumer takes is not silence of the server.
		stall.Stop()
		sent += int64(len(chunk.Kvs))
		batch = batch[:0]
		for _, kv := range chunk.Kvs {
			batch = append(batch, keyValue(kv))
		}
		last := chunk.Header
		if last != nil {
			if err := s.cluster.check(last); err != nil {
				return err
			}
			if chunk.Count != sent || chunk.More {
				return fmt.Errorf("etcd counts %d keys in the stream where it sent %d", chunk.Count, sent)
			}
		}
		if !deliver(batch) || last != nil {
			return nil
		}
		stall.Reset(s.timeout)
	}
	return errCutShort
}

func (s *Store) streamError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		return errStalled
	}
	if errorCode(err) == codes.Unimplemented {
		s.stream.deny()
		return errNoStream
	}
	return err
}
