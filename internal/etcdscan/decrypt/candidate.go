package decrypt

import (
	"context"
	"slices"

	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
)

// Candidate is an opener that judges by one Keyring what an apiserver with it could read, and opens with another what the first
// one cannot.
type Candidate struct {
	*Keyring
	present *Keyring // may be nil
}

// NewCandidate judges by next. Present is the Keyring in force; it may be nil, and says nothing where it is the same file.
func NewCandidate(next, present *Keyring) *Candidate {
	if present != nil && present.config.Hash == next.config.Hash {
		present = nil
	}
	return &Candidate{next, present}
}

// Calls implements etcdscan.Asker. Of a plugin that is in the present file alone, those data keys count that opening with it may ask for.
func (c *Candidate) Calls(ctx context.Context, r etcdscan.Reading) (map[string]int64, error) {
	calls, err := c.Keyring.Calls(ctx, r)
	if err != nil || c.present == nil {
		return calls, err
	}
	more, err := c.present.Calls(ctx, r)
	if err != nil {
		return nil, err
	}
	for name, n := range more {
		if !slices.ContainsFunc(c.Plugins(), func(k encryption.Key) bool { return k.Name == name }) {
			if calls == nil {
				calls = make(map[string]int64)
			}
			calls[name] = n
		}
	}
	return calls, nil
}

// Open implements etcdscan.Opener. Where neither can read the value, the obstacle says so.
func (c *Candidate) Open(ctx context.Context, o key.Object, k string, value []byte, v atrest.Value) etcdscan.Opening {
	next := c.Keyring.Open(ctx, o, k, value, v)
	if c.present == nil || !next.Tried || next.Obstacle == etcdscan.NoObstacle || next.Obstacle.Unknown() {
		return next
	}
	now := c.present.Open(ctx, o, k, value, c.present.Parse(value))
	switch {
	case now.Obstacle != etcdscan.NoObstacle && !now.Obstacle.Unknown():
		clear(now.Payload)
		next.Already = true
		return next
	case now.Payload == nil:
		return next
	}
	clear(next.Payload)
	now.Obstacle = next.Obstacle
	return now
}

var _ etcdscan.Asker = (*Candidate)(nil)
