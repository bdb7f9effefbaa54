package evidence

import (
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/spool"
	"github.com/svmctl/svmctl/internal/verify"
)

// recordVersion is that of the form of Record.
const recordVersion = 1

// Line is a line of records.jsonl.gz, in the order of the etcd keys.
type Line struct {
	Salt   string `json:"salt"` // hex
	Record Record `json:"record"`
}

// Record is one key of etcd. It tells how the value is stored and nothing of what is in it.
type Record struct {
	Version   int             `json:"v"`
	Key       string          `json:"k"`                // of etcd; hmac:… where names are hidden
	KeyBytes  []byte          `json:"kb,omitempty"`     // where they are shown and are no UTF-8: the bytes of the key
	Sealed    string          `json:"sealed,omitempty"` // where they are: the key, for whoever has the redaction key
	Resource  string          `json:"r"`                // empty: no object of the API
	Group     string          `json:"g"`
	Namespace string          `json:"ns,omitempty"`
	Mod       string          `json:"mod"`    // revision of the last write
	Create    string          `json:"create"` // revision of the first
	Writes    string          `json:"ver"`    // since then, from 1
	Provider  atrest.Provider `json:"p"`
	Form      string          `json:"pv,omitempty"` // version of the provider
	KeyName   string          `json:"pn,omitempty"`
	KeyIDHash string          `json:"kid,omitempty"`
	StoredAs  string          `json:"av,omitempty"` // apiVersion; empty while the value was not opened
	Kind      string          `json:"kind,omitempty"`
	Encoding  stored          `json:"enc,omitempty"`
	Opened    etcdscan.Opened `json:"opened"`
	Vouched   bool            `json:"auth"`           // the cipher vouches for the value
	Note      string          `json:"note,omitempty"` // fixed text
	State     State           `json:"st"`
	Codes     []verify.Code   `json:"codes,omitempty"` // what is the matter
	Exception string          `json:"ex,omitempty"`    // approved deviation that covers it
}

// stored is how an object is encoded.
type stored string

// Recorder takes what a scan yields, for a bundle. It holds a temporary file until Close.
type Recorder struct {
	taken   *spool.Spool[taken]
	entries []*etcdscan.Entry
	index   map[*etcdscan.Entry]int32
}

// taken is one key of the scan. What it has in common with others is known once the scan is over.
type taken struct {
	Entry                int32
	Key                  string
	Mod, Create, Version int64
}

// Begin implements etcdscan.Sink.
func (r *Recorder) Begin() {
	r.Close()
	r.taken, r.entries, r.index = new(spool.Spool[taken]), nil, make(map[*etcdscan.Entry]int32)
}

// Take implements etcdscan.Sink.
func (r *Recorder) Take(rec *etcdscan.Record, e *etcdscan.Entry) error {
	i, known := r.index[e]
	if !known {
		i = int32(len(r.entries))
		r.entries = append(r.entries, e)
		r.index[e] = i
	}
	return r.taken.Add(taken{Entry: i, Key: rec.Key, Mod: rec.ModRevision, Create: rec.CreateRevision, Version: rec.Version})
}

// Object is one of the API, and the revision at which it was written.
type Object struct {
	key.Object
	ModRevision int64
}

// Objects yields every object of the API that was read, in the order of the keys.
func (r *Recorder) Objects(yield func(Object, error) bool) {
	for t, err := range r.taken.All() {
		if err != nil {
			yield(Object{}, err)
			return
		}
		object := key.Parse(r.entries[t.Entry].Root, t.Key)
		if object.Resource != "" && !yield(Object{object, t.Mod}, nil) {
			return
		}
	}
}

// Sink is the recorder for a scan; nil where there is none.
func (r *Recorder) Sink() etcdscan.Sink {
	if r == nil {
		return nil
	}
	return r
}

// Close frees the file, if there is one.
func (r *Recorder) Close() error {
	if r == nil || r.taken == nil {
		return nil
	}
	return r.taken.Close()
}

// form is all that the records of an entry have in common.
type form struct {
	entry    *etcdscan.Entry
	record   Record
	codes    []verify.Code
	state    State
	expected bool // encryption is expected of the resource
	judged   bool
}

