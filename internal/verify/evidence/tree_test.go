package evidence

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// reference is RFC 6962, section 2.1, word for word: the root of leaves that are hashed already.
func reference(leaves []tlog.Hash) tlog.Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	k := split(len(leaves))
	left, right := reference(leaves[:k]), reference(leaves[k:])
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

// split is the largest power of two smaller than n.
func split(n int) int {
	k := 1
	for k*2 < n {
		k *= 2
	}
	return k
}

// auditPath is the audit path of RFC 6962, section 2.1.1.
func auditPath(m int, leaves []tlog.Hash) tlog.RecordProof {
	if len(leaves) <= 1 {
		return nil
	}
	k := split(len(leaves))
	if m < k {
		return append(auditPath(m, leaves[:k]), reference(leaves[k:]))
	}
	return append(auditPath(m-k, leaves[k:]), reference(leaves[:k]))
}

func leavesOf(n int) []tlog.Hash {
	var all []tlog.Hash
	for i := range n {
		salt, record := fmt.Appendf(nil, "salt %10d.", i), fmt.Appendf(nil, `{"k":"%d"}`, i)
		l := leaf(salt, record)
		if want := sha256.Sum256(bytes.Join([][]byte{{0}, salt, record}, nil)); l != want {
			panic("a leaf is no SHA-256 over zero, salt and record")
		}
		all = append(all, l)
	}
	return all
}

func stream(leaves []tlog.Hash) func(func(tlog.Hash, error) bool) {
	return func(yield func(tlog.Hash, error) bool) {
		for _, l := range leaves {
			if !yield(l, nil) {
				return
			}
		}
	}
}

func numbers(n int) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(i)
	}
	return all
}

func TestTreeIsThatOfRFC6962(t *testing.T) {
	all := leavesOf(70)
	var grown tree
	for n := 0; n <= len(all); n++ {
		leaves := all[:n]
		want := reference(leaves)
		if root, err := grown.root(); err != nil || root != want {
			t.Fatalf("the root of %d leaves is %s, %v; RFC 6962 has %s", n, root, err, want)
		}
		root, proofs, err := prove(int64(n), numbers(n), stream(leaves))
		if err != nil || root != want {
			t.Fatalf("proofs for all of %d leaves: %v; root %s", n, err, root)
		}
		for i, p := range proofs {
			if fmt.Sprint(p) != fmt.Sprint(auditPath(i, leaves)) {
				t.Errorf("the proof of %d of %d is %v; RFC 6962 has %v", i, n, p, auditPath(i, leaves))
			}
			proven := func(size, index int, l tlog.Hash) bool {
				return tlog.CheckRecord(p, int64(size), want, int64(index), l) == nil
			}
			switch {
			case !proven(n, i, leaves[i]):
				t.Errorf("%d of %d is not proven", i, n)
			case n > 1 && proven(n, (i+1)%n, leaves[i]):
				t.Errorf("%d of %d is proven to be another one", i, n)
			case n > 1 && proven(n, i, leaves[(i+1)%n]):
				t.Errorf("another leaf is proven to be %d of %d", i, n)
			case proven(2*n, i, leaves[i]): // of a size near by it may have the same path: that the statement tells
				t.Errorf("%d of %d is proven to be of %d", i, n, 2*n)
			}
		}
		if n < len(all) {
			if err := grown.add(all[n]); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTreeIsThatOfTlog(t *testing.T) {
	const n = 1000
	leaves := leavesOf(n)
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, i := range indexes {
			hashes = append(hashes, stored[i])
		}
		return hashes, nil
	})
	var tr tree
	most := 0
	for i, l := range leaves {
		more, err := tlog.StoredHashesForRecordHash(int64(i), l, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
		if err := tr.add(l); err != nil {
			t.Fatal(err)
		}
		most = max(most, len(tr.last))
	}
	want, err := tlog.TreeHash(n, reader)
	if root, rootErr := tr.root(); err != nil || rootErr != nil || root != want {
		t.Errorf("the root is %s, %v; tlog has %s, %v", root, rootErr, want, err)
	}
	if most > 10 {
		t.Errorf("of %d leaves %d hashes are kept at a time", n, most)
	}
	some := []int64{0, 417, 511, 512, 998, 999}
	_, proofs, err := prove(n, some, stream(leaves))
	if err != nil {
		t.Fatal(err)
	}
	for i, number := range some {
		p, err := tlog.ProveRecord(n, number, reader)
		if err != nil || fmt.Sprint(p) != fmt.Sprint(proofs[i]) {
			t.Errorf("the proof of %d is %v; tlog has %v, %v", number, proofs[i], p, err)
		}
	}
}

func TestProofsOfAnotherSize(t *testing.T) {
	leaves := leavesOf(5)
	for _, size := range []int64{0, 4, 6} {
		if _, _, err := prove(size, nil, stream(leaves)); err == nil {
			t.Errorf("5 leaves are proven to be %d", size)
		}
	}
	for _, n := range []int64{-1, 5} {
		if _, _, err := prove(5, []int64{n}, stream(leaves)); err == nil {
			t.Errorf("there is a proof for leaf %d of 5", n)
		}
	}
}
