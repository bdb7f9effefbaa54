package snapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync/atomic"
)

// Integrity is what the digest at the end of a file says about the rest of it.
type Integrity string

const (
	Valid  Integrity = "valid"
	Absent Integrity = "absent" // there is none: the file is a copy of a database, or its end is missing
	Wrong  Integrity = "wrong"
)

// digest is the SHA-256 of a file, made while the file is read otherwise.
type digest struct {
	mapped  []byte
	trailed bool // the file ends in a digest of the rest
	stopped atomic.Bool
	done    chan struct{}

	sum       [sha256.Size]byte // of the whole file
	integrity Integrity
	err       error
}

// Etcd adds a digest of 32 bytes to a file of whole pages, and knows it by that.
const sectors = 512

func newDigest(mapped []byte) *digest {
	return &digest{mapped: mapped, trailed: len(mapped)%sectors == sha256.Size, done: make(chan struct{}), integrity: Absent}
}

// content is the file without the digest at its end.
func (d *digest) content() []byte {
	if d.trailed {
		return d.mapped[:len(d.mapped)-sha256.Size]
	}
	return d.mapped
}

var errStopped = errors.New("stopped")

func (d *digest) run() {
	defer close(d.done)
	d.err = guarded(func() error {
		const atOnce = 1 << 20
		hash := sha256.New()
		for rest := d.content(); len(rest) > 0; {
			if d.stopped.Load() {
				return errStopped
			}
			n := min(len(rest), atOnce)
			hash.Write(rest[:n])
			rest = rest[n:]
		}
		if trailing := d.mapped[len(d.content()):]; d.trailed {
			d.integrity = Wrong
			if bytes.Equal(hash.Sum(nil), trailing) {
				d.integrity = Valid
			}
			hash.Write(trailing)
		}
		hash.Sum(d.sum[:0])
		return nil
	})
}

func (d *digest) stop() {
	d.stopped.Store(true)
	<-d.done
}

// StopDigest ends the making of the digest, which the bench tells apart from the reading: nothing that is read from the file is a
// proof then, for Digest and Doubts give an error. The program itself never calls it.
func (f *File) StopDigest() { f.digest.stop() }

func (d *digest) wait(ctx context.Context) error {
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Digest is the SHA-256 of the file, in hex, and what the one at its end says. It waits for both to be known.
func (f *File) Digest(ctx context.Context) (sum string, integrity Integrity, err error) {
	if err := f.digest.wait(ctx); err != nil {
		return "", Absent, err
	}
	return hex.EncodeToString(f.digest.sum[:]), f.digest.integrity, nil
}