// formOf is what becomes of an entry by what was expected.
func formOf(e *etcdscan.Entry, expectations verify.Expectations) form {
	f := form{entry: e, record: Record{
		Version: recordVersion, Resource: e.Resource, Group: e.Group.Group, Provider: e.AtRest.Provider, Form: e.AtRest.Version,
		KeyName: e.AtRest.Key, KeyIDHash: hashOf(e.AtRest.KeyID), StoredAs: e.Stored.APIVersion, Kind: e.Stored.Kind,
		Encoding: stored(e.Stored.Encoding), Opened: e.Opened, Vouched: e.Authenticated, Note: e.Note,
	}}
	if e.Resource != "" && !e.Unserved {
		want, ok := expectations.ForGroup(e.Group)
		f.judged = ok
		f.expected = len(expectations) == 0 || ok && encrypts(want.Value)
	}
	faults := expectations.EntryFaults(*e)
	f.state = stateOf(faults, f)
	for _, fault := range faults {
		if fault.Severity != verify.Info {
			f.codes = append(f.codes, fault.Code)
		}
	}
	f.record.State, f.record.Codes = f.state, f.codes
	return f
}

// unclear tells whether the values were not understood or not opened, whatever else is the matter with them.
func (f *form) unclear() bool {
	return f.state == StateUnknown || f.state == StateError || f.entry.Fault != etcdscan.NoFault || f.entry.Ambiguous ||
		slices.ContainsFunc(f.codes, func(c verify.Code) bool { return slices.Contains(ofBytes, c) })
}

func (f *form) has(code verify.Code) bool { return slices.Contains(f.codes, code) }

// encrypts tells whether an expectation is one of encryption.
func encrypts(v verify.Value) bool {
	return v != (verify.Value{}) && v.Provider != string(atrest.Identity)
}

func hashOf(keyID string) string {
	if keyID == "" {
		return ""
	}
	return encryption.KeyIDHash(keyID)
}

// stateOf is the worst that faults say.
func stateOf(faults []verify.Fault, f form) State {
	rank := map[State]int{StatePlaintext: 4, StateError: 3, StateStale: 2, StateUnknown: 1}
	worst := State("")
	for _, fault := range faults {
		if fault.Severity == verify.Info {
			continue
		}
		state := StateUnknown
		switch fault.Code {
		case verify.Plaintext:
			state = StatePlaintext
		case verify.StaleKey, verify.EncryptedUnexpectedly, verify.StaleVersion, verify.UnservedVersion:
			state = StateStale
		case verify.CannotOpen, verify.WrongPlace:
			state = StateError
		}
		if rank[state] > rank[worst] {
			worst = state
		}
	}
	switch {
	case worst != "":
		return worst
	case f.entry.Resource == "" || !f.judged && !f.expected:
		return StateNotJudged
	case f.expected && f.entry.AtRest.Provider == atrest.Identity:
		return StatePlaintext // though no fault says so: where nobody expected anything, the claim is about everything
	}
	return StateOK
}

// line is the record of one key.
func (f *form) line(t taken, redactor *Redactor, exception string) Record {
	rec := f.record
	rec.Mod, rec.Create, rec.Writes = strconv.FormatInt(t.Mod, 10), strconv.FormatInt(t.Create, 10), strconv.FormatInt(t.Version, 10)
	rec.Exception = exception
	if redactor.mode == Names {
		rec.Key = t.Key
		if !utf8.ValidString(t.Key) {
			rec.KeyBytes = []byte(t.Key)
		}
		if rec.Resource != "" {
			rec.Namespace = key.Parse(f.entry.Root, t.Key).Namespace
		}
		return rec
	}
	rec.Key, rec.Sealed = hidden(redactor.opening(t.Key), t.Key), redactor.seal(t.Key)
	return rec
}

// etcdKey is the key of a record that hides none.
func (r Record) etcdKey() string {
	if len(r.KeyBytes) > 0 {
		return string(r.KeyBytes)
	}
	return r.Key
}

// name is the resource of a record as the population has it.
func (r Record) name() string {
	return resourceName(&etcdscan.Entry{Group: etcdscan.Group{Group: r.Group, Resource: r.Resource, Note: r.Note}})
}
