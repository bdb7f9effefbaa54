package snapshot

import (
	"context"
	"hash/maphash"
	"slices"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

// Write is one write of a key that the file has, live or not. Its slices are only valid until whoever is given it returns.
type Write struct {
	Key, Value  []byte
	ModRevision int64
	Live        bool // it is the newest of its key, and that was not deleted
}

// Writes hands every write in the file to visit, the newest first, those that a newer one or a deletion has made history included.
// Deletions themselves carry nothing. Pages that cannot be read are left out: Doubts tells.
func (f *File) Writes(ctx context.Context, visit func(Write) error) error {
	set := newKeySet(maphash.MakeSeed())
	return f.eachWrite(ctx, f.noteBroken, func(here place, r revision, w write) error {
		first, err := set.meet(w.key, here)
		if err != nil || r.tombstone {
			return err
		}
		return visit(Write{Key: w.key, Value: w.value, ModRevision: r.main, Live: first})
	})
}

// eachWrite walks the key bucket, the newest write first. A page that cannot be read is handed to broken, and left out.
func (f *File) eachWrite(ctx context.Context, broken func(error), visit func(here place, r revision, w write) error) error {
	last := []byte(nil)
	t := tree{bolt: f.bolt, seen: newPageSet(f.meta.pages), broken: broken}
	t.visit = func(p page) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return t.tolerate(p.eachRevision(&last, func(i int, r revision, value []byte) error {
			if len(value) == 0 {
				return nil // a mark that etcdutl leaves where it raises the revision
			}
			w, ok := parseWrite(value)
			if !ok || !r.tombstone && w.mod != r.main {
				return damaged(p.id, wrongRevision)
			}
			return visit(at(p, i), r, w)
		}))
	}
	return guarded(func() error { return t.walkBucket(f.keys) })
}

// Free hands each stretch of the file to visit that belongs to nothing any more: pages that no bucket has, what is left of pages
// behind their last element, and the room behind the last page. Offset is where in the file it begins; b is only valid until
// visit returns.
func (f *File) Free(ctx context.Context, visit func(offset int64, b []byte) error) error {
	return guarded(func() error {
		slack := func(p page) error {
			used, err := p.used()
			if err != nil || used == len(p.bytes) {
				return nil
			}
			return visit(int64(p.id*f.pageSize)+int64(used), p.bytes[used:])
		}
		reached, err := f.reach(ctx, f.noteBroken, slack)
		if err != nil {
			return err
		}
		from := uint64(2) // after the two metas
		for id := from; id <= f.meta.pages; id++ {
			if id < f.meta.pages && !reached.has(id) {
				continue
			}
			end := id * f.pageSize
			if id == f.meta.pages {
				end = uint64(len(f.data))
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if start := from * f.pageSize; start < end {
				if err := visit(int64(start), f.data[start:end]); err != nil {
					return err
				}
			}
			from = id + 1
		}
		return nil
	})
}

// History implements etcdscan.Historian. What an interrupted compaction has left of older revisions etcd gives to nobody. A page
// that cannot be read is an error.
func (f *File) History(ctx context.Context, ranges []etcdscan.Range, upTo int64, each func(etcdscan.KeyValue) error) (int64, error) {
	upTo, err := f.revision(upTo)
	if err != nil {
		return 0, err
	}
	newest, atCompaction := newKeySet(maphash.MakeSeed()), newKeySet(maphash.MakeSeed())
	within := func(k string) bool {
		return slices.ContainsFunc(ranges, func(r etcdscan.Range) bool { return k >= r.Start && (r.End == "" || k < r.End) })
	}
	var unread error
	broken := func(err error) {
		if unread == nil {
			unread = err
		}
	}
	err = f.eachWrite(ctx, broken, func(here place, r revision, w write) error {
		if r.main > upTo {
			return nil
		}
		first, err := newest.meet(w.key, here)
		if err != nil {
			return err
		}
		if r.main <= f.compacted {
			readable, err := atCompaction.meet(w.key, here)
			if err != nil || !readable {
				return err
			}
		}
		if first || r.tombstone || !within(string(w.key)) {
			return nil
		}
		return each(etcdscan.KeyValue{Key: string(w.key), Value: w.value, CreateRevision: w.created, ModRevision: w.mod, Version: w.version, Lease: w.lease})
	})
	if err == nil {
		err = unread
	}
	return f.compacted, err
}
