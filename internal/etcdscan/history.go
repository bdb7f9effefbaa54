package etcdscan

import (
	"context"
	"errors"
	"fmt"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
)

// Historian is a Source that keeps what was written before.
type Historian interface {
	Source
	// History hands over each write to a key of the ranges that can still be read at some revision up to the one given, and is
	// not what the key has there. They come in no order that means something. Compacted is the oldest revision that can be read; 0
	// for the first. A value is valid until each returns.
	History(ctx context.Context, ranges []Range, revision int64, each func(KeyValue) error) (compacted int64, err error)
}

// Changer is a Source that tells what was written lately.
type Changer interface {
	Source
	// Changes hands over what was written to the ranges after a revision, up to the newest, which it returns. What was deleted is left
	// out. A value is valid until each returns.
	Changes(ctx context.Context, ranges []Range, after int64, each func(KeyValue) error) (head int64, err error)
}

// ErrNoHistory means that the store keeps older revisions in a way that cannot be read.
var ErrNoHistory = errors.New("this store does not tell its older revisions")

// Past is what a store still gives to whoever asks for an older revision.
type Past struct {
	Compacted int64 // the oldest revision that can be read; 0 for the first
	Tally     *Tally
}

// History counts the older revisions in a scope, by what they are of and how they are encrypted. Nothing is opened. Opener names the
// keys; it may be nil.
func History(ctx context.Context, src Source, scope Scope, revision int64, opener Opener) (*Past, error) {
	historian, ok := src.(Historian)
	if !ok {
		return nil, ErrNoHistory
	}
	for attempt := 0; ; attempt++ {
		past := &Past{Tally: new(Tally)}
		var err error
		past.Compacted, err = historian.History(ctx, scope.Ranges, revision, func(kv KeyValue) error {
			v := atrest.Value{}
			if opener != nil {
				v = opener.Parse(kv.Value)
			} else {
				v = atrest.Parse(kv.Value)
			}
			r := Record{Key: kv.Key, Object: key.Parse(scope.Root(kv.Key), kv.Key), AtRest: v.Encryption, Ends: v.Ends, Opened: NotTried,
				ModRevision: kv.ModRevision, Size: int64(len(kv.Value))}
			r.Note = r.Object.Note
			past.Tally.Census.Add(v)
			past.Tally.Add(&r)
			return nil
		})
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, ErrCompacted) && attempt < maxRestarts:
			continue
		case err != nil:
			return nil, fmt.Errorf("reading older revisions: %w", err)
		}
		past.Tally.Resolve()
		return past, nil
	}
}
