package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
)

// maxNamed bounds how many keys a comparison names.
const maxNamed = 20

// Changed is what an etcd shows beside a bundle.
type Changed struct {
	SameCluster  bool        `json:"sameCluster"` // by the cluster ID of etcd, which alone is no proof
	Then         *Comparison `json:"then"`        // with etcd as it was at the revision of the bundle; null: that is no longer to be had
	ThenWhy      string      `json:"thenWhy"`
	Now          Comparison  `json:"now"`
	PlaintextNow int64       `json:"plaintextNow"` // objects that are expected to be encrypted, were written since, and are in plaintext
}

// Comparison counts keys of a bundle and of etcd.
type Comparison struct {
	Revision  int64    `json:"revision"`
	Same      int64    `json:"same"`
	Rewritten int64    `json:"rewritten"`
	Created   int64    `json:"created"` // in etcd alone
	Deleted   int64    `json:"deleted"` // in the bundle alone
	Named     []string `json:"named"`   // the first of those that are not the same
}

func (c Comparison) differs() bool { return c.Rewritten+c.Created+c.Deleted > 0 }

// Look is a scan of the scope of a bundle.
type Look struct {
	Records   *Recorder
	Revision  int64
	ClusterID string
}

// Compare tells what an etcd shows beside a bundle that was checked. Without then, why tells why it is not to be had.
func (v *Verification) Compare(ctx context.Context, dir string, redactor *Redactor, then *Look, why string, now *Look) error {
	check := v.begin("etcd")
	defer v.conclude()
	scan := v.Scan
	if scan == nil {
		check.open("", "scan.json cannot be read")
		return nil
	}
	v.Changed = &Changed{ThenWhy: why, SameCluster: now.ClusterID == scan.Cluster.EtcdClusterID || scan.Cluster.EtcdClusterID == "" || now.ClusterID == ""}
	switch {
	case scan.Redaction.Mode == Counts:
		return ErrNoRecords
	case scan.Redaction.Mode == HMAC && redactor == nil:
		return ErrNoRedactionKey
	case !v.Changed.SameCluster:
		check.wrong("", "the bundle speaks of the etcd cluster %s, and this is %s", printable(scan.Cluster.EtcdClusterID), now.ClusterID)
		return nil
	}
	b := &beside{ctx: ctx, dir: dir, scan: scan, redactor: redactor}
	if then == nil {
		check.open("", "not compared at the revision of the bundle: %s", why)
	} else {
		c, err := b.compare(then, func(*namedRecord, *taken, *etcdscan.Entry) {})
		if err != nil {
			return err
		}
		v.Changed.Then = &c
		if c.differs() {
			check.wrong(RecordsFile, "at revision %d etcd holds something else: %d keys are not as recorded, %d are not recorded, %d are not there", c.Revision, c.Rewritten, c.Created, c.Deleted)
		}
	}
	expected := make(map[string]bool)
	for _, p := range scan.Population {
		if p.Expected {
			expected[p.Resource] = true
		}
	}
	// What was written up to the revision of the bundle, and is still there, has to be recorded as it is.
	var contradicted int64
	var err error
	v.Changed.Now, err = b.compare(now, func(recorded *namedRecord, found *taken, e *etcdscan.Entry) {
		if found == nil {
			return
		}
		if e.AtRest.Provider == atrest.Identity && expected[resourceName(e)] {
			v.Changed.PlaintextNow++
		}
		if found.Mod <= scan.AsOf.Revision || found.Create <= scan.AsOf.Revision && (recorded == nil || recorded.Create != strconv.FormatInt(found.Create, 10)) {
			contradicted++
		}
	})
	switch {
	case err != nil:
		return err
	case now.Revision < scan.AsOf.Revision:
		check.open("", "the store is at revision %d, before that of the bundle", now.Revision)
	case contradicted > 0:
		check.wrong(RecordsFile, "%d keys were in etcd at revision %d already, and are not recorded as they were", contradicted, scan.AsOf.Revision)
	}
	return nil
}

// beside compares the records of a bundle with those of a scan.
type beside struct {
	ctx      context.Context
	dir      string
	scan     *Scan
	redactor *Redactor
}

