package residue

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/carve"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
	"github.com/svmctl/svmctl/internal/verify"
)

// subject is what a value is of.
type subject struct {
	resource verify.Resource // the zero value: no resource, or nobody can tell
	name     string          // as it is shown
	key      uint64          // hash of the etcd key, if it is known
	keyKnown bool
}

func (h *home) subject(k []byte) subject {
	name := string(k)
	root, ok := key.Root(name)
	if !ok {
		root = h.roots.Root(name)
	}
	o := key.Parse(root, name)
	s := subject{resource: verify.Resource{Group: o.Group, Name: o.Resource}, key: maphash.Bytes(h.seed, k), keyKnown: true}
	if s.name = s.resource.String(); o.Resource == "" {
		s.name = "(" + o.Note + ")"
	}
	return s
}

// lost is what a value is of whose key is lost, as far as its own header tells. A kind could be anything that stands in a value:
// those that live values have are known to be one.
func (h *home) lost(value []byte) subject {
	header, err := stored.Parse(value)
	if err != nil {
		return subject{}
	}
	group, _, grouped := strings.Cut(header.Type.APIVersion, "/")
	if !grouped {
		group = ""
	}
	r := verify.Resource{Group: group, Name: strings.ToLower(header.Type.Kind) + "s"}
	if h.of[r] == nil {
		return subject{}
	}
	return subject{resource: r, name: r.String()}
}

// learnFrom takes from whole values how the names of keys end.
func (h *home) learnFrom(ctx context.Context, p *part) error {
	return h.writes(ctx, p, func(_, value []byte, _ bool) error {
		h.census.Add(h.names.Parse(value))
		return nil
	})
}

// form is how a whole value is encrypted. Where the end of a key's name cannot be told the shortest stands for it, which holds no
// ciphertext.
func (h *home) form(value []byte) atrest.Encryption {
	v := h.names.Parse(value)
	if len(v.Ends) > 0 {
		shortest := v.Ends[0]
		resolved, ambiguous := h.census.Resolve(v.Encryption, v.Ends)
		if ambiguous {
			resolved = v.Encryption
			resolved.Key = resolved.Key[:shortest]
		}
		v.Encryption = resolved
	}
	v.Encryption.KeyInferred = false
	return v.Encryption
}

// countLive counts what is live, which is what all the rest is compared with.
func (h *home) countLive(ctx context.Context, p *part) error {
	if p.Kind != Database {
		return nil
	}
	return h.writes(ctx, p, func(k, value []byte, live bool) error {
		if !live {
			return nil
		}
		s, form := h.subject(k), h.form(value)
		i := slices.Index(h.forms, form)
		if i < 0 {
			i = len(h.forms)
			h.forms = append(h.forms, form)
			h.learn(form)
		}
		h.live[s.key] = uint32(i)
		if h.of[s.resource] == nil {
			h.of[s.resource] = make(map[atrest.Encryption]bool)
		}
		h.of[s.resource][form] = true
		h.add(Live, p, s, form, false)
		return nil
	})
}

// count counts the other whole values: history, and what the log and raft's snapshots have.
func (h *home) count(ctx context.Context, p *part) error {
	place := WAL
	if p.Kind == Database {
		place = History
	}
	return h.writes(ctx, p, func(k, value []byte, live bool) error {
		if live {
			return nil
		}
		form := h.form(value)
		h.learn(form)
		h.add(place, p, h.subject(k), form, false)
		return nil
	})
}

// add counts one value.
func (h *home) add(place Place, p *part, s subject, form atrest.Encryption, cut bool) {
	c := Count{Place: place, Path: p.Path, Resource: s.name, Provider: form.Provider, Version: form.Version, Key: form.Key, KeyID: form.KeyID}
	n := h.counts[c]
	if n == nil {
		n = new(Count)
		*n = c
		h.counts[c] = n
	}
	n.Values++
	if cut {
		n.Cut++
	}
	if place == Live {
		return
	}
	switch left, told := h.leftBehind(s, form); {
	case !told:
		n.Untold++
	case left:
		n.LeftBehind++
	}
}

// leftBehind tells whether a value that is not live is in a form that it would not be written in now, and false if nobody can say.
func (h *home) leftBehind(s subject, form atrest.Encryption) (left, told bool) {
	encrypted := form.Provider != atrest.Identity
	if !h.database {
		return false, false
	}
	if h.config != nil && s.resource.Name != "" {
		switch w := h.config.Writes(s.resource.Group, s.resource.Name); {
		case w.Provider == atrest.Identity:
			return encrypted, true
		case !w.Claims(form):
			return true, true
		}
	}
	if i, lives := h.live[s.key]; lives && s.keyKnown {
		return form != h.forms[i], true
	}
	// Its object is gone, or its key is lost.
	of := h.of[s.resource]
	switch {
	case s.name == "" && encrypted:
		return !slices.Contains(h.forms, form), true
	case s.name == "":
		// Without any encryption there is nothing that it could have been left behind by.
		return false, !slices.ContainsFunc(h.forms, func(f atrest.Encryption) bool { return f.Provider != atrest.Identity })
	case len(of) == 0 && !encrypted:
		return s.resource.Sensitive(), true // most resources were never to be encrypted
	case !encrypted:
		for f := range of {
			if f.Provider != atrest.Identity {
				return true, true
			}
		}
	}
	return !of[form], true
}

// search takes what was found in a part, among bytes that belong to nothing.
type search struct {
	home  *home
	part  *part
	place Place
	met   map[uint64]struct{} // values that were counted
}

func (h *home) newSearch(p *part) *search {
	s := &search{home: h, part: p, place: WAL, met: make(map[uint64]struct{})}
	if p.Kind == Database {
		s.place = FreePages
	}
	return s
}

// take counts a value, once however often it lies there.
func (s *search) take(v carve.Value) {
	if id, ok := s.identity(v); ok {
		if _, known := s.met[id]; known {
			return
		}
		s.met[id] = struct{}{}
	}
	of := s.home.lost(v.Bytes)
	if len(v.Key) > 0 {
		of = s.home.subject(v.Key)
	}
	// Pages may have been used again inside of it: nothing of it but its beginning is trusted.
	form := s.home.names.ParseCut(v.Bytes)
	if !slices.Contains(s.home.known, form) {
		form.KeyID = ""
	}
	s.home.add(s.place, s.part, of, form, v.Cut)
}

// identity is what tells a copy of a value from another value: its key and revision, and where they are lost the value.
func (s *search) identity(v carve.Value) (uint64, bool) {
	var h maphash.Hash
	h.SetSeed(s.home.seed)
	switch {
	case len(v.Key) > 0 && v.ModRevision != 0:
		h.Write(v.Key)
		maphash.WriteComparable(&h, v.ModRevision)
	case !v.Cut:
		h.Write(v.Key)
		h.Write(v.Bytes)
	default:
		return 0, false
	}
	return h.Sum64(), true
}
