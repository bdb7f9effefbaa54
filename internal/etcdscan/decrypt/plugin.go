package decrypt

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/svmctl/svmctl/internal/encryption"
)

const (
	// maxDEKs bounds how many data keys are kept. KMS v2 has a few in a cluster, v1 one for each write.
	maxDEKs = 4096
	// sulk is how long a plugin that gave no answer, or no data key, is not asked again for it.
	sulk = 30 * time.Second
)

// plugin asks a KMS plugin for data keys, once for each.
type plugin struct {
	key   encryption.Key
	limit int64 // calls; 0 for none

	mu          sync.Mutex
	deks        map[digest]*dek
	order       []digest // of deks, the oldest first
	calls       int64
	silentUntil time.Time
}

// digest names an encrypted data key.
type digest [sha256.Size]byte

// dek is one data key. Its fields are set when known is closed.
type dek struct {
	known   chan struct{}
	opens   keyCipher
	err     error
	forgets time.Time // an err after which it is asked for again
}

// keyCipher is a data key at work.
type keyCipher interface {
	open(ctx context.Context, body []byte, etcdKey string) (payload []byte, vouched bool, err error)
	peek(ctx context.Context, body []byte) []byte
}

func newPlugin(k encryption.Key) *plugin {
	return &plugin{key: k, deks: make(map[digest]*dek)}
}

// dek returns the data key behind an encrypted one. Whoever comes first asks the plugin, the others wait for the answer.
func (p *plugin) dek(id digest, ask func() (keyCipher, error)) (keyCipher, error) {
	p.mu.Lock()
	now := time.Now()
	d := p.deks[id]
	if d != nil {
		select {
		case <-d.known:
			if d.err != nil && now.After(d.forgets) {
				d = nil
			}
		default:
		}
	}
	if d != nil {
		p.mu.Unlock()
		<-d.known
		return d.opens, d.err
	}
	switch {
	case now.Before(p.silentUntil):
		p.mu.Unlock()
		return nil, errSilent
	case p.limit > 0 && p.calls >= p.limit:
		p.mu.Unlock()
		return nil, errNotAsked
	}
	p.calls++
	d = &dek{known: make(chan struct{})}
	p.keep(id, d)
	p.mu.Unlock()

	d.opens, d.err = ask()
	d.err = pluginError(d.err)
	d.forgets = time.Now().Add(sulk)
	if d.err == errSilent {
		p.mu.Lock()
		p.silentUntil = d.forgets
		p.mu.Unlock()
	}
	close(d.known)
	return d.opens, d.err
}

// keep holds mu.
func (p *plugin) keep(id digest, d *dek) {
	if _, again := p.deks[id]; !again {
		if len(p.order) >= maxDEKs {
			delete(p.deks, p.order[0])
			p.order = p.order[1:]
		}
		p.order = append(p.order, id)
	}
	p.deks[id] = d
}

// holds tells whether a data key need not be asked for.
func (p *plugin) holds(id digest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.deks[id]
	if d == nil {
		return false
	}
	select {
	case <-d.known:
		return d.err == nil
	default:
		return true
	}
}

// pluginError tells a plugin that gave no answer from one that refused. The plugin's own words are dropped: they may quote
// anything.
func pluginError(err error) error {
	if err == nil {
		return nil
	}
	told, ok := status.FromError(err)
	if !ok { // of the v1 client: the plugin did not tell its version
		return errSilent
	}
	switch told.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.ResourceExhausted, codes.Aborted, codes.Internal, codes.Unimplemented:
		return errSilent
	}
	return errRefused
}
