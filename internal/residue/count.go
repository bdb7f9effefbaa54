package residue

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/encryption"
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

// carved is what a value is of that was found among bytes that belong to nothing. Of its key no resource is named that is not known
// otherwise: pages may have been used again in the middle of it.
func (h *home) carved(v carve.Value) subject {
	if len(v.Key) == 0 {
		return h.lost(v.Bytes)
	}
	s := h.subject(v.Key)
	if s.resource.Name != "" && !h.nameable(s.resource) {
		s.resource, s.name = verify.Resource{}, ""
	}
	return s
}

// nameable tells whether a resource is known to be one: from a whole value, because Kubernetes or the configuration has it, or
// because it holds credentials.
func (h *home) nameable(r verify.Resource) bool {
	named := h.config != nil && slices.ContainsFunc(h.config.Patterns(), func(p encryption.Pattern) bool { return p.Group == r.Group && p.Resource == r.Name })
	return named || h.seen[r] || key.Builtin(r.Group, r.Name) || r.Sensitive()
}

// lost is what a value is of whose key is lost, as far as its own header tells. A kind could be anything that stands in a value.
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
	if !h.nameable(r) {
		return subject{}
	}
	return subject{resource: r, name: r.String()}
}

// learnFrom takes from whole values how the names of keys end.
func (h *home) learnFrom(ctx context.Context, p *part) error {
	return h.writes(ctx, p, func(_, value []byte, _ bool) error {
		h.census.Add(h.configured.Parse(value))
		return nil
	})
}

// open is the form of a live value of which nobody can tell under which of several keys it is.
const open = ^uint32(0)

// formsOf are how a whole value may be encrypted: in one way, or where the end of a key's name cannot be told in several, the shortest
// name first, which holds no ciphertext.
func (h *home) formsOf(value []byte) []atrest.Encryption {
	v := h.configured.Parse(value)
	v.Encryption.KeyInferred = false
	if len(v.Ends) == 0 {
		return []atrest.Encryption{v.Encryption}
	}
	resolved, ambiguous := h.census.Resolve(v.Encryption, v.Ends)
	resolved.KeyInferred = false
	if !ambiguous {
		return []atrest.Encryption{resolved}
	}
	var forms []atrest.Encryption
	for _, end := range append(slices.Clone(v.Ends), len(v.Encryption.Key)) {
		form := v.Encryption
		form.Key = form.Key[:end]
		forms = append(forms, form)
	}
	return forms
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
		s, forms := h.subject(k), h.formsOf(value)
		h.seen[s.resource] = true
		h.add(Live, p, s, forms, false)
		if len(forms) > 1 {
			h.live[s.key] = open
			return nil
		}
		form := forms[0]
		i, met := h.formAt[form]
		if !met {
			i = uint32(len(h.forms))
			h.formAt[form], h.forms = i, append(h.forms, form)
			h.learn(form)
		}
		h.live[s.key] = i
		if h.of[s.resource] == nil {
			h.of[s.resource] = make(map[atrest.Encryption]bool)
		}
		h.of[s.resource][form] = true
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
		forms := h.formsOf(value)
		if len(forms) == 1 {
			h.learn(forms[0])
		}
		s := h.subject(k)
		h.seen[s.resource] = true
		h.add(place, p, s, forms, false)
		return nil
	})
}

// add counts one value, which may be in any of some forms and is shown in the first.
func (h *home) add(place Place, p *part, s subject, forms []atrest.Encryption, cut bool) {
	shown := forms[0]
	c := Count{Place: place, Path: p.Path, Resource: s.name, Provider: shown.Provider, Version: shown.Version, Key: shown.Key, KeyID: shown.KeyID}
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
	lefts, tolds := 0, 0
	for _, form := range forms {
		left, told := h.leftBehind(s, form)
		if told {
			tolds++
		}
		if told && left {
			lefts++
		}
	}
	switch {
	case tolds < len(forms), lefts > 0 && lefts < len(forms):
		n.Untold++
	case lefts > 0:
		n.LeftBehind++
	}
}

// leftBehind tells whether a value that is not live is in a form that it would not be written in now, and false if nobody can say.
func (h *home) leftBehind(s subject, form atrest.Encryption) (left, told bool) {
	encrypted := form.Provider != atrest.Identity
	switch {
	case !h.database:
		return false, false
	case encrypted && form.Key == "":
		return true, true // a name that nothing else has
	case h.twins(form):
		return false, false // only to open it would tell with which of them it was encrypted
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
		if i == open {
			return false, false
		}
		return form != h.forms[i], true
	}
	// Its object is gone, or its key is lost.
	of := h.of[s.resource]
	switch {
	case s.name == "" && encrypted:
		return !slices.Contains(h.forms, form), true
	case len(of) == 0 && !encrypted && s.resource.Sensitive():
		return true, true
	case s.name == "", len(of) == 0 && !encrypted:
		// Without any encryption there is nothing that it could have been left behind by.
		return false, h.config == nil && !slices.ContainsFunc(h.forms, func(f atrest.Encryption) bool { return f.Provider != atrest.Identity })
	case !encrypted:
		for f := range of {
			if f.Provider != atrest.Identity {
				return true, true
			}
		}
	}
	return !of[form], true
}

// twins tells whether the configuration has several keys of a name.
func (h *home) twins(form atrest.Encryption) bool {
	return h.config != nil && slices.ContainsFunc(h.config.Keys, func(k encryption.Key) bool { return k.Twin > 0 && k.Claims(form) })
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
	// Nor is a name of a key taken from it that is not known otherwise.
	form := s.home.names.ParseCut(v.Bytes)
	form.KeyInferred = false
	if !slices.Contains(s.home.known, form) {
		form.KeyID = ""
	}
	if form.KeyID == "" && !slices.ContainsFunc(s.home.known, func(k atrest.Encryption) bool {
		return k.Provider == form.Provider && k.Version == form.Version && k.Key == form.Key
	}) {
		form.Key = ""
	}
	s.home.add(s.place, s.part, s.home.carved(v), []atrest.Encryption{form}, v.Cut)
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
