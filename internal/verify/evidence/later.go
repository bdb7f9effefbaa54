package evidence

import (
	"context"
	"errors"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/verify"
)

// LookOn judges what was written between the revision that a report speaks of and now, of what is expected to be encrypted. A text says
// why nobody could look.
func LookOn(ctx context.Context, store etcdscan.Source, report *audit.Report, opener etcdscan.Opener) (later *Later, unknown string) {
	changer, ok := store.(etcdscan.Changer)
	if !ok {
		return nil, "a file was read"
	}
	later = new(Later)
	var err error
	later.HeadRevision, err = changer.Changes(ctx, report.Bounds.Ranges, report.Source.Revision, func(kv etcdscan.KeyValue) error {
		e := etcdscan.Inspect(ctx, report.Bounds.Root(kv.Key), &kv, opener)
		f := formOf(&e, report.Judged())
		if !f.expected {
			return nil
		}
		later.Writes++
		switch {
		case f.state == StatePlaintext:
			later.Plaintext++
		case f.has(verify.StaleKey):
			later.OtherKey++
		case f.unclear(), f.has(verify.UnknownKeyID), f.has(verify.AmbiguousKey):
			later.Unknown++
		}
		return nil
	})
	switch {
	case errors.Is(err, etcdscan.ErrNoHistory):
		return nil, etcdscan.ErrNoHistory.Error()
	case errors.Is(err, etcdscan.ErrCompacted):
		return nil, etcdscan.ErrCompacted.Error()
	case err != nil:
		return nil, "etcd did not tell"
	}
	return later, ""
}
