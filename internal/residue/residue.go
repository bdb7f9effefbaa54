// Package residue finds what rotation has left behind in etcd's files: old revisions, free pages, the write-ahead log. It counts
// values and names the keys they are under; it keeps no byte of a value, opens none, and changes no file.
package residue

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"time"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
)

// Request is what to look through.
type Request struct {
	Paths      []string                  // files, and data directories of etcd
	Config     *encryption.Configuration // tells the names of its keys, and what is to be encrypted; nil: there is none
	Encryption *audit.Encryption
	Version    string
	Now        func() time.Time
}

// ErrNothing is returned for a path that holds nothing of etcd's.
var ErrNothing = errors.New("nothing of etcd's: name a snapshot, a copied member/snap/db or a copied data directory")

// Run takes the look. What is the matter with one path keeps nobody from the others. An error means that no report could be made.
func Run(ctx context.Context, req Request) (*Report, error) {
	r := &Report{APIVersion: audit.APIVersion, Kind: "ResidueReport", Tool: audit.Tool{Version: req.Version}, Encryption: req.Encryption,
		StartedAt: req.Now().UTC(), Files: []File{}, Counts: []Count{}, Steps: []Step{}, Warnings: []string{}}
	var first error
	read := false
	for _, path := range req.Paths {
		h := newHome(path, req.Config)
		err := h.look(ctx)
		h.close()
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil && len(req.Paths) == 1:
			return nil, err
		case err != nil:
			if first == nil {
				first = err
			}
			r.Files = append(r.Files, File{Path: path, Kind: Other, Problem: err.Error()})
		default:
			read = true
			r.take(h)
		}
	}
	if !read {
		return nil, first
	}
	r.FinishedAt = req.Now().UTC()
	return r, nil
}

// home is a snapshot, or a data directory: what is live in it tells what is left behind in it, and in no other.
type home struct {
	path   string
	config *encryption.Configuration
	parts  []*part
	seed   maphash.Seed

	configured atrest.Names // of the configuration, which settle where the name in a whole value ends; else the census does
	known      []atrest.Encryption
	names      atrest.Names // of all that is known
	census     atrest.Census
	roots      etcdscan.Scope

	database bool                                           // there is one
	forms    []atrest.Encryption                            // that live values have
	live     map[uint64]uint32                              // by the hash of its key, the form of its live value; open: nobody can tell
	of       map[verify.Resource]map[atrest.Encryption]bool // forms of live values, by resource

	formAt map[atrest.Encryption]uint32 // in forms
	seen   map[verify.Resource]bool     // of whole values
	counts map[Count]*Count
}

func newHome(path string, config *encryption.Configuration) *home {
	h := &home{path: path, config: config, seed: maphash.MakeSeed(), live: make(map[uint64]uint32),
		of: make(map[verify.Resource]map[atrest.Encryption]bool), counts: make(map[Count]*Count), formAt: make(map[atrest.Encryption]uint32), seen: make(map[verify.Resource]bool)}
	if config != nil {
		for _, k := range config.Keys {
			h.learn(k.AtRest())
		}
		h.configured = h.names
	}
	return h
}

func (h *home) close() {
	for _, p := range h.parts {
		if p.file != nil {
			_ = p.file.Close()
		}
	}
}

// look goes through all parts several times. Whole values tell where the names of keys end; then what is live is counted, with which
// the rest is compared; then the other whole values; and then what is found among bytes that belong to nothing, of which nothing may
// be named that is not known otherwise.
func (h *home) look(ctx context.Context) error {
	var err error
	if h.parts, err = partsOf(h.path); err != nil {
		return err
	}
	for _, p := range h.parts {
		if err := h.open(ctx, p); err != nil {
			return err
		}
	}
	for _, pass := range []func(context.Context, *part) error{h.learnFrom, h.countLive, h.count, h.search} {
		for _, p := range h.parts {
			if err := pass(ctx, p); err != nil {
				return err
			}
		}
	}
	return h.finish(ctx)
}

// maxKnown is how many names of keys are told apart in bytes that belong to nothing. There are never that many.
const maxKnown = 1000

// learn takes the name of a key over.
func (h *home) learn(e atrest.Encryption) {
	e.KeyInferred = false
	if len(h.known) >= maxKnown || slices.Contains(h.known, e) {
		return
	}
	h.known = append(h.known, e)
	h.names = atrest.NewNames(h.known)
}
