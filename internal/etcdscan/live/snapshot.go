package live

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"k8s.io/apimachinery/pkg/util/wait"
)

var (
	// ErrSnapshotDigest is returned when what arrived is not what etcd's own SHA-256 at its end says was sent.
	ErrSnapshotDigest = errors.New("the snapshot does not end in its own SHA-256")
	// ErrLagging is returned when a member stays behind what the cluster has agreed on, so that its snapshot would be old.
	ErrLagging = errors.New("a member of etcd lags behind the others")
)

// Snapshot writes a member's whole backend to w, as `etcdctl snapshot save` has it: the bolt file, and 32 bytes of
// SHA-256 at its end, which are checked. It holds every secret of the cluster just as etcd does, those in plaintext and
// old ones in free pages included. n counts the bytes written to w and sum is the SHA-256 of all of them.
//
// The snapshot holds all that was written before the call: members of etcd that answer and lag behind are waited for,
// for as long as the store's patience lasts. It comes from whichever endpoint the client chooses. To open the stream is
// tried again while that is of use; a stream that breaks is not resumed. Etcd's role root is needed where etcd has users:
// etcdscan.ErrPermission without it.
func (s *Store) Snapshot(ctx context.Context, w io.Writer) (n int64, sum [sha256.Size]byte, err error) {
	if s.Kine() {
		return 0, sum, ErrNoSnapshot
	}
	if err := s.membersCaughtUp(ctx); err != nil {
		return 0, sum, fmt.Errorf("taking a snapshot of etcd: %w", err)
	}
	n, sum, err = s.download(ctx, w)
	if err != nil {
		return n, sum, fmt.Errorf("taking a snapshot of etcd: %w", err)
	}
	return n, sum, nil
}

// membersCaughtUp waits until every member that answers has what is written now.
func (s *Store) membersCaughtUp(ctx context.Context) error {
	newest, err := s.Revision(ctx)
	if err != nil {
		return err
	}
	b := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Steps: 6}
	for start := time.Now(); ; {
		behind, err := s.behind(ctx, newest)
		if err != nil || !behind {
			return err
		}
		if time.Since(start) >= s.patience {
			return ErrLagging
		}
		select {
		case <-time.After(b.Step()):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Store) behind(ctx context.Context, revision int64) (bool, error) {
	statuses, cancel := s.statuses(ctx)
	defer cancel()
	behind := false
	for range s.endpoints {
		st := <-statuses
		if st.err != nil {
			continue // it gives no snapshot either
		}
		if err := s.cluster.check(st.Header); err != nil {
			return false, err
		}
		behind = behind || st.Header.Revision < revision
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return behind, nil
}

// download copies one snapshot stream. The silence of etcd is bounded, the time that w takes is not.
func (s *Store) download(ctx context.Context, w io.Writer) (n int64, sum [sha256.Size]byte, err error) {
	stream, err := s.openSnapshot(ctx)
	if err != nil {
		return 0, sum, err
	}
	defer stream.close()
	digest := sha256.New()
	// The last bytes are held back from the digest, which is of all but itself.
	buf := make([]byte, sha256.Size+64<<10)
	held := 0
	for {
		k, err := stream.read(buf[held:])
		if k > 0 {
			written, err := w.Write(buf[held : held+k])
			n += int64(written)
			if err != nil {
				return n, sum, err
			}
			held += k
			if over := held - sha256.Size; over > 0 {
				digest.Write(buf[:over])
				copy(buf, buf[over:held])
				held = sha256.Size
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return n, sum, classifyError(err)
		}
	}
	// An empty bolt file has several pages, so a digest alone is none of a snapshot.
	if n <= sha256.Size || !bytes.Equal(digest.Sum(nil), buf[:held]) {
		return n, sum, ErrSnapshotDigest
	}
	digest.Write(buf[:held])
	return n, [sha256.Size]byte(digest.Sum(nil)), nil
}

// snapshotStream is a snapshot on its way, given up when etcd is silent for too long.
type snapshotStream struct {
	content io.ReadCloser
	ctx     context.Context
	cancel  context.CancelCauseFunc
	stall   *time.Timer
	timeout time.Duration
}

// openSnapshot opens the stream and waits for its first bytes.
func (s *Store) openSnapshot(ctx context.Context) (*snapshotStream, error) {
	var stream *snapshotStream
	err := s.retry(ctx, func() error {
		next := &snapshotStream{timeout: s.timeout}
		next.ctx, next.cancel = context.WithCancelCause(ctx)
		next.stall = time.AfterFunc(s.timeout, func() { next.cancel(errStalled) })
		resp, err := s.maintenance.SnapshotWithVersion(next.ctx)
		next.stall.Stop()
		if err != nil {
			err = next.reason(err)
			next.cancel(nil)
			return err
		}
		next.content, stream = resp.Snapshot, next
		return nil
	})
	return stream, err
}

func (s *snapshotStream) read(p []byte) (int, error) {
	s.stall.Reset(s.timeout)
	n, err := s.content.Read(p)
	s.stall.Stop()
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, s.reason(err)
}

// reason is what ended the stream: the client gives gRPC's own errors.
func (s *snapshotStream) reason(err error) error {
	if cause := context.Cause(s.ctx); errors.Is(cause, errStalled) {
		return errStalled
	}
	return rpctypes.Error(err)
}

func (s *snapshotStream) close() {
	s.stall.Stop()
	s.cancel(nil)
	s.content.Close()
}

// SaveSnapshot writes a Snapshot to a new file, which only its owner may read, and syncs it to the disk. It appears under
// its name when it is whole and not before; after an error nothing is left of it. A file that is there already is
// refused with fs.ErrExist and left as it is. sum is the digest of the file.
func (s *Store) SaveSnapshot(ctx context.Context, path string) (n int64, sum [sha256.Size]byte, err error) {
	if n, sum, err = s.saveSnapshot(ctx, path); err != nil {
		var pathError *fs.PathError
		var linkError *os.LinkError
		switch { // which name it had meanwhile does not matter
		case errors.As(err, &pathError):
			err = pathError.Err
		case errors.As(err, &linkError):
			err = linkError.Err
		}
		return 0, [sha256.Size]byte{}, fmt.Errorf("saving a snapshot to %s: %w", path, err)
	}
	return n, sum, nil
}

func (s *Store) saveSnapshot(ctx context.Context, path string) (n int64, sum [sha256.Size]byte, err error) {
	switch _, err := os.Lstat(path); {
	case err == nil:
		return 0, sum, fs.ErrExist
	case !errors.Is(err, fs.ErrNotExist):
		return 0, sum, err
	}
	part, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".part-*")
	if err != nil {
		return 0, sum, err
	}
	defer os.Remove(part.Name())
	defer part.Close()
	// The umask may have taken rights away, and none were given that it could have.
	if err := part.Chmod(0o600); err != nil {
		return 0, sum, err
	}
	if n, sum, err = s.Snapshot(ctx, part); err != nil {
		return 0, sum, err
	}
	if err := part.Sync(); err != nil {
		return 0, sum, err
	}
	if err := part.Close(); err != nil {
		return 0, sum, err
	}
	if err := publish(part.Name(), path); err != nil {
		return 0, sum, err
	}
	if err := syncDirectory(filepath.Dir(path)); err != nil {
		os.Remove(path)
		return 0, sum, err
	}
	return n, sum, nil
}

// publish gives a file its name, unless something has it already. Where there are no hard links, what appears at the very
// moment is overwritten.
func publish(part, path string) error {
	err := os.Link(part, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fs.ErrExist
	}
	return os.Rename(part, path)
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
