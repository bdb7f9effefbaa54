package live

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

var (
	// ErrNoEndpoints is returned by Open without an endpoint.
	ErrNoEndpoints = errors.New("no etcd endpoint")
	// ErrHalfKeyPair is returned by Open when only one of certificate and key is given.
	ErrHalfKeyPair = errors.New("--cert and --key belong together")
	// ErrCredentials is returned when etcd does not accept user and password.
	ErrCredentials = errors.New("etcd refused the user name or password")
	// ErrClientCertificate is returned by Open when etcd does not take the client certificate, or wants one.
	ErrClientCertificate = errors.New("etcd does not accept the client certificate")
	// ErrMixedClusters is returned when two endpoints answer for different etcd clusters.
	ErrMixedClusters = errors.New("the endpoints belong to different etcd clusters")

	errNotPEM   = errors.New("not a usable PEM certificate or key")
	errTooLarge = errors.New("the answer is larger than one message may be")
)

// FileError is a certificate, key or password file that cannot be used. It never quotes the file.
type FileError struct {
	Path string
	Err  error
}

func (e *FileError) Error() string { return fmt.Sprintf("reading %s: %v", e.Path, e.Err) }
func (e *FileError) Unwrap() error { return e.Err }

// classifyError turns what etcd answered into the errors of etcdscan, so that callers need not know gRPC. Texts of
// etcd's answers name no key and no value.
func classifyError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrCompacted):
		return etcdscan.ErrCompacted
	case errors.Is(err, rpctypes.ErrFutureRev):
		return etcdscan.ErrFutureRevision
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrUserEmpty):
		return fmt.Errorf("%w: %s", etcdscan.ErrPermission, rpctypes.ErrorDesc(err))
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return ErrCredentials
	}
	switch errorCode(err) {
	case codes.PermissionDenied:
		return fmt.Errorf("%w: %s", etcdscan.ErrPermission, rpctypes.ErrorDesc(err))
	case codes.ResourceExhausted:
		return fmt.Errorf("%w: %s", errTooLarge, rpctypes.ErrorDesc(err))
	}
	return err
}

func errorCode(err error) codes.Code {
	var etcdErr rpctypes.EtcdError
	if errors.As(err, &etcdErr) {
		return etcdErr.Code()
	}
	return status.Code(err)
}

// transient tells whether the same request may succeed a moment later, on this member or another: nothing is proven
// by trying again, and nothing is harmed.
func transient(err error) bool {
	if errors.Is(err, rpctypes.ErrInvalidAuthToken) || errors.Is(err, rpctypes.ErrAuthOldRevision) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errStalled) || errors.Is(err, errCutShort) || errors.Is(err, errShortPage) {
		return true
	}
	switch errorCode(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Aborted, codes.Internal:
		return true
	}
	return false
}

// retry calls f until it succeeds, fails for good, or has failed for longer than the store's patience; it returns a
// classified error. The patience bounds the attempts and the waits between them together.
func (s *Store) retry(ctx context.Context, f func() error) error {
	b := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 6}
	for start := time.Now(); ; {
		err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !transient(err) || time.Since(start) >= s.patience {
			return classifyError(err)
		}
		select {
		case <-time.After(b.Step()):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// clusterGuard notices endpoints of different clusters: their answers must not be mixed in one proof. Kine leaves the
// cluster out of its headers, where etcd's is a hash and never 0; what the first answer came from, all have to come from.
// https://github.com/k3s-io/kine/blob/v0.17.5/pkg/server/list.go
type clusterGuard struct {
	id   atomic.Uint64
	kine atomic.Bool
}

func (g *clusterGuard) check(h *etcdserverpb.ResponseHeader) error {
	switch {
	case h == nil:
		return etcdscan.ErrUnsupportedStore
	case h.ClusterId == 0 && g.kine.Load():
		return nil
	case h.ClusterId == 0 && g.id.Load() == 0:
		return etcdscan.ErrUnsupportedStore
	case h.ClusterId == 0 || g.kine.Load(), !g.id.CompareAndSwap(0, h.ClusterId) && g.id.Load() != h.ClusterId:
		return ErrMixedClusters
	}
	return nil
}
