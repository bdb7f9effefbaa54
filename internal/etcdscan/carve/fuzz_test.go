package carve

import (
	"bytes"
	"slices"
	"testing"

	"github.com/svmctl/svmctl/testdata/vectors"
)

// checkValues states what holds for every region.
func checkValues(t *testing.T, b []byte) {
	t.Helper()
	before := bytes.Clone(b)
	end := 0
	for v := range Find(b) {
		if v.Offset < end || len(v.Bytes) == 0 {
			t.Fatalf("%d bytes at %d, the one before ended at %d", len(v.Bytes), v.Offset, end)
		}
		if begins := v.Offset + len(v.Bytes); begins > len(b) || &v.Bytes[0] != &b[v.Offset] {
			t.Fatal("not the bytes at the offset")
		}
		if v.Key != nil && !bytes.Contains(b[end:v.Offset], v.Key) {
			t.Fatalf("key %q is not in front", v.Key)
		}
		if len(v.Key) > maxKey || v.ModRevision < 0 {
			t.Fatalf("key of %d bytes at %d", len(v.Key), v.ModRevision)
		}
		if !slices.ContainsFunc([]string{"k8s:enc:", "k8s\x00", "{", "\xd9\xd9\xf7"}, func(p string) bool { return bytes.HasPrefix(b[v.Offset:], []byte(p)) }) {
			t.Fatal("begins like no value")
		}
		end = v.Offset + len(v.Bytes)
	}
	if !bytes.Equal(before, b) {
		t.Fatal("the region was changed")
	}
}

// checkPlanted puts a value into a region. One in the db's form is found wherever it lies, one in the WAL's form unless it is
// inside of a value that is whole. A value around it may not end in the middle of its header.
func checkPlanted(t *testing.T, region []byte, at int, value []byte, form string) {
	t.Helper()
	planted, revision := inWAL(t, key, value), int64(0)
	if form == "db" {
		revision = 1 << 40
		planted = inDB(t, key, revision, value)
	}
	b := slices.Concat(region[:at], planted, region[at:])
	offset := at + bytes.LastIndex(planted, value)
	header := at + bytes.LastIndex(planted[:offset-at], []byte(key)) - 2
	for v := range Find(b) {
		end := v.Offset + len(v.Bytes)
		switch {
		case v.Offset == offset:
			if string(v.Key) != key || v.ModRevision != revision || !bytes.Equal(v.Bytes, value) || v.Cut {
				t.Fatalf("key %q at %d, cut %v, %d bytes of %d", v.Key, v.ModRevision, v.Cut, len(v.Bytes), len(value))
			}
			return
		case v.Offset < offset && end > header && (form == "wal" || end <= offset) && !v.Cut:
			return
		}
	}
	t.Fatalf("%s: the value at %d was not found", form, offset)
}

func FuzzFind(f *testing.F) {
	all := vectors.Load(f)
	for i, c := range all {
		next := all[(i+1)%len(all)]
		f.Add(slices.Concat(inDB(f, key, 9, c.Value), inWAL(f, key, next.Value)), uint(len(c.Value)))
		f.Add(slices.Concat(c.Value, inDB(f, key, 9, secret(f, "n", c.Value))), uint(i))
	}
	f.Add([]byte("\xd9\xd9\xf7\xbf\x5f\x41a\x41b\xff\x9f\x01\xfb\x00\x00\x00\x00\x00\x00\x00\x00\xff\xc1\x01\xf6DkindAK\xff"), uint(0))
	f.Add([]byte(`{"kind":"K","x":[{"a":"\"\\\u0000"},-1.5e+3,true,null],"apiVersion":"v1"}`), uint(20))
	values := [][]byte{[]byte(object), ciphertext(20), secret(f, "planted", nil), []byte("\xd9\xd9\xf7\xa1DkindAK")}
	f.Fuzz(func(t *testing.T, b []byte, at uint) {
		checkValues(t, b)
		for i, value := range values {
			where := int((at + uint(i)) % uint(len(b)+1))
			checkPlanted(t, b, where, value, "db")
			checkPlanted(t, b, where, value, "wal")
		}
	})
}