// compare merges both, which are in the order of the keys. Each is told of whatever is not the same: a record, an entry, or both.
func (b *beside) compare(look *Look, each func(*namedRecord, *taken, *etcdscan.Entry)) (Comparison, error) {
	c := Comparison{Revision: look.Revision, Named: []string{}}
	named := func(k string) {
		if len(c.Named) < maxNamed {
			c.Named = append(c.Named, k)
		}
	}
	file, err := os.Open(filepath.Join(b.dir, RecordsFile))
	if err != nil {
		return c, err
	}
	defer file.Close()
	recorded, stop := iter.Pull2(b.recorded(file))
	defer stop()
	found, stopFound := iter.Pull2(look.Records.taken.All())
	defer stopFound()
	theirs, theirErr, more := recorded()
	ours, ourErr, moreOurs := found()
	for more || moreOurs {
		if err := cmp.Or(theirErr, ourErr); err != nil {
			return c, err
		}
		order := 0
		switch {
		case !more:
			order = 1
		case !moreOurs:
			order = -1
		default:
			order = strings.Compare(theirs.key, ours.Key)
		}
		switch {
		case order < 0:
			c.Deleted++
			named(theirs.key)
			each(&theirs, nil, nil)
		case order > 0:
			c.Created++
			named(ours.Key)
			each(nil, &ours, look.Records.entries[ours.Entry])
		case theirs.like(ours, look.Records.entries[ours.Entry]):
			c.Same++
		default:
			c.Rewritten++
			named(ours.Key)
			each(&theirs, &ours, look.Records.entries[ours.Entry])
		}
		if order <= 0 {
			theirs, theirErr, more = recorded()
		}
		if order >= 0 {
			ours, ourErr, moreOurs = found()
		}
	}
	return c, nil
}

// namedRecord is a record whose key is known.
type namedRecord struct {
	Record
	key string
}

func (b *beside) recorded(r io.Reader) iter.Seq2[namedRecord, error] {
	return func(yield func(namedRecord, error) bool) {
		for l, err := range readLines(b.ctx, r) {
			named := namedRecord{Record: l.Record, key: l.Record.etcdKey()}
			if err == nil && l.Record.Sealed != "" {
				named.key, err = b.redactor.unseal(l.Record.Sealed)
			}
			if !yield(named, err) {
				return
			}
		}
	}
}

// like tells whether a record is of the very value that was found. The name of its key may be told otherwise with an
// EncryptionConfiguration than without, where it has a colon in it or is no plain text.
func (r namedRecord) like(t taken, e *etcdscan.Entry) bool {
	sure := r.KeyName != "" && e.AtRest.Key != "" && !e.AtRest.KeyInferred && !e.Ambiguous
	return r.Mod == strconv.FormatInt(t.Mod, 10) && r.Create == strconv.FormatInt(t.Create, 10) && r.Writes == strconv.FormatInt(t.Version, 10) &&
		r.Provider == e.AtRest.Provider && r.Form == e.AtRest.Version && r.KeyIDHash == hashOf(e.AtRest.KeyID) && (!sure || r.KeyName == e.AtRest.Key)
}

// Scanned are the prefixes and the revision that a bundle speaks of, to read the same again.
func (v *Verification) Scanned() (prefixes []string, revision int64, err error) {
	if v.Scan == nil || v.Scan.Audit == nil {
		return nil, 0, errors.New("scan.json cannot be read, and so nobody knows what to read again")
	}
	return v.Scan.Audit.Scope.Prefixes, v.Scan.AsOf.Revision, nil
}

// ReadStatement reads the statement of a bundle.
func ReadStatement(dir string) (*Statement, error) {
	text, err := os.ReadFile(filepath.Join(dir, StatementFile))
	if err != nil {
		return nil, err
	}
	s := new(Statement)
	if err := strictly(text, s); err != nil || s.PredicateType != PredicateType {
		return nil, fmt.Errorf("%s is no statement of svmctl", filepath.Join(dir, StatementFile))
	}
	return s, nil
}
