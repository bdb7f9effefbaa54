package evidence

import (
	"fmt"
	"iter"

	"golang.org/x/mod/sumdb/tlog"
)

// LeafFormat names how the leaves of the tree are made: RFC 6962 over the salt and then the bytes of the record as they stand in
// its line.
const (
	leafFormat    = "svmctl-record-v1"
	treeAlgorithm = "rfc6962-sha256"
)

// leaf is the leaf hash of a record.
func leaf(salt, record []byte) tlog.Hash {
	return tlog.RecordHash(append(append(make([]byte, 0, len(salt)+len(record)), salt...), record...))
}

// tree adds up leaves. It keeps no more of them than the newest hash of each level, which is all that further leaves and the root
// need. The zero value is empty.
type tree struct {
	size int64
	last []node // by level
	seen func(index int64, h tlog.Hash)
}

type node struct {
	number int64 // within its level
	hash   tlog.Hash
}

// ReadHashes implements tlog.HashReader for the hashes that are kept.
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, number := tlog.SplitStoredHashIndex(index)
		if level >= len(t.last) || t.last[level].number != number {
			return nil, fmt.Errorf("hash %d of level %d is not kept", number, level)
		}
		hashes[i] = t.last[level].hash
	}
	return hashes, nil
}

func (t *tree) add(h tlog.Hash) error {
	hashes, err := tlog.StoredHashesForRecordHash(t.size, h, t)
	if err != nil {
		return err
	}
	number := t.size
	for level, h := range hashes {
		if level == len(t.last) {
			t.last = append(t.last, node{})
		}
		t.last[level] = node{number, h}
		if t.seen != nil {
			t.seen(tlog.StoredHashIndex(level, number), h)
		}
		number >>= 1
	}
	t.size++
	return nil
}

// root is that of all leaves so far.
func (t *tree) root() (tlog.Hash, error) { return tlog.TreeHash(t.size, t) }

// prove makes inclusion proofs for some leaves of a tree in one pass over all of them. It keeps no more than the proofs need.
func prove(size int64, numbers []int64, leaves iter.Seq2[tlog.Hash, error]) (root tlog.Hash, proofs []tlog.RecordProof, err error) {
	needed := make(map[int64]tlog.Hash)
	note := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		for _, i := range indexes {
			needed[i] = tlog.Hash{}
		}
		return make([]tlog.Hash, len(indexes)), nil
	})
	for _, n := range numbers {
		if _, err := tlog.ProveRecord(size, n, note); err != nil {
			return root, nil, err
		}
	}
	t := tree{seen: func(index int64, h tlog.Hash) {
		if _, ok := needed[index]; ok {
			needed[index] = h
		}
	}}
	for h, err := range leaves {
		if err != nil {
			return root, nil, err
		}
		if err := t.add(h); err != nil {
			return root, nil, err
		}
	}
	if t.size != size {
		return root, nil, fmt.Errorf("there are %d records where the scan counts %d", t.size, size)
	}
	kept := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = needed[index]
		}
		return hashes, nil
	})
	for _, n := range numbers {
		p, err := tlog.ProveRecord(size, n, kept)
		if err != nil {
			return root, nil, err
		}
		proofs = append(proofs, p)
	}
	root, err = t.root()
	return root, proofs, err
}
